"""Knative's autoscaler against sequences computed by hand from autoscaler.go and its ConfigMap."""

import pytest

from stoker.simulate.baselines.knative import knative, knative_rps
from tests.unit.simulate.baselines.scenes import SETTING, Cluster, changes, engine, look


def test_the_documented_defaults_are_70_per_replica_looked_at_every_two_seconds() -> None:
    policy = knative(SETTING, None)
    assert policy.pipeline.tick_s == 2.0
    assert policy.pipeline.scrape_s == 1.0
    one = Cluster(policy)
    # 70 in the system need one replica, 71 two.
    assert one.ask(0.0, look(0.0, engine(70))) == 1
    two = Cluster(policy)
    assert two.ask(0.0, look(0.0, engine(71))) == 2


def test_a_burst_panics_and_nothing_falls_for_60_seconds_after_it() -> None:
    cluster = Cluster(knative(SETTING, 10.0))  # 7 per replica
    answers = []
    for tick in range(60):
        now = 2.0 * tick
        # One request at a time, but 28 from 20 s to 30 s: four replicas of 7.
        busy = 28 if 20 <= now < 30 else 1
        seen = [look(time, engine(busy)) for time in (now - 1, now) if time >= 0]
        answers.append((now, cluster.ask(now, *seen)))
    # The readings of 19 s and 20 s are the first of 28. The means of 6 s:
    # 20 s: (4·1 + 2·28)/6 = 10: two replicas, twice what is ready: panic.
    # 22 s: (2·1 + 4·28)/6 = 19: three, below twice two. 24 s: 28: four, below twice three.
    # So panic is not renewed after 20 s and is over at the first tick after 80 s. The 60 s mean is
    # (6·28 + 54·1)/60 = 3.7 then: one, but floor(4/2) = 2 is the most at once.
    assert changes(answers) == [
        (0.0, 1), (20.0, 2), (22.0, 3), (24.0, 4), (82.0, 2), (84.0, 1),
    ]  # fmt: skip


def test_who_begins_with_several_replicas_begins_in_panic() -> None:
    cluster = Cluster(knative(SETTING, None), wanted=5)
    answers = [
        (2.0 * tick, cluster.ask(2.0 * tick, look(2.0 * tick, engine(1)))) for tick in range(40)
    ]
    # Panic since 0 s ends when 60 s are over (62 s); then halves: 2, 1.
    assert changes(answers) == [(0.0, 5), (62.0, 2), (64.0, 1)]


def test_zero_takes_60_s_of_silence_and_the_activator_which_is_there_already() -> None:
    cluster = Cluster(knative(SETTING, None))
    answers = []
    for tick in range(100):
        now = 2.0 * tick
        seen = look(now, engine(1 if now < 100 else 0))
        answers.append((now, cluster.ask(now, seen)))
    # The last reading above 0 is at 98 s and leaves the 60 s at 158 s. 100 - 211 is below 0, so
    # the activator has been in the path from the beginning, and the grace is over.
    assert changes(answers) == [(0.0, 1), (158.0, 0)]


def test_a_large_total_keeps_the_activator_away_and_adds_the_grace() -> None:
    cluster = Cluster(knative(SETTING, 1000.0))
    answers = []
    for tick in range(100):
        now = 2.0 * tick
        seen = look(now, engine(1 if now < 100 else 0))
        answers.append((now, cluster.ask(now, seen)))
    # 1000 - 211 is above 0: the activator comes at 158 s, and the grace is 30 s.
    assert changes(answers) == [(0.0, 1), (188.0, 0)]


def test_from_zero_the_activator_pokes() -> None:
    cluster = Cluster(knative(SETTING, None), wanted=0)
    assert cluster.policy.pipeline.wake_s == pytest.approx(0.1)
    assert cluster.ask(2.0, look(2.0)) == 0
    assert cluster.ask(2.6, look(2.6, held=1), instant=False) == 1
    # Three readings so far, of 0, 1 and 500: 167 in the mean, ceil(167/70) = 3.
    assert cluster.ask(4.0, look(4.0, held=500), instant=False) == 3
    assert cluster.last.reason.startswith("panic")


def test_requests_per_second_count_arrivals_of_each_second() -> None:
    cluster = Cluster(knative_rps(SETTING, 10.0))  # 7 per second and replica
    assert cluster.ask(0.0, look(0.0)) == 1
    # 20 requests in each of two seconds: ceil(20/7) = 3.
    first, second = look(1.0, requests_total=20), look(2.0, requests_total=40)
    assert cluster.ask(2.0, first, second) == 3
    assert "20.00 in 6 s" in cluster.last.reason


def test_the_default_rate_is_70_percent_of_200_per_second() -> None:
    cluster = Cluster(knative_rps(SETTING, None))
    cluster.ask(0.0, look(0.0))
    assert cluster.ask(2.0, look(1.0, requests_total=141), look(2.0, requests_total=282)) == 2
