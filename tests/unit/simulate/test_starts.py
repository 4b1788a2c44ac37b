"""The way up of a replica, and what chance does to it."""

import math
from dataclasses import replace
from statistics import median

import pytest

from stoker.simulate.starts import Phase, Starts, draw_start
from tests.unit.simulate.worlds import STARTS


def test_phases_follow_each_other_and_a_node_that_is_there_saves_two() -> None:
    start = draw_start(STARTS, 0, 0)
    assert start.ready_after_s(node_there=False) == 200
    assert start.ready_after_s(node_there=True) == 40
    assert STARTS.lead_s() == 200
    assert replace(STARTS, warm_nodes=1).lead_s() == 40


def test_a_start_is_its_seeds_and_its_numbers() -> None:
    starts = Starts()
    assert draw_start(starts, 1, 2) == draw_start(starts, 1, 2)
    assert draw_start(starts, 1, 2) != draw_start(starts, 1, 3)
    assert draw_start(starts, 1, 2) != draw_start(starts, 2, 2)


def test_times_lie_around_their_median() -> None:
    starts = replace(STARTS, node=Phase(100, 0.5))
    drawn = [draw_start(starts, 0, number).phases["node"] for number in range(2000)]
    assert median(drawn) == pytest.approx(100, rel=0.05)
    logs = [math.log(each / 100) for each in drawn]
    assert math.sqrt(sum(each * each for each in logs) / len(logs)) == pytest.approx(0.5, rel=0.05)
    assert starts.lead_s(1.0) == pytest.approx(100 * math.exp(0.5) + 100)


def test_a_node_that_is_not_granted_and_a_pod_that_is_broken_never_come() -> None:
    refused = draw_start(replace(STARTS, not_granted=1.0), 0, 0)
    assert refused.ready_after_s(node_there=False) == math.inf
    assert refused.ready_after_s(node_there=True) == 40
    broken = draw_start(replace(STARTS, never_ready=1.0), 0, 0)
    assert broken.ready_after_s(node_there=True) == math.inf


def test_failures_have_their_frequency() -> None:
    starts = replace(STARTS, not_granted=0.25, never_ready=0.1, spot_losses_per_hour=2.0)
    drawn = [draw_start(starts, 0, number) for number in range(4000)]
    assert sum(not each.granted for each in drawn) / 4000 == pytest.approx(0.25, abs=0.03)
    assert sum(not each.healthy for each in drawn) / 4000 == pytest.approx(0.1, abs=0.02)
    assert sum(each.lost_after_s for each in drawn) / 4000 == pytest.approx(1800, rel=0.06)
    assert draw_start(STARTS, 0, 0).lost_after_s == math.inf
