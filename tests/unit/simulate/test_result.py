"""Figures of a run, from values made by hand."""

import math
from itertools import pairwise

import pytest

from stoker.planner.batching import Engine
from stoker.simulate.need import Need
from stoker.simulate.result import Change, Life, _bill, _densest, _turns, short_spells, spread_of
from stoker.simulate.starts import Start
from stoker.simulate.world import Pod
from tests.unit.simulate.worlds import SERVICE, Script, requests, run, setting


def pod(created: float, ready: float, deleted: float = math.inf) -> Pod:
    engine = Engine(SERVICE.steps, SERVICE.kv_tokens, SERVICE.max_num_seqs)
    return Pod(0, created, Start(), engine, 0.0, ready=ready, deleted=deleted)


def test_percentiles_are_of_what_has_a_value() -> None:
    found = spread_of([*range(1, 101), math.nan])
    assert (found.p50, found.p90, found.p99) == (50, 90, 99)
    assert spread_of([3.0]).p99 == 3.0
    assert math.isnan(spread_of([math.nan]).p50)


def test_replicas_are_billed_from_creation_to_deletion_or_the_end() -> None:
    pods = [pod(0, 0), pod(10, 60, 80), pod(20, math.inf, 40), pod(80, 130)]
    billed, starting, peak = _bill(pods, 100)
    assert billed == 100 + 70 + 20 + 20
    assert starting == 50 + 20 + 20
    assert peak == 3  # the one that goes at 80 is gone when another one comes


def test_capacity_is_short_while_fewer_are_ready_than_needed() -> None:
    need = Need(5.0, (1.0, 1.2, 2.0, 2.0, 0.0, 3.0, 3.0))
    assert short_spells(need, [pod(0, 0), pod(0, 12)], 35.0) == [5.0, 10.0]
    assert short_spells(need, [pod(0, 0, 20), pod(0, 5)], 35.0) == [10.0]
    assert short_spells(need, [], 35.0) == [20.0, 10.0]


def test_turns_are_changes_of_direction() -> None:
    counts = [1, 3, 4, 2, 1, 2, 1]
    changes = [
        Change(100.0 * number, before, after, "")
        for number, (before, after) in enumerate(pairwise(counts))
    ]
    assert _turns(changes) == [200.0, 400.0, 500.0]
    assert _densest([200.0, 400.0, 500.0], 250.0) == 2
    assert _densest([], 600.0) == 0


def test_attainment_counts_everybody_who_came() -> None:
    # First tokens after 1.5 s and 9.5 s within the target of 10 s; the third is refused.
    found = run(Script({}), setting(requests((0, 50, 2), (100, 850, 2), (200, 1700, 1))))
    assert found.ttft.p99 == pytest.approx(17.5)
    assert found.ttft_attained == pytest.approx(1 / 3)
    assert found.itl_attained == pytest.approx(2 / 3)
    assert found.attained == pytest.approx(1 / 3)
    assert found.shed == 1


def test_changes_are_told_with_their_reasons() -> None:
    found = run(Script({0: 2, 100: 1}), setting(requests((0, 50, 2))), tail_s=3600)
    assert found.changes == (
        Change(0.0, 1, 2, "asked 1 times"),
        Change(100.0, 2, 1, "asked 11 times"),
    )
    assert found.changes_per_hour == pytest.approx(2.0)
    assert (found.direction_changes, found.direction_changes_in_10_min) == (1, 1)


def test_the_lives_of_all_pods_are_told() -> None:
    found = run(Script({0: 2, 50: 1, 100: 2}), setting(requests((0, 50, 2))))
    assert found.lives == (
        Life(0.0, 0.0, 0.0, math.inf),
        Life(0.0, math.inf, math.inf, 50.0),
        Life(100.0, 200.0, 300.0, math.inf),
    )
