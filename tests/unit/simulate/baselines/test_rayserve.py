"""Ray Serve against sequences computed by hand from autoscaling_policy.py and its defaults."""

from stoker.simulate.baselines.rayserve import ray_serve
from stoker.simulate.policy import Snapshot
from tests.unit.simulate.baselines.scenes import SETTING, Cluster, changes, engine, look


def run(cluster: Cluster, seconds: range, load: dict[int, int]) -> list[tuple[float, int]]:
    """The load holds from the second that is its key on."""
    answers = []
    for second in seconds:
        busy = load[max(each for each in load if each <= second)]
        seen: Snapshot = look(float(second), engine(busy))
        answers.append((float(second), cluster.ask(float(second), seen)))
    return changes(answers)


def test_two_requests_per_replica_after_30_s_of_asking() -> None:
    # 10 requests: ceil(10/2) = 5, asked for at 0 s, 1 s, ...; the 31st time at 30 s.
    assert run(Cluster(ray_serve(SETTING, None)), range(40), {0: 10}) == [(0.0, 1), (30.0, 5)]


def test_the_mean_of_30_s_is_what_asks() -> None:
    # From 100 s on 40 requests over 2: the mean is above 2, so asked for at once; at 130 s, the
    # 31st time, all 30 s hold 40.
    found = run(Cluster(ray_serve(SETTING, None)), range(140), {0: 2, 100: 40})
    assert found == [(0.0, 1), (130.0, 20)]


def test_down_takes_600_s_and_zero_another_600() -> None:
    found = run(Cluster(ray_serve(SETTING, None), wanted=5), range(1400), {0: 0})
    # From five to one and not to zero; from one to zero with a count of its own.
    assert found == [(0.0, 5), (600.0, 1), (1201.0, 0)]


def test_a_look_that_asks_for_the_opposite_begins_again() -> None:
    load = {0: 10, 20: 2, 60: 10}
    # 10, then 2 replicas' worth: the mean falls to 2 at 50 s (that asks for one, as there is),
    # and rises above it again from 60 s on: the 31st time at 90 s.
    assert run(Cluster(ray_serve(SETTING, None)), range(49), load) == [(0.0, 1), (30.0, 4)]
    assert run(Cluster(ray_serve(SETTING, 10.0)), range(100), load) == [(0.0, 1)]


def test_from_zero_any_request_asks_at_once_and_for_no_second_one_until_one_answers() -> None:
    cluster = Cluster(ray_serve(SETTING, None), wanted=0)
    assert cluster.ask(0.0, look(0.0)) == 0
    assert cluster.ask(0.4, look(0.4, held=1), instant=False) == 1
    for second in range(1, 200):
        cluster.ask(float(second), look(float(second), held=50), instant=False)
    assert cluster.wanted == 1
    assert cluster.last.reason.endswith("none ready")
