"""A day's simulation as the API server and the engines would have told of it, and its cost by hand.

The simulator replays requests with Stoker's autoscaler. What was seen meanwhile is put together
from it: pods with times cut to the second, as Kubernetes writes them, looks when somebody scraped
and shortly after a pod changed. By hand means: sums over the lives of pods and over requests,
without anything of `stoker.cost`. A replica computes one request at a time here, so that the
seconds that it serves can be added by hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stoker.catalog.capacity import Capacity
from stoker.cost.ledger import Ledger, advance
from stoker.cost.prices import charges_of
from stoker.simulate.policy import Bounds, Decision, Policy, Sample, Setting, Snapshot, Targets
from stoker.simulate.registry import policy_of
from stoker.simulate.run import Conditions, simulate_each
from stoker.simulate.service import Linear, measured_service
from stoker.simulate.starts import Phase, Starts
from tests.unit.cost.worlds import PLATFORM, PRICE, SPOT, at, load, look, node, pod

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stoker.model.observed import ObservedPod
    from stoker.planner.batching import Arrival
    from stoker.simulate.result import Life, Result

TAIL_S = 600.0
STARTS = Starts(Phase(100, 0.3), Phase(60, 0.3), Phase(16, 0.1), Phase(20, 0.1), Phase(10, 0.1))
# Something changes at an odd moment; the pass that follows from it comes this much later.
WATCH_LAG_S = 0.4


@dataclass(frozen=True)
class Recorder:
    """A policy, and all that its pipeline read."""

    policy: Policy
    read: list[Snapshot] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.policy, name)

    def decide(self, history: Any, sample: Sample, now: float) -> Decision:
        self.read.extend(sample.snapshots)
        return self.policy.decide(history, sample, now)


@dataclass(frozen=True)
class Pace:
    """Seconds of a token: of a prompt, and of an answer."""

    prompt_s: float
    output_s: float

    def seconds(self, request: Arrival) -> float:
        """What one request takes of a replica."""
        return self.prompt_s * request.input_tokens + self.output_s * max(1, request.output_tokens)


@dataclass(frozen=True)
class Day:
    """A replay: what the simulator says of it, and what somebody read meanwhile."""

    result: Result
    read: Sequence[Snapshot]
    served: Sequence[Arrival]


def replay(arrivals: Sequence[Arrival], pace: Pace, most: int) -> Day:
    """The requests, with Stoker's autoscaler between no replica and so many."""
    service = measured_service(
        Linear(pace.output_s, 0.0, 0.0, pace.prompt_s, chunk=8192), 200_000, 1
    )
    setting = Setting(service, STARTS, Bounds(0, most, 0), Targets(), tuple(arrivals))
    recorder = Recorder(policy_of("stoker", setting))
    result, seen = simulate_each(setting, recorder, Conditions(seed=3, tail_s=TAIL_S))
    served = [
        request for request, first in zip(arrivals, seen.ttft, strict=True) if math.isfinite(first)
    ]
    return Day(result, recorder.read, served)


def life_of(number: int, life: Life, now: float) -> ObservedPod | None:
    """A pod as the API server has it now; None where it is not there."""
    if not life.created <= now < life.deleted:
        return None
    placed = math.floor(life.placed) if life.placed <= now else None
    ready = math.floor(life.ready) if life.ready <= now else None
    return pod(
        f"engine-{number}", placed=placed, ready=ready, node=f"node-{number}", revision="aaaa"
    )


def integrate(
    result: Result, read: Sequence[Snapshot], spot: frozenset[int] = frozenset()
) -> Ledger:
    """What the operator would have counted; nodes of pods with these numbers are spot."""
    nodes = tuple(
        node(f"node-{number}", Capacity.SPOT if number in spot else None)
        for number in range(result.pods)
    )
    counted = {each.time: each for each in read}
    lives = list(enumerate(result.lives))
    changes = {
        when + WATCH_LAG_S
        for _, life in lives
        for when in (life.created, life.placed, life.ready, life.deleted)
        if math.isfinite(when)
    }
    ledger, last = Ledger(), load(0)
    present: list[ObservedPod] = []
    for now in sorted({*counted, *changes, result.end_s}):
        if now > result.end_s:
            continue
        if now in counted:
            running = {each.pod.replace("-", "_"): each.running for each in counted[now].replicas}
            last = load(now, **running)
        if now in changes:
            # The simulator lets a replica that goes finish; nobody reads it meanwhile.
            present = [found for each in lives if (found := life_of(*each, now)) is not None]
        ledger = advance(
            ledger, charges_of(look(*present, nodes=nodes, counted=last), PLATFORM), at(now)
        )
    return ledger


def billed_s(life: Life, end: float) -> float:
    """Seconds on a node."""
    return max(0.0, min(life.deleted, end) - life.placed)


def price_by_hand(number: int, spot: frozenset[int]) -> float:
    """Dollars per hour of a pod."""
    return SPOT if number in spot else PRICE


def dollars_by_hand(result: Result, spot: frozenset[int] = frozenset()) -> float:
    """All pods, for as long as they were on a node."""
    return sum(
        billed_s(life, result.end_s) / 3600 * price_by_hand(number, spot)
        for number, life in enumerate(result.lives)
    )


def starting_by_hand(result: Result, spot: frozenset[int] = frozenset()) -> float:
    """Dollars from the node to the first readiness, or to the end where it never came."""
    return sum(
        (min(life.ready, life.deleted, result.end_s) - life.placed)
        / 3600
        * price_by_hand(number, spot)
        for number, life in enumerate(result.lives)
        if math.isfinite(life.placed)
    )
