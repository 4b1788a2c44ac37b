"""KubeAI's model autoscaler.

Source, substratusai/kubeai: `internal/modelautoscaler/autoscaler.go`,
`internal/modelclient/scale.go`, `internal/movingaverage/simple.go`, `internal/config/system.go` and
`api/k8s/v1/model_types.go` (defaults).

Every 10 s: A = active requests over all gateways, held ones included; mean = that of the last 60
ticks (600 s), which begins as sixty zeros; want = ceil(mean / targetRequests), 100 by default. Up
at once; down only when 3 ticks before (30 s) have asked for less as well. Their count is reset only
by a tick that asks for the same or more, so after a step down the next tick may step again. From
zero the gateway asks for one replica when a request comes. To zero the mean must be exactly 0.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from stoker.simulate.policy import Decision, Pipeline, Policy, Sample, Setting

_TICKS: Final = 60
_DOWN_TICKS: Final = 3
_TARGET: Final = 100.0
# The gateway itself counts, and asks the API server itself.
_PIPELINE: Final = Pipeline(tick_s=10.0, scrape_s=10.0, wake_s=0.1)


@dataclass(frozen=True, slots=True)
class Memory:
    """The ring of the moving average, and the ticks in a row that asked for less."""

    active: tuple[int, ...] = (0,) * _TICKS
    fewer: int = 0
    next_s: float = 0.0  # when the next tick is due; what asks before is the gateway


@dataclass(frozen=True, slots=True)
class KubeAi:
    """The autoscaler of one model."""

    name: str
    target: float  # requests at once, per replica
    pipeline: Pipeline = _PIPELINE

    def begin(self) -> Memory:
        """No requests in the last ten minutes."""
        return Memory()

    def decide(self, history: Memory, sample: Sample, now: float) -> Decision:
        """One tick, or the first request at zero."""
        seen = sample.latest
        if seen is None:
            return Decision(sample.wanted, "no metric yet", history)
        if now < history.next_s:
            return Decision(max(1, sample.wanted), "a request at zero replicas", history)
        active = (*history.active[1:], seen.in_progress)
        mean = sum(active) / len(active)
        want = math.ceil(mean / self.target)
        memory = Memory(active, next_s=now + self.pipeline.tick_s)
        reason = f"mean of 600 s {mean:.2f}, {self.target:g} per replica: {want}"
        if want >= sample.wanted:
            return Decision(want, reason, memory)
        if history.fewer < _DOWN_TICKS:
            later = replace(memory, fewer=history.fewer + 1)
            return Decision(sample.wanted, f"{reason}, later", later)
        return Decision(want, reason, replace(memory, fewer=history.fewer))


def kubeai(setting: Setting, parameter: float | None) -> Policy:  # noqa: ARG001
    """The parameter is `targetRequests` (100)."""
    target = _TARGET if parameter is None else max(parameter, 0.001)
    return KubeAi("kubeai" if parameter is None else f"kubeai:{parameter:g}", target)
