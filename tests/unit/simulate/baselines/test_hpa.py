"""The HPA against sequences computed by hand from replica_calculator.go and horizontal.go."""

import pytest

from stoker.simulate.baselines.hpa import (
    average_value,
    hpa,
    hpa_pods,
    hpa_queue,
    hpa_zero,
    normalized,
    per_pod,
)
from tests.unit.simulate.baselines.scenes import SETTING, Cluster, changes, engine, look


@pytest.mark.parametrize(
    ("total", "pods", "expected"),
    [
        (100, 10, 10),  # exactly the target
        (109, 10, 10),  # within 10 %
        (91, 10, 10),
        (111, 10, 12),  # ceil(11.1)
        (89, 10, 9),  # ceil(8.9)
        (5, 0, 1),  # from zero there is no tolerance
        (0, 0, 0),
    ],
)
def test_an_average_value_is_total_over_target_outside_the_tolerance(
    total: int, pods: int, expected: int
) -> None:
    assert average_value(total, 10, pods) == expected


@pytest.mark.parametrize(
    ("values", "missing", "expected"),
    [
        ([20, 20], 0, 4),  # twice the target
        ([20, 20], 2, 4),  # with two silent ones at 0 it is the target: as it is
        ([20, 20], 1, 4),  # 40/3/10 = 1.33: ceil(1.33 · 3) = 4, two more than there are
        ([2, 2], 0, 1),
        ([2, 2], 2, 3),  # (4 + 20)/4/10 = 0.6: ceil(0.6 · 4) = 3
        ([9.5], 0, 1),
        ([], 3, 3),  # nobody reports
    ],
)
def test_pods_that_do_not_report_dampen_both_directions(
    values: list[float], missing: int, expected: int
) -> None:
    assert per_pod(values, missing, 10, current=len(values) + missing) == expected


def test_a_change_that_silent_pods_turn_round_is_dropped() -> None:
    # 15/10 = 1.5 asks for more, (15 + 0 + 0)/3/10 = 0.5 for less.
    assert per_pod([15], 2, 10, 3) == 3


def test_one_sync_goes_to_twice_or_four() -> None:
    assert normalized((), 1, 20, 0.0)[0] == 4
    assert normalized((), 3, 20, 0.0)[0] == 6


def test_the_highest_recommendation_of_300_s_counts() -> None:
    cluster = Cluster(hpa(SETTING, 10.0))
    answers = []
    for sync in range(40):
        now = 15.0 * sync
        busy = 75 if 30 <= now < 90 else 5
        answers.append((now, cluster.ask(now, look(now, engine(busy)))))
    # ceil(75/10) = 8: to 4, then to 8. The last such recommendation, of 75 s, is not older than
    # 300 s until 375 s.
    assert changes(answers) == [(0.0, 1), (30.0, 4), (45.0, 8), (390.0, 1)]


def test_only_the_feature_gate_lets_it_go_to_zero_and_back() -> None:
    one, zero = Cluster(hpa(SETTING, 10.0)), Cluster(hpa_zero(SETTING, 10.0))
    for sync in range(30):
        one.ask(15.0 * sync, look(15.0 * sync))
        zero.ask(15.0 * sync, look(15.0 * sync))
    assert (one.wanted, zero.wanted) == (1, 0)
    assert zero.ask(450.0, look(450.0, held=1)) == 1


def test_the_queue_is_what_waits_anywhere() -> None:
    cluster = Cluster(hpa_queue(SETTING, None))
    assert cluster.ask(0.0, look(0.0, engine(90, waiting=6), held=5)) == 3  # ceil(11/5)


def test_without_a_parameter_a_replica_is_filled_to_70_percent() -> None:
    cluster = Cluster(hpa(SETTING, None))
    assert cluster.ask(0.0, look(0.0, engine(71), held=70)) == 3  # ceil(141/70)


def test_pods_metrics_see_what_engines_have_or_would_have() -> None:
    # Without a frontend that holds, the 20 would be in the engines' queues, 10 in each.
    cluster = Cluster(hpa_pods(SETTING, 10.0), wanted=2)
    seen = look(0.0, engine(10), engine(10, pod=1), held=20)
    assert cluster.ask(0.0, seen, instant=False) == 4
    # Two of four report: (20 + 20 + 0 + 0)/4 is the target.
    assert cluster.ask(15.0, seen, instant=False) == 4


def test_readings_behind_a_scraper_are_half_its_interval_old_at_every_sync() -> None:
    pipeline = hpa(SETTING, None).pipeline
    assert (pipeline.tick_s, pipeline.scrape_s, pipeline.lag_s) == (15.0, 7.5, 7.5)
