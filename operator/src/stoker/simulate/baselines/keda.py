"""KEDA on the queue of vLLM, as vLLM's production-stack sets it up.

Sources: kedacore/keda `pkg/scaling/executor/scale_scaledobjects.go` (0 and 1) and
`pkg/scalers/prometheus_scaler.go`; vllm-project/production-stack `helm/values.yaml` (threshold 5,
polling 15 s, cool-down 360 s, initial cool-down 60 s, scrapes every 30 s) and
`tutorials/20-keda-autoscaling.md` (the trigger on traffic).

KEDA itself only moves between zero and one: active while a trigger is above its activation
threshold (0), and to zero once none has been for the cool-down. From one up it is an HPA
(`stoker.simulate.baselines.hpa`) on the same triggers, the largest of their answers; with zero
replicas that HPA stands still. HPA and KEDA ask Prometheus when they look, so a reading is as old
as the scrape.

* `keda`: requests waiting in engines, at least one replica. With zero there would be no engine to
  export the gauge, an empty answer counts as 0, and nothing would ever start again.
* `keda-gateway`: the tutorial's second trigger beside it, 1 while requests came in the last minute
  and 0 otherwise, counted at the router; so zero works. What waits at the gateway while no engine
  answers counts as waiting; the router of the tutorial holds nothing, and has no gauge for it.

Taken for granted, in its favour: the queue is summed over the engines. The query of the chart is
not, and KEDA answers several series with an error: with two replicas it would go by its fallback.
"""

from dataclasses import dataclass, replace
from typing import Final

from stoker.simulate.baselines.hpa import SYNC_S, average_value, normalized
from stoker.simulate.baselines.readings import (
    Counters,
    Series,
    extended_counters,
    queued_in_engines,
    scraped,
    traffic_in,
)
from stoker.simulate.policy import Decision, Pipeline, Policy, Sample, Setting

_THRESHOLD: Final = 5.0
_COOLDOWN_S: Final = 360.0
_INITIAL_COOLDOWN_S: Final = 60.0
_SCRAPE_S: Final = 30.0
_TRAFFIC_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What KEDA, its HPA and Prometheus keep."""

    recommendations: Series = ()
    counters: tuple[Counters, ...] = ()
    to_zero_from: float | None = None  # the end of the cool-down; None: not begun


@dataclass(frozen=True, slots=True)
class Keda:
    """One ScaledObject. KEDA polls as often as the HPA syncs."""

    name: str
    threshold: float  # requests that wait, per replica
    gateway: bool  # the router's metrics too, and zero replicas
    pipeline: Pipeline = scraped(SYNC_S, _SCRAPE_S)  # noqa: RUF009 - a frozen value

    def begin(self) -> Memory:
        """A ScaledObject that has just been made."""
        return Memory()

    def decide(self, history: Memory, sample: Sample, now: float) -> Decision:
        """One poll and one sync."""
        seen = sample.latest
        if seen is None:
            return Decision(sample.wanted, "no metric yet", history)
        end = history.to_zero_from
        memory = replace(
            history,
            counters=extended_counters(history.counters, sample.snapshots, seen.time - _TRAFFIC_S),
            to_zero_from=now + _INITIAL_COOLDOWN_S if end is None else end,
        )
        engines = queued_in_engines(seen)
        queue = float(engines.waiting + (engines.held if self.gateway else 0))
        traffic = traffic_in(memory.counters, seen.time - _TRAFFIC_S).requests > 0
        active = queue > 0 or (self.gateway and traffic)
        if active:
            memory = replace(memory, to_zero_from=now + _COOLDOWN_S)
        said = f"{queue:g} waiting, {self.threshold:g} per replica"
        if self.gateway:
            said += ", traffic" if traffic else ", no traffic"
            if sample.wanted == 0:
                return Decision(int(active), f"{said}: {'' if active else 'not '}active", memory)
            if not active and memory.to_zero_from is not None and memory.to_zero_from < now:
                return Decision(0, f"{said}: cooled down", memory)
        desired = average_value(queue, self.threshold, sample.created)
        if self.gateway:
            desired = max(desired, average_value(float(traffic), 1.0, sample.created))
        desired = max(1, desired)
        replicas, kept = normalized(memory.recommendations, sample.wanted, desired, now)
        reason = f"{said}: {desired}, stabilized {replicas}"
        return Decision(max(1, replicas), reason, replace(memory, recommendations=kept))


def keda(setting: Setting, parameter: float | None) -> Policy:  # noqa: ARG001
    """The chart's trigger; the parameter is its threshold (5)."""
    return _keda("keda", parameter, gateway=False)


def keda_gateway(setting: Setting, parameter: float | None) -> Policy:  # noqa: ARG001
    """The tutorial's two triggers; the parameter is the threshold of the first (5)."""
    return _keda("keda-gateway", parameter, gateway=True)


def _keda(name: str, parameter: float | None, *, gateway: bool) -> Policy:
    threshold = _THRESHOLD if parameter is None else max(parameter, 0.001)
    return Keda(name if parameter is None else f"{name}:{parameter:g}", threshold, gateway)
