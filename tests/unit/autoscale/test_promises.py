"""What holds whatever the metrics say and whatever the clocks do: bounds, money, more for more."""

import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.autoscale import Policy, Sample, decide
from stoker.autoscale.limits import limits_of
from stoker.autoscale.policy import LatencyTarget
from stoker.model.budget import Budget
from stoker.model.load import EngineSample, FrontendSample, Load
from stoker.model.moment import Moment
from stoker.model.scale import History, Term
from stoker.model.schedule import Entry
from stoker.model.work import Work

WORK = Work(0.01, 2e-4, 1e-7, 5e-5, 0.0, 0.05, 16, 400_000, 1000, 200)
prices = st.sampled_from([None, "0.00", "0.53", "4.00", "11.11"])
entries = st.builds(
    Entry,
    st.sampled_from(["0 8 * * 1-5", "*/10 * * * *", "30 2 * * *", "0 0 1 * *"]),
    st.sampled_from(["UTC", "Europe/Berlin", "Asia/Shanghai"]),
    st.sampled_from([60.0, 1800.0, 36_000.0]),
    st.none() | st.integers(1, 8),
    st.none() | st.integers(1, 8),
)


def _policy(low: int, more: int, schedule: list[Entry], **further: Any) -> Policy:
    """A policy as the API server lets it through: windows lie between the bounds."""
    high = max(1, low + more)

    def inside(count: int | None) -> int | None:
        return None if count is None else max(low, min(count, high))

    windows = (
        replace(each, minimum=inside(each.minimum), maximum=inside(each.maximum))
        for each in schedule
    )
    return Policy(low, high, schedule=tuple(windows), **further)


policies = st.builds(
    _policy,
    st.integers(0, 3),
    st.integers(0, 9),
    queue_target=st.integers(1, 10),
    concurrency=st.integers(1, 32),
    idle_before_zero=st.sampled_from([None, 60.0]),
    stabilization=st.sampled_from([None, 0.0, 30.0]),
    work=st.sampled_from([None, WORK]),
    concurrency_target=st.none() | st.integers(1, 40),
    kv_target=st.sampled_from([None, 0.3, 0.8]),
    latency=st.sampled_from([(), (LatencyTarget(Term.TTFT, 0.5, 1.0),)]),
    schedule=st.lists(entries, max_size=3),
    budget=st.none()
    | st.builds(
        lambda amount, price: Budget(Decimal(amount), None if price is None else Decimal(price)),
        st.sampled_from(["1", "12.50", "40.00"]),
        prices,
    ),
)
odd = st.sampled_from([0.0, 1.0, 1e9, -1.0, math.nan, math.inf])
counts = st.integers(0, 300)
loads = st.one_of(
    st.none(),
    st.tuples(counts, counts, counts, st.floats(0, 1)),
    st.tuples(odd, odd, odd, odd),
)
# Seconds that pass, and what the wall clock is set by meanwhile: hours, days, back and forth.
pauses = st.sampled_from([0.0, 1.0, 7.0, 45.0, 700.0])
jumps = st.sampled_from([0.0, 0.0, 0.0, 3600.0, -3600.0, 86_400.0, -40 * 86_400.0])
looks = st.lists(st.tuples(loads, pauses, jumps, st.integers(0, 10)), max_size=30)


@settings(deadline=None)
@given(policies, st.none() | st.integers(0, 9), looks)
def test_bounds_and_budget_hold(
    policy: Policy, start: int | None, sequence: list[tuple[object, float, float, int]]
) -> None:
    wanted, history, time, wall, total = start, History(), 100.0, 1.8e9, 0.0
    for shape, pause, jump, ready in sequence:
        time, wall, total = time + pause, wall + pause + jump, total + ready
        sample = Sample(wanted, min(ready, wanted or 0), _load(shape, time, total))
        now = Moment(time, wall)
        found = decide(policy, history, sample, now)

        assert 0 <= found.replicas <= policy.max_replicas
        allowed = None if policy.budget is None else policy.budget.allows
        if policy.budget is None:
            assert found.replicas >= policy.min_replicas
        elif allowed:
            assert found.replicas <= allowed
            if policy.budget.price:
                assert found.replicas * policy.budget.price <= policy.budget.per_hour
        else:
            # Nobody can pay for one more, so none comes.
            assert found.replicas <= (max(1, policy.min_replicas) if wanted is None else wanted)
        limits = limits_of(policy, wanted, now)
        assert limits.floor.replicas <= found.replicas <= limits.ceiling.replicas
        for entry in policy.schedule:
            if entry.active(wall) is not None:
                assert found.replicas <= (entry.maximum or policy.max_replicas)
        assert found.wake_at is None or found.wake_at > time
        if policy.schedule:
            assert found.wake_at is not None
        wanted, history = found.replicas, found.history


@settings(deadline=None)
@given(
    policies,
    st.lists(st.tuples(counts, counts, counts, st.integers(0, 60)), max_size=25),
    st.tuples(counts, counts, counts, st.integers(0, 60)),
    st.tuples(counts, counts, counts, st.integers(0, 60)),
    st.integers(0, 9),
)
def test_more_load_never_asks_for_less(
    policy: Policy,
    past: list[tuple[int, int, int, int]],
    less: tuple[int, int, int, int],
    more: tuple[int, int, int, int],
    ready: int,
) -> None:
    wanted, history, time, total = 2, History(), 100.0, 0.0
    for *shape, came in past:
        time, total = time + 20, total + came
        sample = Sample(wanted, min(ready, wanted), _load((*shape, 0.3), time, total))
        found = decide(policy, history, sample, Moment(time, 1.8e9 + time))
        wanted, history = found.replicas, found.history
    time += 5
    both = []
    for extra in ((0, 0, 0, 0), more):
        *shape, came = (one + other for one, other in zip(less, extra, strict=True))
        share = 0.2 if extra[0] == 0 else 0.6
        load = _load((*shape, share), time, total + came)
        sample = Sample(wanted, min(ready, wanted), load)
        both.append(decide(policy, history, sample, Moment(time, 1.8e9 + time)).replicas)
    assert both[0] <= both[1]


def test_a_wall_clock_that_is_set_opens_and_closes_windows() -> None:
    policy = replace(
        Policy(0, 8, 4, 8, 60.0, 0.0), schedule=(Entry("0 8 * * *", "UTC", 3600.0, 3),)
    )
    wanted, history, seen = 1, History(), []
    eight = 1.8e9 - 1.8e9 % 86_400 + 8 * 3600
    for second, wall in enumerate((eight - 7200, eight, eight - 7200, eight + 86_400 * 900 + 60)):
        time = 100.0 + second
        sample = Sample(wanted, wanted, _load((0, 0, 1, 0.1), time, second))
        found = decide(policy, history, sample, Moment(time, wall))
        wanted, history = found.replicas, found.history
        seen.append(wanted)
    assert seen == [1, 3, 1, 3]


def _load(shape: object, time: float, total: float) -> Load | None:
    if shape is None:
        return None
    assert isinstance(shape, tuple)
    held, waiting, running, share = shape
    return Load(
        time=time,
        frontends=(FrontendSample("front-0", held, held + waiting + running, total),),
        engines=(
            EngineSample(
                "engine-0", running, waiting, share, ttft=((0.5, 0.0), (math.inf, 10 * time))
            ),
        ),
    )
