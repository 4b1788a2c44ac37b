"""Weights that are copied into memory before the engine starts: how much, and is there room.

What the spec says of the pods' memory is obeyed or refused, never raised; where it says nothing,
the request is what is staged and what an engine needs beside it. Whether a node has that much is
the scheduler's answer, as for any request.
"""

import math
from dataclasses import replace
from typing import Final

from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model import reasons
from stoker.model.plan import Verdict
from stoker.model.replica import Replica
from stoker.plan.facts import Reading
from stoker.quantity import parse_quantity
from stoker.render.engine import ENGINE_BYTES

_GIB: Final = 2**30
# Headers, and what tensors are aligned to.
_SHARE: Final = 1.02
_SPARE: Final = 64 * 2**20


def staged(replica: Replica, spec: InferenceServiceSpec, reading: Reading | None) -> Replica:
    """The replica, with the memory that staging takes; nothing is staged whose size is unknown."""
    facts = None if reading is None else reading.facts or reading.last
    if spec.optimization.staging != "memory" or facts is None:
        return replica
    return replace(replica, staged_bytes=math.ceil(facts.weight_bytes * _SHARE) + _SPARE)


def refuse(replica: Replica, spec: InferenceServiceSpec) -> Verdict | None:
    """Why the weights cannot be staged; None where they can, or nobody asks."""
    if spec.optimization.staging != "memory":
        return None
    if replica.accelerators.resource is None:
        return Verdict(
            reasons.STAGING_NEEDS_ACCELERATOR,
            "optimization.staging: on processors the engine's weights are in the same memory, and "
            "would be there twice; remove it.",
        )
    needed = replica.staged_bytes + ENGINE_BYTES
    resources = spec.template.resources
    for field, amounts in (("limits", resources.limits), ("requests", resources.requests)):
        text = amounts.get("memory")
        if text is not None and replica.staged_bytes and parse_quantity(text) < needed:
            return Verdict(
                reasons.NOT_ENOUGH_MEMORY,
                f"optimization.staging: {replica.staged_bytes / _GIB:.1f} GiB of weights stay in "
                f"memory beside the engine, and template.resources.{field}.memory is {text}: write "
                f"at least {math.ceil(needed / _GIB)}Gi, or remove staging.",
            )
    return None
