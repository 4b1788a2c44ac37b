"""How fast the number may change: sequences by hand, and what no sequence may break."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.autoscale import Policy, Sample, decide, policy_of
from stoker.autoscale.rates import Behavior, Rate, Rates, bound
from stoker.model import reasons
from stoker.model.load import EngineSample, FrontendSample, Load
from stoker.model.moment import Moment
from stoker.model.plan import Verdict
from stoker.model.scale import History
from stoker.model.schedule import Entry
from tests.unit.plan import worlds

PODS_2_A_MINUTE = Rate(2, 60.0, percent=False)
HALF_A_MINUTE = Rate(50, 60.0, percent=True)
WANTED = Verdict(reasons.LOAD_GREW, "much came")


def allowed(rates: Rates, current: int, wanted: int, *changes: tuple[float, int]) -> int:
    """What is let through at second 100."""
    behavior = Behavior(up=rates, down=rates)
    history = History(changes=changes)
    return bound(behavior, history, current, (wanted, WANTED), 100.0)[0]


@pytest.mark.parametrize(
    ("rates", "current", "wanted", "found"),
    [
        (Rates(), 1, 50, 50),
        (Rates((PODS_2_A_MINUTE,)), 4, 9, 6),
        (Rates((HALF_A_MINUTE,)), 5, 9, 8),  # rounded up, as the HPA does
        (Rates((PODS_2_A_MINUTE, HALF_A_MINUTE)), 8, 20, 12),
        (Rates((PODS_2_A_MINUTE, HALF_A_MINUTE), least=True), 8, 20, 10),
        (Rates(disabled=True), 4, 9, 4),
        (Rates((PODS_2_A_MINUTE,)), 9, 3, 7),
        (Rates((HALF_A_MINUTE,)), 5, 0, 2),  # rounded down
        (Rates((PODS_2_A_MINUTE, HALF_A_MINUTE), least=True), 8, 0, 6),
        (Rates(disabled=True), 4, 0, 4),
        (Rates((PODS_2_A_MINUTE,)), 4, 5, 5),
    ],
)
def test_policies_by_hand(rates: Rates, current: int, wanted: int, found: int) -> None:
    assert allowed(rates, current, wanted) == found


def test_what_changed_within_the_period_counts() -> None:
    rates = Rates((PODS_2_A_MINUTE,))
    assert allowed(rates, 6, 20, (50.0, 2)) == 6
    assert allowed(rates, 6, 20, (40.0, 2)) == 8  # a minute ago
    assert allowed(rates, 6, 20, (50.0, 1), (60.0, -1)) == 8
    # More came than the policy would have let through, by a schedule; nothing goes for that.
    assert allowed(rates, 9, 20, (50.0, 5)) == 9


def test_a_service_at_zero_wakes() -> None:
    assert allowed(Rates((HALF_A_MINUTE,)), 0, 5) == 1
    assert allowed(Rates(disabled=True), 0, 5) == 0


def test_the_words_and_the_next_look() -> None:
    policy = Policy(1, 20, 1, 1, 600.0, 0.0, behavior=Behavior(up=Rates((PODS_2_A_MINUTE,))))
    history, wanted, seen = History(), 1, []
    for second in range(0, 90, 10):
        engines = tuple(EngineSample(f"e-{place}", 1, 0, 0.0) for place in range(wanted))
        load = Load(second, (FrontendSample("front-0", 30, 31, 0.0),), engines)
        found = decide(policy, history, Sample(wanted, wanted, load), Moment(second, second))
        history, wanted = found.history, found.replicas
        seen.append(wanted)
        if second == 10:
            assert found.verdict.reason == reasons.WITHIN_BEHAVIOR
            assert found.verdict.message.endswith("; behavior.scaleUp allows 3 now")
            assert found.wake_at is not None
            assert found.wake_at <= 60
    assert seen == [3] * 6 + [5] * 3


def test_bounds_and_schedule_go_before_any_rate() -> None:
    policy = Policy(1, 20, 4, 8, behavior=Behavior(Rates(disabled=True), Rates(disabled=True)))
    always = replace(policy, schedule=(Entry("* * * * *", "UTC", 60.0, 5, 7),))
    load = Load(0.0, (FrontendSample("front-0", 0, 0, 0.0),), ())
    assert decide(policy, History(), Sample(3, 3, load), Moment(0, 0)).replicas == 3
    assert decide(always, History(), Sample(3, 3, load), Moment(0, 0)).replicas == 5
    assert decide(always, History(), Sample(9, 9, load), Moment(0, 0)).replicas == 7


@given(
    st.integers(1, 5),
    st.sampled_from([20.0, 60.0]),
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from([1.0, 10.0, 25.0])), max_size=40),
)
def test_no_change_goes_beyond_what_the_period_began_with(
    value: int, period: float, steps: list[tuple[int, float]]
) -> None:
    rates = Rates((Rate(value, period, percent=False),))
    policy = Policy(1, 50, 1, 1, 600.0, 0.0, behavior=Behavior(rates, rates))
    history, wanted, time, past = History(), 5, 0.0, [(0.0, 5)]
    for held, pause in steps:
        time += pause
        load = Load(time, (FrontendSample("front-0", held, held, 0.0),), ())
        found = decide(policy, history, Sample(wanted, wanted, load), Moment(time, time))
        begun = [count for at, count in past if at <= time - period][-1:] or [5]
        if found.replicas > wanted:
            assert found.replicas <= begun[0] + value
        if found.replicas < wanted:
            assert found.replicas >= begun[0] - value
        history, wanted = found.history, found.replicas
        past.append((time, wanted))


def test_rules_come_from_the_spec() -> None:
    behavior = {
        "scaleUp": {"policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}]},
        "scaleDown": {"selectPolicy": "Disabled"},
    }
    spec = worlds.spec(scaling={"maxReplicas": 5, "behavior": behavior})
    policy = policy_of(spec, worlds.VLLM)
    assert policy is not None
    assert policy.behavior == Behavior(Rates((HALF_A_MINUTE,)), Rates(disabled=True))
