"""Knative's pod autoscaler (KPA), in its concurrency and its requests-per-second mode.

Source, knative/serving: `pkg/autoscaler/scaling/autoscaler.go` (the decision), `multiscaler.go`
(2 s tick, the activator's poke), `pkg/autoscaler/metrics/collector.go` (1 s scrapes),
`pkg/reconciler/autoscaling/kpa/scaler.go` (to zero), `.../autoscaling/resources/target.go` and
`config/core/configmaps/autoscaler.yaml` (defaults).

    target = 0.7 · (annotation target, or 100 requests per pod, or 200 requests/s per pod)
    want   = ceil(mean over 60 s / target), panic want = ceil(mean over 6 s / target)
    both within [floor(ready/2), ceil(1000 · ready)], ready at least 1

Panic begins where the panic want is twice what is ready, is renewed while it is, and ends 60 s
after the last renewal; in it the number never falls. A policy that begins with several replicas
begins in panic.

To zero: the mean over 60 s is 0, the revision has been active for 60 s, and the activator has been
in the path for the grace of 30 s. It is in the path while ready · total - 211 - (6 s mean) is
below 0, so with the defaults up to two replicas always, and the grace costs nothing; the fact
sheets that add 30 s to the 60 s are right only for total > 211. From zero the activator pokes.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from stoker.simulate.baselines.readings import Series, extended, mean
from stoker.simulate.policy import Decision, Pipeline, Policy, Sample, Setting, Snapshot

_STABLE_S: Final = 60.0
_PANIC_S: Final = 6.0
_GRACE_S: Final = 30.0
_PANIC_THRESHOLD: Final = 2.0
_MAX_UP: Final = 1000.0
_MAX_DOWN: Final = 2.0
_BURST: Final = 211.0
_UTILIZATION: Final = 0.7
_CONCURRENCY: Final = 100.0
_REQUESTS_PER_S: Final = 200.0
# A poke goes over the activator's open connection to the autoscaler.
_PIPELINE: Final = Pipeline(tick_s=2.0, scrape_s=1.0, wake_s=0.1)


@dataclass(frozen=True, slots=True)
class Memory:
    """What the decider and the reconciler keep."""

    readings: Series = ()
    last: Snapshot | None = None
    began: bool = False
    panic_since: float | None = None
    panic_pods: int = 0
    active_since: float | None = None  # a replica answers since then
    proxied_since: float | None = None  # the activator is in the path since then


@dataclass(frozen=True, slots=True)
class Knative:
    """The autoscaler with one total per pod."""

    name: str
    total: float  # requests at once, or requests per second, of one pod
    per_second: bool = False
    pipeline: Pipeline = _PIPELINE

    @property
    def target(self) -> float:
        """What one pod is aimed at."""
        return self.total * _UTILIZATION

    def begin(self) -> Memory:
        """A new decider."""
        return Memory()

    def decide(self, history: Memory, sample: Sample, now: float) -> Decision:
        """One tick, or a poke."""
        memory = self._observed(history, sample, now)
        if not memory.readings:
            return Decision(sample.wanted, "no data yet", memory)
        stable = mean(memory.readings, now - _STABLE_S)
        panic = mean(memory.readings, now - _PANIC_S)
        ready = max(1, sample.ready)
        up, down = math.ceil(_MAX_UP * ready), math.floor(ready / _MAX_DOWN)
        want, want_panic = math.ceil(stable / self.target), math.ceil(panic / self.target)
        desired = min(max(want, down), up)

        memory = self._panicked(memory, now, over=want_panic / ready >= _PANIC_THRESHOLD)
        mode = "stable"
        if memory.panic_since is not None:
            mode = "panic"
            desired = max(desired, min(max(want_panic, down), up), memory.panic_pods)
            memory = replace(memory, panic_pods=desired)
        proxied = sample.ready * self.total - _BURST - panic < 0 or desired == 0
        since = (now if memory.proxied_since is None else memory.proxied_since) if proxied else None
        memory = replace(memory, proxied_since=since)
        reason = f"{mode}: {stable:.2f} in 60 s, {panic:.2f} in 6 s, {self.target:g} per replica"
        if desired == 0:
            desired = self._to_zero(memory, sample, now)
        return Decision(desired, reason, memory)

    def _observed(self, memory: Memory, sample: Sample, now: float) -> Memory:
        if not memory.began:
            memory = replace(memory, began=True)
            if sample.ready > 1:
                memory = replace(memory, panic_since=now, panic_pods=sample.ready)
        active = None
        if sample.ready:
            active = now if memory.active_since is None else memory.active_since
        last, came = memory.last, []
        for each in sample.snapshots:
            if not self.per_second:
                came.append((each.time, _concurrency(each)))
            elif last is not None and each.time > last.time:
                requests = each.requests_total - last.requests_total
                came.append((each.time, requests / (each.time - last.time)))
            last = each
        readings = extended(memory.readings, came, now - _STABLE_S)
        return replace(memory, readings=readings, last=last, active_since=active)

    def _panicked(self, memory: Memory, now: float, *, over: bool) -> Memory:
        if over:
            return replace(memory, panic_since=now)
        if memory.panic_since is not None and memory.panic_since + _STABLE_S < now:
            return replace(memory, panic_since=None, panic_pods=0)
        return memory

    def _to_zero(self, memory: Memory, sample: Sample, now: float) -> int:
        """What the reconciler makes of a wish for zero."""
        if memory.active_since is None:
            return sample.wanted  # none, or still on its way up: it is left alone
        if now - memory.active_since < _STABLE_S:
            return 1
        waited = now - (now if memory.proxied_since is None else memory.proxied_since)
        return 0 if waited >= _GRACE_S else sample.wanted


def knative(setting: Setting, parameter: float | None) -> Policy:  # noqa: ARG001
    """Concurrency mode; the parameter is the annotation `autoscaling.knative.dev/target` (100)."""
    name = "knative" if parameter is None else f"knative:{parameter:g}"
    return Knative(name, _at_least(_CONCURRENCY if parameter is None else parameter))


def knative_rps(setting: Setting, parameter: float | None) -> Policy:  # noqa: ARG001
    """Requests-per-second mode; the parameter is the same annotation (200)."""
    name = "knative-rps" if parameter is None else f"knative-rps:{parameter:g}"
    total = _at_least(_REQUESTS_PER_S if parameter is None else parameter)
    return Knative(name, total, per_second=True)


def _at_least(total: float) -> float:
    # Below this the original takes 0.01 as the target.
    return max(total, 0.01 / _UTILIZATION)


def _concurrency(snapshot: Snapshot) -> float:
    # The activator counts what it holds, the queue proxies of ready pods what they have.
    return float(snapshot.held + snapshot.waiting + snapshot.running)
