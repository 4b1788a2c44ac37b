"""What is learned from a service's own past, on demands whose future is known."""

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.autoscale.forecast import (
    RECENT_S,
    STRIDE_S,
    forecast,
    forget_continuity,
    kind_of,
    observe,
)
from stoker.model.learned import Forecast, Learned

LEAD_S = 60.0


def watched(demand: Callable[[float], float], until: float, lead_s: float = LEAD_S) -> Learned:
    """What is learned from looking at a demand every five seconds."""
    learned, time = Learned(), 0.0
    while time <= until:
        learned = observe(learned, demand(time), lead_s, time)
        time += STRIDE_S
    return learned


def burst(time: float) -> float:
    """Four replicas for one minute of every ten, and nothing else."""
    return 4.0 if time % 600 < 60 else 0.0


def asked(demand: Callable[[float], float], until: float, quantile: float) -> Forecast:
    return forecast(watched(demand, until), quantile, LEAD_S, until)


def test_nothing_seen_is_nothing_needed() -> None:
    assert forecast(Learned(), 0.9, LEAD_S, 0.0) == Forecast(0.0, 0, "nothing was seen yet")


def test_before_something_is_known_the_peak_of_a_starts_time_stays() -> None:
    found = asked(lambda time: 3.0 if time < 30 else 1.0, 85.0, 0.5)
    assert (found.demand, found.seen) == (3.0, 0)
    assert "the peak of the last 1m counts" in found.words
    # Longer than a new replica takes to come, nothing is kept for what nobody knows.
    later = asked(lambda time: 3.0 if time < 30 else 1.0, 100.0, 0.5)
    assert (later.demand, later.seen) == (1.0, 0)


def test_of_steady_demand_no_more_is_expected() -> None:
    found = asked(lambda _: 2.5, 3600.0, 0.99)
    # The upper edge of a bin that is a twelfth of a doubling wide.
    assert 2.5 <= found.demand <= 2.5 * 2 ** (1 / 12)
    assert found.words.startswith(f"in 99% of {found.seen} such moments no more than 2.")
    assert found.words.endswith("was needed within 1m")


@pytest.mark.parametrize(
    ("minute_of_ten", "expected"),
    [
        (3.0, 0.0),  # quiet for two minutes: the next burst has always been far away
        (9.5, 4.0),  # quiet for more than eight: half of such moments are followed by one
    ],
)
def test_silence_says_when_the_next_burst_comes(minute_of_ten: float, expected: float) -> None:
    until = 50 * 600.0 + minute_of_ten * 60
    found = asked(burst, until, 0.9)
    assert found.seen > 0
    assert expected <= found.demand <= expected * 2 ** (1 / 12)


def test_the_quantile_weighs_being_wrong() -> None:
    """In the last two minutes of silence, about half of the moments are followed by a burst."""
    until = 50 * 600.0 + 9.0 * 60
    learned = watched(burst, until)
    low, high = (forecast(learned, quantile, LEAD_S, until).demand for quantile in (0.2, 0.95))
    assert low == 0.0
    assert high >= 4.0


def test_what_followed_is_counted_once_and_only_when_it_is_over() -> None:
    learned = watched(lambda _: 1.0, 20 * STRIDE_S)
    counted = sum(count for histogram in learned.counts.values() for _, count in histogram)
    # 21 moments, of which those older than a lead time (12 strides) are over.
    assert counted == pytest.approx(21 - 12, abs=0.05)


def test_looks_between_two_strides_change_nothing() -> None:
    learned = watched(lambda _: 1.0, 100.0)
    assert observe(learned, 50.0, LEAD_S, 102.0) is learned


def test_old_traffic_fades() -> None:
    def changed(time: float) -> float:
        return 8.0 if time < 3600 and time % 120 < 60 else 1.0

    before = forecast(watched(changed, 3590.0), 0.9, LEAD_S, 3590.0).demand
    later = 3600.0 + 8 * 2000 * STRIDE_S
    after = forecast(watched(changed, later), 0.9, LEAD_S, later).demand
    assert before >= 8.0
    assert after < 1.2


def test_a_gap_keeps_what_was_learned_and_nothing_that_was_going_on() -> None:
    learned = watched(burst, 6000.0)
    after = forget_continuity(learned)
    assert after.counts == learned.counts
    assert after.moments == ()
    # The moments before the gap are never judged by what came after it.
    later = observe(after, 9.0, LEAD_S, 7000.0)
    assert later.counts == learned.counts


def test_memory_is_bounded() -> None:
    learned = watched(lambda time: time % 977 / 100, 40_000.0)
    assert len(learned.moments) <= RECENT_S / STRIDE_S + 2
    assert len(learned.counts) < 100


def test_kinds_are_levels_and_silences() -> None:
    assert kind_of(0.0, 5.0, 0.0) == kind_of(0.0, 1.0, 0.0)
    assert kind_of(0.0, 5.0, 30.0) != kind_of(0.0, 5.0, 300.0)
    assert kind_of(1.0, 1.0, 0.0) != kind_of(1.0, 8.0, 0.0)
    assert kind_of(0.001, 1.0, 0.0) != kind_of(0.0, 1.0, 0.0)


@given(st.integers(0, 2**32), st.floats(0.05, 0.95))
def test_more_load_never_expects_less(seed: int, quantile: float) -> None:
    chance = Random(seed)  # noqa: S311
    learned, time = Learned(), 0.0
    for _ in range(chance.randint(60, 120)):
        learned = observe(learned, chance.choice([0.0, 0.0, 0.01, 0.4, 1.0, 5.0]), 10.0, time)
        time += STRIDE_S
    demand, more = chance.choice([0.0, 0.01, 0.3, 1.0, 4.0]), chance.choice([0.1, 2.0, 9.0])
    quieter = forecast(observe(learned, demand, 10.0, time), quantile, 10.0, time)
    busier = forecast(observe(learned, demand + more, 10.0, time), quantile, 10.0, time)
    assert busier.demand >= quieter.demand
