"""Latency targets in synthetic time: engines whose times follow what they have in progress."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from stoker.autoscale import Policy, Sample, decide
from stoker.autoscale.latency import HOPELESS_S, WINDOW_S, look
from stoker.autoscale.policy import LatencyTarget, policy_of
from stoker.model.load import EngineSample, FrontendSample, Load
from stoker.model.moment import Moment
from stoker.model.scale import History, Latencies, ScaleDecision, Term
from stoker.model.timing import Buckets, within
from stoker.model.work import Work
from tests.unit.plan import worlds

TTFT = LatencyTarget(Term.TTFT, 0.9, 1.0)
POLICY = Policy(1, 20, 50, 256, latency=(TTFT,), lead_s=60.0)
STEP_S, START_S = 5.0, 60.0
EDGES = (0.25, 0.5, 1.0, 2.5, 5.0, math.inf)


class Service:
    """So many requests in progress; of a replica's, a share is in time that its load decides."""

    def __init__(self, in_time: Callable[[float], float], policy: Policy = POLICY) -> None:
        self.in_time = in_time
        self.policy = policy
        self.wanted = 2
        self.ready_at = [0.0, 0.0]  # of each replica
        self.time = 1000.0
        self.history = History()
        self.good = [0.0] * 20
        self.bad = [0.0] * 20

    def step(self, in_progress: int, rate: float = 4.0) -> ScaleDecision:
        """One look: `rate` requests per second were answered by each replica since the last."""
        ready = sum(at <= self.time for at in self.ready_at)
        each = in_progress / max(1, ready)
        for place in range(ready):
            self.good[place] += rate * STEP_S * self.in_time(each)
            self.bad[place] += rate * STEP_S * (1 - self.in_time(each))
        engines = tuple(
            EngineSample(
                f"engine-{place}",
                in_progress // ready,
                0,
                0.2,
                ttft=_buckets(self.good[place], self.bad[place]),
            )
            for place in range(ready)
        )
        load = Load(self.time, (FrontendSample("front-0", 0, in_progress, 0.0),), engines)
        found = decide(
            self.policy,
            self.history,
            Sample(self.wanted, ready, load),
            Moment(self.time, 1.8e9 + self.time),
        )
        added = found.replicas - len(self.ready_at)
        self.ready_at = self.ready_at[: found.replicas] + [self.time + START_S] * added
        self.wanted, self.history = found.replicas, found.history
        self.time += STEP_S
        return found

    def run(self, seconds: float, in_progress: int) -> list[int]:
        return [self.step(in_progress).replicas for _ in range(int(seconds / STEP_S))]


def _buckets(good: float, bad: float) -> Buckets:
    return tuple((edge, good if edge <= 1.0 else good + bad) for edge in EDGES)


def _up_to(limit: float) -> Callable[[float], float]:
    """In time up to a load, and late beyond it."""
    return lambda each: 0.99 if each <= limit else 0.4


