"""A day of requests replayed; its cost by the operator's own way, and by hand.

The simulator replays the day with Stoker's autoscaler. What the API server and the engines would
have said meanwhile is put together from it: pods with times cut to the second, as Kubernetes writes
them, looks when somebody scraped and shortly after a pod changed. By hand means: sums over the
lives of pods and over requests, without anything of `stoker.cost`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from stoker.catalog.capacity import Capacity
from stoker.cost.ledger import Ledger, advance
from stoker.cost.prices import Share, charges_of
from stoker.simulate.policy import Bounds, Decision, Policy, Sample, Setting, Snapshot, Targets
from stoker.simulate.registry import policy_of
from stoker.simulate.run import Conditions, simulate
from stoker.simulate.service import Linear, measured_service
from stoker.simulate.starts import Phase, Starts
from stoker.simulate.synthetic import draw, steps
from tests.unit.cost.worlds import PLATFORM, PRICE, SPOT, at, load, look, node, pod

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stoker.model.observed import ObservedPod
    from stoker.simulate.result import Life, Result

WITHIN = 0.01
HOURS = 24
TAIL_S = 600.0
# Requests per second by the hour: a night without any, a morning, a peak, an evening.
DAY = (0.0,) * 6 + (0.02, 0.05, 0.1, 0.15, 0.2, 0.2, 0.15, 0.2, 0.25, 0.2, 0.15, 0.1) + (
    0.1, 0.05, 0.05, 0.02, 0.02, 0.0,
)  # fmt: skip
# One request at a time, so that the seconds that a replica serves can be added by hand: a step of
# a fifth of a second for each token, and 0.5 ms for each token of prompt.
STEP_S, PROMPT_S = 0.2, 0.0005
SERVICE = measured_service(Linear(STEP_S, 0.0, 0.0, PROMPT_S, chunk=8192), 100_000, 1)
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
class Day:
    result: Result
    read: list[Snapshot]
    busy_s: float  # of all replicas, by hand
    ledger: Ledger


@pytest.fixture(scope="module")
def day() -> Day:
    arrivals = draw(steps(DAY, 3600), 400, 60, seed=11)
    setting = Setting(SERVICE, STARTS, Bounds(0, 8, 0), Targets(), arrivals)
    recorder = Recorder(policy_of("stoker", setting))
    result = simulate(setting, recorder, Conditions(seed=3, tail_s=TAIL_S))
    assert result.served == result.arrivals > 5000
    assert result.pods > 20  # starts and ends are a good part of the day
    busy = sum(
        PROMPT_S * each.input_tokens + STEP_S * max(1, each.output_tokens) for each in arrivals
    )
    return Day(result, recorder.read, busy, integrate(result, recorder.read))


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
    """What the operator would have counted."""
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


def test_the_cost_of_a_day_is_that_of_a_hand_calculation(day: Day) -> None:
    ledger = day.ledger
    by_hand = 0.0
    for life in day.result.lives:
        by_hand += billed_s(life, day.result.end_s) / 3600 * PRICE
    assert ledger.total() == pytest.approx(by_hand, rel=WITHIN)


def test_shares_are_the_whole_and_each_agrees_with_the_hand(day: Day) -> None:
    ledger = day.ledger
    dollars = {share: ledger.dollars.get(("aaaa", share), 0.0) for share in Share}
    assert sum(dollars.values()) == pytest.approx(ledger.total(), rel=1e-9)
    assert all(each >= 0 for each in dollars.values())
    end = day.result.end_s
    starting = sum(
        min(life.ready, life.deleted, end) - life.placed
        for life in day.result.lives
        if math.isfinite(life.placed)
    )
    assert dollars[Share.STARTING] == pytest.approx(starting / 3600 * PRICE, rel=WITHIN)
    serving = dollars[Share.SERVING] + dollars[Share.UNKNOWN]
    assert dollars[Share.SERVING] == pytest.approx(day.busy_s / 3600 * PRICE, rel=WITHIN)
    # A replica that has just begun, and one that goes, has not been asked yet.
    assert dollars[Share.UNKNOWN] < WITHIN * ledger.total()
    assert dollars[Share.IDLE] == pytest.approx(
        ledger.total() - dollars[Share.STARTING] - serving, rel=1e-6
    )


def test_spot_and_on_demand_side_by_side(day: Day) -> None:
    spot = frozenset(number for number in range(day.result.pods) if number % 3)
    by_hand = 0.0
    for number, life in enumerate(day.result.lives):
        price = SPOT if number in spot else PRICE
        by_hand += billed_s(life, day.result.end_s) / 3600 * price
    # What pods cost in all depends on no sample, so an hour between two of them does no harm.
    rarely = day.read[:: len(day.read) // HOURS]
    assert integrate(day.result, rarely, spot).total() == pytest.approx(by_hand, rel=WITHIN)


def test_a_static_fleet_for_the_same_day(day: Day) -> None:
    ledger = day.ledger
    hours = day.result.end_s / 3600
    most = max(
        sum(life.placed <= now < life.deleted for life in day.result.lives)
        for now in (life.placed for life in day.result.lives if math.isfinite(life.placed))
    )
    assert ledger.peak == pytest.approx(most * PRICE)
    # The night is without a replica, which a static fleet is not.
    assert ledger.peak * hours > 1.5 * ledger.total()
