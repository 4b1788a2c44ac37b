"""llm-d's Workload Variant Autoscaler (WVA): what its three analyzers share.

Source, llm-d/llm-d-workload-variant-autoscaler (February 2026, since then llm-d-autoscaling):
`internal/collector/registration/saturation.go` (queries), `internal/engines/pipeline/enforcer.go`
(to zero), `internal/engines/scalefromzero/engine.go`, `config/manager/configmap.yaml`.

Every 60 s it reads Prometheus (engines scraped every 15 s): the highest KV use and the longest
queue of each pod in the last minute, lengths and rates from counters. Its answer is a metric again,
scraped every 10 s, which an HPA obeys every 15 s; that adds 12.5 s on average. Left out, in its
favour: the stabilization of 240 s in both directions that the chart writes into that HPA.

To zero, where the bounds allow it (there it is an option, off by default): no request for 10 min.
From zero it looks at the gateway's queue every 0.1 s.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from stoker.simulate.baselines.readings import (
    Counters,
    Traffic,
    extended_counters,
    queued_in_engines,
    scraped,
    traffic_in,
)
from stoker.simulate.policy import Decision, Pipeline, ReplicaSignal, Sample, Snapshot

_LOOP_S: Final = 60.0
_PEAKS_S: Final = 60.0
_LENGTHS_S: Final = 300.0
_RETENTION_S: Final = 600.0
_SCRAPE_S: Final = 15.0
_OBEYED_S: Final = 12.5  # half of 10 s and half of 15 s


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest of one pod in the last minute."""

    kv_share: float
    kv_tokens: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What an analyzer is given."""

    peaks: Mapping[str, Peak]  # of pods that report and are still there
    held: int  # while no pod answers; otherwise it is in their queues
    lengths: Traffic  # of the last 5 min
    traffic: Traffic  # of the last minute
    created: int
    ready: int


class Analyzer(Protocol):
    """How many replicas, why, and what to remember; its memory is of a type of its own."""

    def first(self) -> Any:  # noqa: ANN401
        """What it remembers at the beginning."""

    def analyze(self, memory: Any, seen: Seen) -> tuple[int, str, Any]:  # noqa: ANN401
        """One pass of the loop."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What Prometheus and the analyzer keep."""

    analyzer: Any
    pods: tuple[tuple[float, ReplicaSignal], ...] = ()
    counters: tuple[Counters, ...] = ()
    next_s: float = 0.0  # when the next pass is due; what asks before is the watch on the queue


@dataclass(frozen=True, slots=True)
class Wva:
    """The loop around an analyzer."""

    name: str
    analyzer: Analyzer
    zero: bool  # whether it may go to zero
    pipeline: Pipeline = field(
        default_factory=lambda: scraped(_LOOP_S, _SCRAPE_S, _OBEYED_S, wake_s=0.1)
    )

    def begin(self) -> Memory:
        """Nothing seen."""
        return Memory(self.analyzer.first())

    def decide(self, history: Memory, sample: Sample, now: float) -> Decision:
        """One pass, or a request at zero replicas."""
        if now < history.next_s:
            return Decision(max(1, sample.wanted), "a request at zero replicas", history)
        newest = sample.latest
        if newest is None:
            return Decision(sample.wanted, "no metric yet", history)
        pods = tuple(
            each
            for each in (*history.pods, *_signals(sample.snapshots))
            if each[0] > newest.time - _PEAKS_S
        )
        counters = extended_counters(history.counters, sample.snapshots, newest.time - _RETENTION_S)
        memory = Memory(history.analyzer, pods, counters, now + _LOOP_S)
        if sample.wanted == 0:
            return Decision(int(newest.held > 0), f"at zero, {newest.held} held", memory)
        silent = traffic_in(counters, newest.time - _RETENTION_S)
        if self.zero and silent.seconds >= _RETENTION_S and silent.requests == 0:
            return Decision(0, "no request for 600 s", memory)
        seen = Seen(
            _peaks(pods, newest),
            queued_in_engines(newest).held,
            traffic_in(counters, newest.time - _LENGTHS_S),
            traffic_in(counters, newest.time - _PEAKS_S),
            sample.created,
            sample.ready,
        )
        replicas, reason, kept = self.analyzer.analyze(history.analyzer, seen)
        return Decision(max(1, replicas), reason, replace(memory, analyzer=kept))


def _signals(snapshots: tuple[Snapshot, ...]) -> list[tuple[float, ReplicaSignal]]:
    return [
        (each.time, replica) for each in snapshots for replica in queued_in_engines(each).replicas
    ]


def _peaks(pods: tuple[tuple[float, ReplicaSignal], ...], newest: Snapshot) -> dict[str, Peak]:
    there = {each.pod for each in newest.replicas}
    found: dict[str, list[ReplicaSignal]] = defaultdict(list)
    for _, signal in pods:
        if signal.pod in there:
            found[signal.pod].append(signal)
    return {
        pod: Peak(
            max(each.kv_share for each in signals),
            max(each.kv_tokens for each in signals),
            max(each.waiting for each in signals),
        )
        for pod, signals in found.items()
    }
