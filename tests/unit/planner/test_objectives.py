"""The order that an objective makes, and the targets."""

import math
import random

import pytest

from stoker.model.sizing import Objective, Request, Targets
from stoker.planner import objectives
from stoker.planner.candidates import Candidate
from stoker.planner.decide import problem_of
from stoker.planner.search import search
from tests.unit.planner.problems import FEATURES, GPUS, LLAMA_8B


def candidates(objective: Objective) -> tuple[Candidate, ...]:
    return search(problem_of(Request(objective=objective), LLAMA_8B, GPUS, FEATURES)).chosen


@pytest.mark.parametrize("objective", Objective)
def test_the_order_is_total(objective: Objective) -> None:
    found = list(candidates(objective))
    ranked = objectives.rank(objective, found)
    shuffled = found[:]
    random.Random(7).shuffle(shuffled)  # noqa: S311 - any order will do
    assert objectives.rank(objective, shuffled) == ranked


def test_what_is_cramped_comes_last() -> None:
    ranked = candidates(Objective.MEMORY)
    flags = [each.cramped for each in ranked]
    assert flags == sorted(flags)
    assert not flags[0]


def test_as_fast_and_cheaper_wins() -> None:
    best, *others = candidates(Objective.LATENCY)
    fastest = min(each.alone_s for each in (best, *others))
    assert best.alone_s <= 1.1 * fastest
    price = best.expected.price_per_hour
    assert price is not None
    as_fast = [each for each in others if each.alone_s <= 1.1 * fastest]
    assert all((each.expected.price_per_hour or math.inf) >= price for each in as_fast)


def test_missed_targets_are_told_with_both_numbers() -> None:
    each = candidates(Objective.BALANCED)[0]
    targets = Targets(ttft_s=1e-6, itl_s=10.0, price_per_hour=0.001)
    missed = objectives.missed(targets, each)
    assert set(missed) == {"ttft", "pricePerHour"}
    text = objectives.describe(missed)
    assert "ttft" in text
    assert "instead of $0.00" in text
    assert objectives.distance(missed) > 1
    assert objectives.missed(Targets(), each) == {}