def test_replicas_come_until_the_target_holds_and_stay() -> None:
    service = Service(_up_to(12))
    seen = service.run(3600, 40)
    assert seen[0] == 2
    # 40 over 12 are 4 replicas; the cap is found from above, in steps of a fifth.
    assert 4 <= max(seen) <= 5
    assert set(seen[len(seen) // 2 :]) <= {4, 5}
    # One fewer would break it: what is in progress over the cap says so.
    assert service.step(40).replicas == seen[-1]


def test_the_words_name_the_target() -> None:
    service = Service(_up_to(12))
    grown = [found.verdict.message for _ in range(60) if (found := service.step(40)).replicas > 2]
    assert grown[0] == (
        "40 requests are in progress, and ttft p90 within 1000ms holds with at most 16.0 per "
        "replica: 3 replicas"
    )


def test_a_target_that_no_number_keeps_is_given_up_and_said() -> None:
    service = Service(lambda _: 0.3)
    seen = service.run(1800, 40)
    assert max(seen) <= 5, "about twice the replicas at most"
    last = service.step(40)
    assert last.activity is not None
    assert "No number of replicas keeps ttft p90 within 1000ms: 30% were in time" in (
        last.activity.message
    )
    # What was added for it goes again.
    assert service.run(1800, 40)[-1] <= 2
    # After an hour it is tried again, within the same bound.
    assert max(service.run(HOPELESS_S, 40)) <= 5


def test_a_lone_request_that_is_late_is_late_with_any_number() -> None:
    service = Service(lambda _: 0.0)
    assert max(service.run(1200, 2)) == 2
    found = service.step(2)
    assert found.activity is not None
    assert "0% were in time with 1.0 requests in progress per replica" in found.activity.message


def test_what_the_plan_knows_to_be_impossible_is_not_tried() -> None:
    slow = Work(0.02, 2e-4, 1e-7, 3e-3, 0.0, 0.05, 96, 400_000, 1000, 200)
    service = Service(lambda _: 0.3, replace(POLICY, work=slow))
    found = [service.step(2, rate=4.0) for _ in range(200)][-1]
    assert found.activity is not None
    assert "by the plan a lone request takes 3020ms" in found.activity.message
    assert found.reckoning is not None
    assert Term.TTFT not in found.reckoning.terms


def test_less_load_needs_fewer_and_more_load_more() -> None:
    service = Service(_up_to(12))
    service.run(1800, 40)
    assert service.run(600, 80)[-1] >= 7
    assert service.run(3600, 10)[-1] <= 2


def test_a_few_requests_tell_nothing() -> None:
    service = Service(lambda _: 0.0)
    seen = [service.step(40, rate=0.01).replicas for _ in range(300)]
    assert max(seen) == 2


def test_an_engine_without_the_histogram_stops_scaling() -> None:
    engine = EngineSample("engine-0", 1, 0, 0.1)
    load = Load(50.0, (FrontendSample("front-0", 0, 1, 0.0),), (engine,))
    found = decide(POLICY, History(), Sample(1, 1, load), Moment(50, 50))
    assert (found.active, found.replicas) == (False, 1)
    assert "engine-0 does not report its histogram of time to first token" in found.verdict.message


def test_an_engine_that_began_anew_takes_nothing_away() -> None:
    def seen(good: float, bad: float, at: float, before: Latencies) -> Latencies:
        engine = EngineSample("engine-0", 5, 0, 0.1, ttft=_buckets(good, bad))
        front = FrontendSample("front-0", 0, 5, 0.0)
        return look(POLICY, before, Load(at, (front,), (engine,)), at)

    first = seen(100, 100, 0, Latencies())
    second = seen(5, 5, 5, first)
    assert second.promises["ttft p90"].measured == 0
    third = seen(15, 10, 10, second)
    promise = third.promises["ttft p90"]
    assert (promise.measured, promise.in_time) == (15, 10)
    assert promise.seconds < WINDOW_S


@pytest.mark.parametrize(
    ("seconds", "count"), [(0.25, 10), (0.5, 30), (0.375, 20), (0.1, 4), (3.0, 40), (0.0, 0)]
)
def test_between_two_edges_times_are_spread_evenly(seconds: float, count: float) -> None:
    buckets = ((0.25, 10.0), (0.5, 30.0), (1.0, 40.0), (math.inf, 50.0))
    assert within(buckets, seconds) == pytest.approx(count)


def test_targets_come_from_the_spec() -> None:
    target = {"ttft": {"p90": "800ms", "p50": "500ms"}, "itl": {"p99": "1s"}}
    spec = worlds.spec(scaling={"maxReplicas": 2, "target": target})
    policy = policy_of(spec, worlds.VLLM)
    assert policy is not None
    assert policy.queue_target == 4
    assert [(each.name, each.seconds) for each in policy.latency] == [
        ("ttft p50", 0.5),
        ("ttft p90", 0.8),
        ("itl p99", 1.0),
    ]
