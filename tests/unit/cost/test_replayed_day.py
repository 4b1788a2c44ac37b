"""A day of requests replayed; its cost by the operator's own way, and by hand.

The same over a recorded trace: `python -m benchmarks.cost TRACE`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from stoker.cost.ledger import Ledger
from stoker.cost.prices import Share
from stoker.simulate.synthetic import draw, steps
from tests.unit.cost.replay import (
    Day,
    Pace,
    dollars_by_hand,
    integrate,
    replay,
    starting_by_hand,
)
from tests.unit.cost.worlds import PRICE

WITHIN = 0.01
HOURS = 24
# Requests per second by the hour: a night without any, a morning, a peak, an evening.
DAY = (0.0,) * 6 + (0.02, 0.05, 0.1, 0.15, 0.2, 0.2, 0.15, 0.2, 0.25, 0.2, 0.15, 0.1) + (
    0.1, 0.05, 0.05, 0.02, 0.02, 0.0,
)  # fmt: skip
# A step of a fifth of a second for each token, and 0.5 ms for each token of prompt.
PACE = Pace(0.0005, 0.2)


@dataclass(frozen=True)
class Counted:
    """The day, and what the operator would have counted."""

    day: Day
    ledger: Ledger


@pytest.fixture(scope="module")
def counted() -> Counted:
    day = replay(draw(steps(DAY, 3600), 400, 60, seed=11), PACE, most=8)
    assert day.result.served == day.result.arrivals == len(day.served) > 5000
    assert day.result.pods > 20  # starts and ends are a good part of the day
    return Counted(day, integrate(day.result, day.read))


def test_the_cost_of_a_day_is_that_of_a_hand_calculation(counted: Counted) -> None:
    by_hand = dollars_by_hand(counted.day.result)
    assert counted.ledger.total() == pytest.approx(by_hand, rel=WITHIN)


def test_shares_are_the_whole_and_each_agrees_with_the_hand(counted: Counted) -> None:
    ledger = counted.ledger
    dollars = {share: ledger.dollars.get(("aaaa", share), 0.0) for share in Share}
    assert sum(dollars.values()) == pytest.approx(ledger.total(), rel=1e-9)
    assert all(each >= 0 for each in dollars.values())
    starting = starting_by_hand(counted.day.result)
    assert dollars[Share.STARTING] == pytest.approx(starting, rel=WITHIN)
    busy_s = sum(PACE.seconds(each) for each in counted.day.served)
    serving = dollars[Share.SERVING] + dollars[Share.UNKNOWN]
    assert dollars[Share.SERVING] == pytest.approx(busy_s / 3600 * PRICE, rel=WITHIN)
    # A replica that has just begun, and one that goes, has not been asked yet.
    assert dollars[Share.UNKNOWN] < WITHIN * ledger.total()
    assert dollars[Share.IDLE] == pytest.approx(
        ledger.total() - dollars[Share.STARTING] - serving, rel=1e-6
    )


def test_spot_and_on_demand_side_by_side(counted: Counted) -> None:
    result, read = counted.day.result, counted.day.read
    spot = frozenset(number for number in range(result.pods) if number % 3)
    # What pods cost in all depends on no sample, so an hour between two of them does no harm.
    rarely = read[:: len(read) // HOURS]
    by_hand = dollars_by_hand(result, spot)
    assert integrate(result, rarely, spot).total() == pytest.approx(by_hand, rel=WITHIN)


def test_a_static_fleet_for_the_same_day(counted: Counted) -> None:
    ledger, lives = counted.ledger, counted.day.result.lives
    hours = counted.day.result.end_s / 3600
    most = max(
        sum(life.placed <= now < life.deleted for life in lives)
        for now in (life.placed for life in lives if math.isfinite(life.placed))
    )
    assert ledger.peak == pytest.approx(most * PRICE)
    # The night is without a replica, which a static fleet is not.
    assert ledger.peak * hours > 1.5 * ledger.total()
