"""KubeAI against sequences computed by hand from autoscaler.go, scale.go and its defaults."""

import dataclasses

from stoker.simulate.baselines.kubeai import kubeai
from tests.unit.simulate.baselines.scenes import SETTING, Cluster, changes, engine, look


def test_a_step_of_400_requests_takes_minutes_to_be_believed() -> None:
    cluster = Cluster(kubeai(SETTING, None))
    answers = [
        (10.0 * tick, cluster.ask(10.0 * tick, look(10.0 * tick, engine(400))))
        for tick in range(80)
    ]
    # The mean after n ticks is 400·n/60: above 100 with 16, above 200 with 31, above 300 with 46.
    assert changes(answers) == [(0.0, 1), (150.0, 2), (300.0, 3), (450.0, 4)]


def test_down_takes_four_ticks_in_a_row_and_goes_on_from_there() -> None:
    cluster = Cluster(kubeai(SETTING, 1.0))
    answers = []
    for tick in range(70):
        busy = 60 if tick == 0 else 0
        answers.append((10.0 * tick, cluster.ask(10.0 * tick, look(10.0 * tick, engine(busy)))))
    # 60 once is a mean of 1: one replica for 60 ticks. At 600 s the mean is 0, for the fourth
    # time at 630 s.
    assert changes(answers) == [(0.0, 1), (630.0, 0)]


def test_the_count_of_fewer_is_only_reset_by_a_tick_that_asks_for_as_many() -> None:
    cluster = Cluster(kubeai(SETTING, 1.0), wanted=3)
    # 120 once is a mean of 2 for 60 ticks: fewer than three, for the fourth time at 30 s. The tick
    # after that asks for as many as there are.
    down = [
        cluster.ask(10.0 * tick, look(10.0 * tick, engine(0 if tick else 120))) for tick in range(5)
    ]
    assert down == [3, 3, 3, 2, 2]
    # 120, then 60: means of 2 and 3. The tick at 10 s asks for three, and the count begins again.
    again = Cluster(kubeai(SETTING, 1.0), wanted=3)
    load = [120, 60, *[0] * 57, 0, 0, 0, 0, 0]
    found = [
        again.ask(10.0 * tick, look(10.0 * tick, engine(each))) for tick, each in enumerate(load)
    ]
    # The 120 leaves at 600 s and the 60 at 610 s; fewer for the fourth time at 630 s.
    assert found[:60] == [3] * 60
    assert found[60:] == [3, 3, 3, 0]
    # Nine ticks of 60 leave one by one: after the first step down each tick may step again.
    steps = Cluster(kubeai(SETTING, 1.0), wanted=9)
    steps.history = dataclasses.replace(steps.history, active=(*[60] * 9, *[0] * 51))
    # Means of 8, 7, 6, 5, 4, 3.
    assert [steps.ask(10.0 * tick, look(10.0 * tick)) for tick in range(6)] == [9, 9, 9, 5, 4, 3]


def test_what_is_held_counts_as_active_and_wakes_at_once() -> None:
    cluster = Cluster(kubeai(SETTING, None), wanted=0)
    assert cluster.ask(0.0, look(0.0)) == 0
    assert cluster.ask(3.4, look(3.4, held=1)) == 1
    assert cluster.last.reason == "a request at zero replicas"
    # The gateway's call puts nothing into the average: 1 of 60 at the next tick.
    cluster.ask(10.0, look(10.0, held=60))
    assert cluster.last.reason.startswith("mean of 600 s 1.00")
