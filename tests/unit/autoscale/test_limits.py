"""What bounds a decision at a moment, who says so, and when that changes."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from stoker.autoscale import Policy, Sample, decide, decide_service
from stoker.autoscale.limits import limits_of
from stoker.model import reasons
from stoker.model.budget import Budget, price_in
from stoker.model.load import EngineSample, FrontendSample, Load
from stoker.model.moment import Moment
from stoker.model.scale import History, ScaleDecision
from stoker.model.schedule import Entry
from tests.unit.plan import worlds

EIGHT = datetime(2026, 3, 2, 8, tzinfo=UTC).timestamp()  # a Monday
OFFICE = Entry("0 8 * * 1-5", "UTC", 36_000.0, 2, 5)
POLICY = Policy(0, 8, 4, 8, 600.0, 300.0, lead_s=180.0)
SCHEDULED = replace(POLICY, schedule=(OFFICE,))


def decided(
    policy: Policy, wanted: int, unix: float, held: int = 0, history: History | None = None
) -> ScaleDecision:
    load = Load(50.0, (FrontendSample("front-0", held, held, 0.0),), ())
    sample = Sample(wanted, wanted, load)
    return decide(policy, history or History(), sample, Moment(50.0, unix))


@pytest.mark.parametrize(
    ("since_eight", "replicas", "words"),
    [
        (-181, 0, None),
        (-180, 2, "the schedule that begins 08:00 UTC asks for 2"),
        (0, 2, "the schedule that began 08:00 UTC asks for 2"),
        (35_999, 2, "the schedule that began 08:00 UTC asks for 2"),
        (36_000, 0, None),
    ],
)
def test_replicas_of_a_window_are_asked_for_one_start_earlier(
    since_eight: float, replicas: int, words: str | None
) -> None:
    found = decided(SCHEDULED, 0, EIGHT + since_eight)
    assert found.replicas == replicas
    if words is not None:
        assert found.verdict.reason == reasons.WITHIN_SCHEDULE
        assert words in found.verdict.message
        assert found.activity is not None
        assert f"The {words[4:]}." in found.activity.message


def test_a_window_allows_fewer() -> None:
    found = decided(SCHEDULED, 2, EIGHT, held=100)
    assert found.replicas == 5
    assert found.verdict.message.endswith("the schedule that began 08:00 UTC allows 5")
    assert decided(SCHEDULED, 2, EIGHT - 1, held=100).replicas == 8


def test_the_decision_wakes_when_a_window_changes() -> None:
    assert decided(SCHEDULED, 0, EIGHT - 300).wake_at == 50 + 120
    assert decided(SCHEDULED, 0, EIGHT - 100).wake_at == 50 + 100
    # A clock that is set is noticed within ten minutes.
    assert decided(SCHEDULED, 0, EIGHT - 50_000).wake_at == 50 + 600
    assert decided(POLICY, 0, EIGHT).wake_at is None


def test_a_window_holds_without_metrics() -> None:
    found = decide(SCHEDULED, History(), Sample(0, 0, None), Moment(50.0, EIGHT))
    assert (found.replicas, found.active) == (2, False)
    assert found.wake_at == 50 + 600


@pytest.mark.parametrize(
    ("per_hour", "price", "wanted", "most", "words"),
    [
        ("12.50", "4.00", 1, 3, "the budget of $12.50 an hour allows 3 at $4.00 each"),
        ("12.00", "4.00", 1, 3, "allows 3"),
        ("11.99", "4.00", 5, 2, "allows 2"),
        ("0.30", "0.10", 1, 3, "allows 3"),  # no rounding of binary fractions
        ("12.50", "12.51", 2, 2, "is less than one replica costs, so no more come"),
        ("12.50", None, 2, 2, "while nobody knows what each of them costs"),
        ("12.50", "0.00", 2, 8, "maxReplicas makes it 8"),
    ],
)
def test_the_budget_bounds(
    per_hour: str, price: str | None, wanted: int, most: int, words: str
) -> None:
    budget = Budget(Decimal(per_hour), None if price is None else Decimal(price))
    found = decided(replace(POLICY, budget=budget), wanted, EIGHT, held=100)
    assert found.replicas == most
    assert words in found.verdict.message


def test_money_wins_over_what_is_always_wanted() -> None:
    policy = replace(POLICY, min_replicas=4, budget=Budget(Decimal(10), Decimal(4)))
    found = decided(policy, 4, EIGHT)
    assert (found.replicas, found.verdict.reason) == (2, reasons.WITHIN_BUDGET)
    limits = limits_of(policy, 4, Moment(0, EIGHT))
    assert (limits.floor.replicas, limits.ceiling.replicas) == (2, 2)


def test_a_price_is_read_from_the_plan() -> None:
    assert price_in({"expected": {"pricePerHour": "1.25"}}) == Decimal("1.25")
    odds: list[object] = [None, "x", {}, {"expected": {"pricePerHour": "soon"}}, {"expected": {}}]
    for odd in odds:
        assert price_in(odd) is None


def _world(price: str, revision: str) -> worlds.World:
    world = worlds.World(worlds.spec(scaling={"maxReplicas": 8, "budget": {"maxPerHour": "12.00"}}))
    world.status = {
        "desiredReplicas": 2,
        "revision": revision,
        "plan": {"expected": {"pricePerHour": price}},
    }
    return world


def test_while_revisions_change_the_dearest_counts() -> None:
    load = Load(50.0, (FrontendSample("front-0", 2000, 2000, 0.0),), ())
    now = Moment(50.0, EIGHT)
    world = _world("6.00", "old")
    world.pods = {"old-0": worlds.pod("old-0", revision="old", ready=True)}
    first = decide_service(world.observe(), load, History(), worlds.PLATFORM, now)
    assert first.replicas == 2
    world.status = {**_world("2.00", "new").status}
    # The new plan is cheap; while the dear one runs, its price counts.
    second = decide_service(world.observe(), load, first.history, worlds.PLATFORM, now)
    assert second.replicas == 2
    # An operator that has just started does not know the old price, so no more come.
    third = decide_service(world.observe(), load, History(), worlds.PLATFORM, now)
    assert third.replicas == 2
    assert "nobody knows" in third.verdict.message
    world.pods = {"new-0": worlds.pod("new-0", revision="new", ready=True)}
    last = decide_service(world.observe(), load, second.history, worlds.PLATFORM, now)
    assert last.replicas == 6
    assert set(last.history.prices) == {"new"}


def test_each_target_is_one_more_need() -> None:
    policy = replace(POLICY, concurrency_target=10, kv_target=0.5)
    front = FrontendSample("front-0", 0, 20, 0.0)

    def seen(running: int, share: float | None) -> ScaleDecision:
        engines = (EngineSample("a", running, 0, share), EngineSample("b", 0, 0, 0.0))
        load = Load(50.0, (front,), engines)
        return decide(policy, History(), Sample(2, 2, load), Moment(50.0, EIGHT))

    many = seen(31, 0.1)
    assert many.replicas == 4
    assert many.verdict.message == "31 requests are in progress, at 10 per replica: 4 replicas"
    full = seen(2, 1.0)
    assert full.replicas == 2
    fuller = decide(
        policy,
        History(),
        Sample(
            2,
            2,
            Load(50.0, (front,), (EngineSample("a", 2, 0, 1.0), EngineSample("b", 2, 0, 0.6))),
        ),
        Moment(50.0, EIGHT),
    )
    assert fuller.replicas == 4
    assert "160% of one replica's KV cache are in use, at 50% per replica" in fuller.verdict.message
    silent = seen(2, None)
    assert (silent.active, silent.replicas) == (False, 2)
    assert "pod a does not report its KV cache usage" in silent.verdict.message
    assert silent.activity is not None
    assert silent.activity.reason == reasons.METRIC_MISSING
    assert many.activity is not None
    assert "10 requests in progress per replica, 50% of its KV cache" in many.activity.message
