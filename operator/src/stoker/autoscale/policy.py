"""The rules of one service's scaling, read from its spec once."""

from dataclasses import dataclass
from typing import Final

from stoker import quantity
from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model.platform import EnginePlatform, Platform

# Engines serve this many requests at once when neither the user nor the catalogue says so.
DEFAULT_CONCURRENCY: Final = 256
_CONCURRENCY_ARG: Final = "max-num-seqs"


@dataclass(frozen=True, slots=True)
class Policy:
    """Bounds, target and windows. Durations in seconds."""

    min_replicas: int
    max_replicas: int
    queue_target: int  # waiting requests per replica that are fine
    concurrency: int  # requests that one replica computes at once
    idle_before_zero: float
    stabilization: float

    def clamp(self, replicas: int) -> int:
        """The nearest allowed number."""
        return max(self.min_replicas, min(replicas, self.max_replicas))


def policy_of(
    spec: InferenceServiceSpec, platform: Platform, planned: int | None = None
) -> Policy | None:
    """Rules of a service that scales by load; None when its replicas are fixed.

    `planned` is what the plan says one replica computes at once.
    """
    scaling = spec.scaling
    if scaling is None:
        return None
    return Policy(
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        queue_target=scaling.target.queue_depth,
        concurrency=planned or _concurrency(spec, platform.engines.get(spec.engine.name.value)),
        idle_before_zero=quantity.parse_duration(scaling.scale_to_zero_after),
        stabilization=quantity.parse_duration(scaling.scale_down_stabilization),
    )


def _concurrency(spec: InferenceServiceSpec, engine: EnginePlatform | None) -> int:
    given = spec.engine.args.get(_CONCURRENCY_ARG)
    if given is None and engine is not None:
        given = engine.args.get(_CONCURRENCY_ARG)
    if given is not None and given.isdecimal() and int(given) > 0:
        return int(given)
    return engine.concurrency if engine is not None else DEFAULT_CONCURRENCY
