"""AIBrix' pod autoscalers APA and KPA.

Source, vllm-project/aibrix (August 2026): `pkg/controller/podautoscaler/algorithm/{apa,kpa}.go`,
`podautoscaler_controller.go` (`stabilizeRecommendation`), `metrics/client.go` (windows of 180 s and
60 s), `context/context.go` (defaults) and `samples/autoscaling/{apa,external-metrics-kpa}.yaml`.

Every 10 s the metric is read, averaged over the pods that report, and put into both windows.

    APA, u = mean of 180 s / target:  u > 1.1 → min(ceil(c · u), ceil(2 · c))
                                      u < 0.9 → max(ceil(c · u), floor(c / 2)); else c
    KPA, want(v) = ceil(v / target) unless v is within 10 % of the target, then c
         clamped to [floor(c / 2), max(1, ceil(2 · c))]
         panic while (60 s mean) / (180 s mean) > 2 or the latter is 0: the larger of both wants

c is what is asked for, not what is ready, so APA doubles at each tick while pods are on their way.
In the samples APA looks at the share of the KV cache in use (0.5) and KPA at requests running, one
number for all (100). One replica at least.

The code, which counts here, does less than its documentation says: the largest panic want is not
kept (its store does nothing), and the cool-down of 300 s before fewer replicas takes the smallest
recommendation of that time, not the largest, so it delays nothing.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

from stoker.simulate.baselines.readings import Series, extended, mean
from stoker.simulate.policy import Decision, Pipeline, Policy, Sample, Setting, Snapshot

_STABLE_S: Final = 180.0
_PANIC_S: Final = 60.0
_TOLERANCE: Final = 0.1
_RATE: Final = 2.0  # in one step, up and down
_PANIC: Final = 2.0
_COOLDOWN_S: Final = 300.0
_KV_TARGET: Final = 0.5
_RUNNING_TARGET: Final = 100.0
# The controller reads the pods itself when it looks.
_PIPELINE: Final = Pipeline(tick_s=10.0, scrape_s=10.0)


@dataclass(frozen=True, slots=True)
class Memory:
    """Readings of the longer window, and recommendations of the cool-down."""

    readings: Series = ()
    recommendations: Series = ()


@dataclass(frozen=True, slots=True)
class Aibrix:
    """One PodAutoscaler."""

    name: str
    algorithm: Literal["APA", "KPA"]
    target: float
    pipeline: Pipeline = _PIPELINE

    def begin(self) -> Memory:
        """Nothing read."""
        return Memory()

    def decide(self, history: Memory, sample: Sample, now: float) -> Decision:
        """One reconciliation."""
        readings = history.readings
        for each in sample.snapshots:
            value = self._value(each)
            if value is not None:  # windows move when something is put in
                readings = extended(readings, ((each.time, value),), each.time - _STABLE_S - 1e-6)
        if not readings:
            return Decision(max(1, sample.wanted), "no metric yet", Memory(readings))
        newest = readings[-1][0]
        stable, panic = mean(readings), mean(readings, newest - _PANIC_S - 1e-6)
        current = sample.wanted
        if self.algorithm == "APA":
            wanted = self._proportional(stable / self.target, current)
        else:
            wanted = self._panicking(stable, panic, current)
        wanted = max(1, wanted)
        kept = extended(history.recommendations, ((now, float(wanted)),), now - _COOLDOWN_S)
        replicas = wanted
        if wanted < current:
            replicas = int(min(each[1] for each in kept))
        reason = f"{stable:.3g} in 180 s, {panic:.3g} in 60 s, target {self.target:g}: {wanted}"
        return Decision(replicas, reason, Memory(readings, kept))

    def _value(self, snapshot: Snapshot) -> float | None:
        if self.algorithm == "KPA":
            return float(snapshot.in_progress)
        shares = [each.kv_share for each in snapshot.replicas]
        return sum(shares) / len(shares) if shares else None

    @staticmethod
    def _proportional(usage: float, current: int) -> int:
        if usage > 1 + _TOLERANCE:
            return min(math.ceil(current * usage), math.ceil(_RATE * current))
        if usage < 1 - _TOLERANCE:
            return max(math.ceil(current * usage), math.floor(current / _RATE))
        return current

    def _panicking(self, stable: float, panic: float, current: int) -> int:
        low, high = math.floor(current / _RATE), max(1, math.ceil(_RATE * current))

        def want(value: float) -> int:
            near = (1 - _TOLERANCE) * self.target <= value <= (1 + _TOLERANCE) * self.target
            wanted = current if near else math.ceil(value / self.target)
            return min(max(wanted, low), high)

        if stable <= 0 or panic / stable > _PANIC:
            return max(want(stable), want(panic))
        return want(stable)


def aibrix_apa(setting: Setting, parameter: float | None) -> Policy:  # noqa: ARG001
    """The parameter is the target share of the KV cache in use (0.5)."""
    target = _KV_TARGET if parameter is None else max(parameter, 0.001)
    return Aibrix("aibrix-apa" if parameter is None else f"aibrix-apa:{parameter:g}", "APA", target)


def aibrix_kpa(setting: Setting, parameter: float | None) -> Policy:  # noqa: ARG001
    """The parameter is the target of requests at once per replica (100)."""
    target = _RUNNING_TARGET if parameter is None else max(parameter, 0.001)
    return Aibrix("aibrix-kpa" if parameter is None else f"aibrix-kpa:{parameter:g}", "KPA", target)
