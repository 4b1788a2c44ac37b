"""What a policy is shown, in few words."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from stoker.simulate.policy import (
    Bounds,
    Decision,
    Policy,
    ReplicaSignal,
    Sample,
    Setting,
    Snapshot,
    Targets,
)
from stoker.simulate.service import Linear, measured_service
from stoker.simulate.starts import Starts

SETTING = Setting(
    measured_service(Linear(0.01, 0.0, 0.0, 0.0001), kv_tokens=100_000, max_num_seqs=100),
    Starts(),
    Bounds(),
    Targets(),
)


def engine(
    running: int = 0, waiting: int = 0, kv: float = 0.0, tokens: int = 0, pod: int = 0
) -> ReplicaSignal:
    return ReplicaSignal(f"pod-{pod}", running, waiting, kv, tokens)


def look(time: float, *engines: ReplicaSignal, held: int = 0, **counters: Any) -> Snapshot:
    nothing: dict[str, Any] = {
        each.name: 0
        for each in dataclasses.fields(Snapshot)
        if each.name not in {"time", "held", "replicas"}
    }
    return Snapshot(time=time, held=held, replicas=engines, **(nothing | counters))


class Cluster:
    """Asks a policy and does at once what it says; new replicas answer when they are told to."""

    def __init__(self, policy: Policy, wanted: int = 1, ready: int | None = None) -> None:
        self.policy = policy
        self.history = policy.begin()
        self.wanted = wanted
        self.ready = wanted if ready is None else ready
        self.latest: Snapshot | None = None
        self.last = Decision(wanted, "", None)

    def ask(self, now: float, *seen: Snapshot, instant: bool = True) -> int:
        """One tick; with `instant`, replicas answer as soon as they are asked for."""
        if seen:
            self.latest = seen[-1]
        sample = Sample(self.wanted, self.wanted, self.ready, seen, self.latest)
        self.last = self.policy.decide(self.history, sample, now)
        self.history = self.last.history
        self.wanted = self.last.replicas
        self.ready = self.wanted if instant else min(self.ready, self.wanted)
        return self.wanted


def changes(answers: Iterable[tuple[float, int]]) -> list[tuple[float, int]]:
    """Only the times at which the number changed."""
    found: list[tuple[float, int]] = []
    for time, replicas in answers:
        if not found or found[-1][1] != replicas:
            found.append((time, replicas))
    return found


def spread(total: int, pods: int) -> Sequence[ReplicaSignal]:
    """Requests being computed, spread evenly."""
    return [engine(total // pods + (each < total % pods), pod=each) for each in range(pods)]
