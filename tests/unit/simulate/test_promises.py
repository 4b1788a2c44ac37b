"""Targets for times and budgets in the simulator: by the operator's own rules."""

import math
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from stoker import autoscale
from stoker.autoscale.policy import LatencyTarget
from stoker.autoscale.rates import Behavior, Rate, Rates
from stoker.model import reasons
from stoker.model.budget import Budget
from stoker.model.scale import Term
from stoker.planner.batching import Arrival, Engine, Job
from stoker.simulate.policy import Bounds, Setting, Targets
from stoker.simulate.registry import policy_of
from stoker.simulate.result import Result
from stoker.simulate.run import simulate
from stoker.simulate.service import Linear, measured_service
from stoker.simulate.starts import Phase, Starts
from stoker.simulate.times import Times
from tests.unit.simulate.test_properties import SCRIPTS, STARTS, TRACES
from tests.unit.simulate.worlds import SERVICE, Script, requests, run, setting

# A step takes 45 ms, and 1 ms more for each sequence: six at once wait 51 ms for a token.
CROWDED = measured_service(Linear(0.045, 0.001, 0.0, 1e-6), 100_000, 16)
SOON = Starts(Phase(10), Phase(0), Phase(0), Phase(0), Phase(0))
# Of 100 tokens: 0.15 n = 45 + n, so that eight are in progress at once.
STEADY = requests(*[(number / 1.5, 10, 100) for number in range(3000)])


def crowded(policy: str, **further: object) -> Result:
    rules = autoscale.Policy(1, 8, 16, 16, None, None)
    world = Setting(
        CROWDED,
        SOON,
        Bounds(1, 8, 1),
        Targets(2.0, 10.0),
        STEADY,
        replace(rules, **further),  # type: ignore[arg-type]
    )
    return simulate(world, policy_of(policy, world))


def test_a_target_between_tokens_brings_replicas_that_keep_it() -> None:
    target = LatencyTarget(Term.ITL, 0.9, 0.05)
    without = crowded("stoker-queue")
    found = crowded("stoker-queue", latency=(target,))
    assert not without.changes
    assert without.itl.p50 > 0.05
    up, down = found.changes
    # Until the last request there are two.
    assert down.time >= STEADY[-1].at_s + 300
    assert "itl p90 within 50ms holds with at most" in up.reason
    assert up.after == 2
    assert found.itl.p50 < 0.05
    assert not found.notices


def test_a_target_that_no_number_keeps_is_given_up_and_said_once() -> None:
    # A lone request has a token each 46 ms.
    hopeless = LatencyTarget(Term.ITL, 0.9, 0.025)
    found = crowded("stoker-queue", latency=(hopeless,))
    assert len(found.notices) == 1
    assert found.notices[0].words.startswith("No number of replicas keeps itl p90 within 25ms: ")
    assert found.changes[-1].after == 1
    assert max(change.after for change in found.changes) == 2


def test_the_plan_says_at_once_that_a_target_is_out_of_reach() -> None:
    found = crowded("stoker", latency=(LatencyTarget(Term.ITL, 0.9, 0.01),))
    assert [each.words for each in found.notices] == [
        "No number of replicas keeps itl p90 within 10ms: by the plan a lone request takes 46ms."
    ]
    assert all("itl" not in change.reason for change in found.changes)


def test_histograms_are_those_of_the_requests() -> None:
    engine, times = Engine(SERVICE.steps, 1600, 4), Times()
    # The prompt takes 1.5 s, each of the other three tokens 1 s.
    engine.submit(Job(0, Arrival(0.0, 50, 4)), 2.0)
    while math.isfinite(engine.due):
        now = engine.due
        engine.advance()
        times.count(engine, now)
    assert [count for edge, count in times.ttft if edge in {1.0, 2.5, math.inf}] == [0, 1, 1]
    assert [count for edge, count in times.itl if edge in {0.75, 1.0, math.inf}] == [0, 3, 3]


def test_nobody_counts_times_that_nobody_reads() -> None:
    arrivals = requests((1.0, 50, 20))
    policy = Script({})
    run(policy, setting(arrivals))
    assert {each.ttft for _, sample in policy.seen for each in sample.snapshots[0].replicas} == {()}
    timed = replace(policy, pipeline=replace(policy.pipeline, timed=True), seen=[])
    run(timed, setting(arrivals))
    _, last = timed.seen[-1]
    assert last.latest is not None
    assert last.latest.replicas[0].ttft[-1] == (math.inf, 1.0)
    assert last.latest.replicas[0].itl[-1] == (math.inf, 19.0)


prices = st.sampled_from(["0.53", "4.00", "11.11"])
amounts = st.sampled_from(["0.50", "1", "12.50", "40.00"])


@given(
    TRACES,
    STARTS,
    st.sampled_from(["stoker", "stoker-queue", "static-peak", "oracle", "hpa", "knative:1", ""]),
    SCRIPTS,
    prices,
    amounts,
    st.integers(0, 3),
)
@settings(max_examples=80, deadline=None)
def test_no_policy_spends_more_than_the_budget(
    arrivals: tuple[Arrival, ...],
    starts: Starts,
    name: str,
    script: Script,
    price: str,
    amount: str,
    least: int,
) -> None:
    budget = Budget(Decimal(amount), Decimal(price))
    rules = autoscale.Policy(least, 9, 1, 4, budget=budget)
    world = replace(setting(arrivals, starts), bounds=Bounds(least, 9, max(1, least)), rules=rules)
    found = simulate(world, policy_of(name, world) if name else script)
    first = world.allowed.initial
    numbers = [first, *(change.after for change in found.changes)]
    assert all(number * Decimal(price) <= Decimal(amount) for number in numbers)


def test_the_budget_is_the_reason_that_is_told() -> None:
    arrivals = requests(*[(300.0 + number, 10, 150) for number in range(200)])
    world = setting(arrivals, maximum=9)
    rules = autoscale.Policy(0, 9, 1, 4, budget=Budget(Decimal(10), Decimal("4.10")))
    world = replace(world, rules=rules)
    found = simulate(world, policy_of("stoker", world))
    assert max(change.after for change in found.changes) == 2
    assert any(change.reason.startswith(reasons.WITHIN_BUDGET) for change in found.changes)
    assert any("allows 2 at $4.10 each" in change.reason for change in found.changes)
    free = simulate(replace(world, rules=None), policy_of("stoker", replace(world, rules=None)))
    assert max(change.after for change in free.changes) > 2


def test_rates_of_change_are_obeyed() -> None:
    arrivals = requests(*[(300.0 + number, 10, 150) for number in range(200)])
    slow = Behavior(up=Rates((Rate(1, 120.0, percent=False),)))
    world = replace(setting(arrivals, maximum=9), rules=autoscale.Policy(0, 9, 1, 4, behavior=slow))
    found = simulate(world, policy_of("stoker", world))
    raised = [change for change in found.changes if change.after > change.before]
    assert len(raised) > 1
    assert all(change.after == change.before + 1 for change in raised)
    times = [change.time for change in raised]
    assert min(later - earlier for earlier, later in pairwise(times)) >= 120
