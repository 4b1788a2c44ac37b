"""The API server and the models in Python judge alike: whatever one takes, so does the other.

A service that the server stored and Python cannot parse would be a service that nobody reconciles;
the other way round, `stoker plan` would promise what `kubectl apply` refuses. Objects are put
together from values that lie at and around every bound, several at a time.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from stoker.api.v1alpha1 import InferenceServiceSpec
from tests.integration.api.table import CASES, Case, put
from tests.integration.api.test_constraints import python_takes

if TYPE_CHECKING:
    from tests.integration.api.conftest import Judge

OBJECTS = 100
FIELDS = [case for case in CASES if case.path.startswith("spec.")]


def merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def some_object(chance: random.Random) -> dict[str, Any]:
    body: dict[str, Any] = {}
    chosen: list[Case] = chance.sample(FIELDS, chance.randint(1, 5))
    for case in chosen:
        value = case.accept if chance.random() < 0.75 else case.reject
        merge(body, put(case.path, value))
    return body


@pytest.mark.parametrize("seed", [1, 2])
def test_server_and_models_agree(judge: Judge, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    verdicts = {True: 0, False: 0}
    for _ in range(OBJECTS):
        body = some_object(chance)
        refusal = judge.refusal(body)
        assert python_takes(body) == (not refusal), f"{body}: {refusal}"
        verdicts[not refusal] += 1
        if not refusal:
            stored = judge.stored(body["spec"])
            parsed = InferenceServiceSpec.model_validate(stored)
            # Stored defaults are the models' own: parsing adds nothing that changes the meaning.
            assert parsed == InferenceServiceSpec.model_validate(body["spec"])
            dumped = parsed.model_dump(  # type: ignore[no-untyped-call]
                mode="json", exclude_none=True
            )
            assert InferenceServiceSpec.model_validate(dumped) == parsed
            assert judge.refusal({"spec": dumped}) == ""
    assert min(verdicts.values()) > OBJECTS // 8, "the mix is lopsided: it shows little"
