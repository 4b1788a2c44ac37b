"""Who is sampled, and how fast: whoever scales, and whoever is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model.observed import Key, ObservedService
from stoker.reconcile.service import sampling_of

SPEC = {"model": {"uri": "pvc://models/chat"}}
FIXED = ObservedService(
    key=Key("team", "chat"),
    uid="1",
    generation=1,
    resource_version="1",
    spec=InferenceServiceSpec.model_validate({**SPEC, "replicas": 2}),
    spec_error=None,
    annotations={},
    status={},
    deleting=False,
)
SCALED = replace(
    FIXED, spec=InferenceServiceSpec.model_validate({**SPEC, "scaling": {"maxReplicas": 2}})
)


@pytest.mark.parametrize(
    ("service", "asked", "wanted", "calm"),
    [
        (FIXED, False, True, True),  # for its cost alone
        (FIXED, True, True, False),  # somebody else decides, and wants to know
        (SCALED, False, True, False),
        (SCALED, True, True, False),
        (replace(FIXED, spec=None, spec_error="x"), False, False, True),
    ],
)
def test_a_fixed_number_is_sampled_while_somebody_asks(
    service: ObservedService,
    asked: bool,  # noqa: FBT001
    wanted: bool,  # noqa: FBT001
    calm: bool,  # noqa: FBT001
) -> None:
    sampled = sampling_of(service, asked=asked)
    assert sampled[0] is wanted
    if wanted:
        assert sampled[1] is calm
