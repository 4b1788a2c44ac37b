"""Dollars over time: to the second, whatever clocks, samples and restarts do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.catalog.capacity import Capacity
from stoker.cost.ledger import KEPT_S, Ledger, advance, hold
from stoker.cost.prices import Charge, Share, charges_of
from stoker.model.moment import Moment
from tests.unit.cost.worlds import PLATFORM, PRICE, at, load, look, pod

if TYPE_CHECKING:
    from stoker.model.load import Load
    from stoker.model.observed import ObservedPod

CENT = PRICE / 3600  # of a second


def step(
    ledger: Ledger,
    seconds: float,
    *pods: ObservedPod,
    counted: Load | None = None,
    jump: float = 0.0,
    wanted: int | None = None,
) -> Ledger:
    charges = charges_of(look(*pods, counted=counted), PLATFORM)
    return advance(ledger, charges, at(seconds, jump), wanted)


def seconds_of(ledger: Ledger, revision: str = "aaaa") -> dict[str, float]:
    """Seconds of one L4 by share."""
    return {
        share.value: dollars / CENT
        for (name, share), dollars in ledger.dollars.items()
        if name == revision and dollars
    }


def test_a_life_by_hand() -> None:
    ledger = step(Ledger(), 0)
    ledger = step(ledger, 50, pod(placed=None))  # it waits for a node: nothing
    ledger = step(ledger, 100, pod(placed=70))  # looked at 30 s after it got one
    ledger = step(ledger, 160, pod(placed=70, ready=150), counted=load(158, chat_0=1))
    ledger = step(ledger, 200, pod(placed=70, ready=150), counted=load(200, chat_0=0))
    ledger = step(ledger, 260, pod(placed=70, ready=150, deleting=True))
    ledger = step(ledger, 300)
    # 70 to 150 starting, 150 to 200 serving, 200 to 260 idle, 260 to 300 ending.
    by_hand = {"starting": 80, "serving": 50, "idle": 60, "ending": 40}
    assert seconds_of(ledger) == pytest.approx(by_hand)
    assert ledger.total() == pytest.approx(230 * CENT)
    assert step(ledger, 400).total() == pytest.approx(230 * CENT)


def test_a_restart_of_the_operator_invents_nothing() -> None:
    ready = pod(placed=0, ready=10)
    before = step(step(Ledger(), 0, ready), 100, ready, counted=load(100, chat_0=1))
    # Another process began at 150; whatever was before is not its own.
    after = step(Ledger(), 150, ready, counted=load(150, chat_0=1))
    assert after.total() == 0
    after = step(after, 200, ready, counted=load(200, chat_0=1))
    assert seconds_of(after) == pytest.approx({"serving": 50})
    assert before.total() + after.total() == pytest.approx(150 * CENT)


def test_missing_samples_are_neither_idle_nor_serving() -> None:
    ready = pod(ready=0)
    ledger = step(Ledger(), 0, ready, counted=load(0, chat_0=3))
    ledger = step(ledger, 60, ready)  # silent, but what was said holds for 90 s
    assert seconds_of(ledger) == pytest.approx({"serving": 60})
    ledger = step(ledger, 200, ready)
    assert seconds_of(ledger) == pytest.approx({"serving": 90, "unknown": 110})
    ledger = step(ledger, 210, ready, counted=load(210, chat_0=0))
    ledger = step(ledger, 220, ready, counted=load(220, chat_0=0))
    assert seconds_of(ledger) == pytest.approx({"serving": 90, "unknown": 120, "idle": 10})


def test_somebody_who_scrapes_between_two_looks_counts_nothing_twice() -> None:
    ready = pod(ready=0)
    one = step(Ledger(), 0, ready, counted=load(0, chat_0=1))
    read = one
    for seconds in range(0, 100, 7):
        read = hold(one, at(seconds))
        assert seconds_of(read).get("serving", 0) == pytest.approx(min(seconds, 90))
    told = step(one, 100, ready)
    assert told.total() == pytest.approx(100 * CENT)
    assert read.total() <= told.total()
    assert hold(Ledger(), at(5)) == Ledger()


@pytest.mark.parametrize("jump", [-86_400.0, -5.0, 5.0, 86_400.0, math.nan])
def test_a_jump_of_the_unix_clock_moves_no_dollar(jump: float) -> None:
    ledger = step(Ledger(), 0)
    ledger = step(ledger, 100, pod(placed=70), jump=jump)
    ledger = step(ledger, 200, pod(placed=70, ready=150), jump=jump)
    ledger = step(ledger, 300)
    shares = seconds_of(ledger)
    assert all(each >= 0 for each in shares.values())
    # Only when it got its node is less certain: between 200 s and 300 s were billed.
    assert 200 - 1e-6 <= sum(shares.values()) <= 300 + 1e-6


@pytest.mark.parametrize("now", [math.nan, at(50).monotonic, -1.0])
def test_a_clock_that_cannot_be_bills_nothing(now: float) -> None:
    ready = pod(ready=0)
    ledger = step(Ledger(), 100, ready, counted=load(100, chat_0=1))
    charges = charges_of(look(ready), PLATFORM)
    odd = advance(ledger, charges, Moment(now, math.nan))
    assert odd.total() == 0
    assert step(odd, 110, ready).total() == pytest.approx(10 * CENT)


def test_a_revision_that_is_gone_is_told_of_for_an_hour() -> None:
    ledger = step(Ledger(), 0, pod())
    ledger = step(ledger, 10)
    assert step(ledger, KEPT_S).total() == pytest.approx(10 * CENT)
    assert step(ledger, KEPT_S + 11) == Ledger(
        at=at(KEPT_S + 11).monotonic, peaks={int(at(0).monotonic // 3600): PRICE}
    )


def test_accelerators_without_a_price_are_counted_apart() -> None:
    odd = pod(asks=(("example.com/tpu", 4),), revision="bbbb")
    ledger = step(Ledger(), 0, pod("chat-1"), odd)
    ledger = step(ledger, 60, pod("chat-1"), odd)
    assert ledger.unpriced == {"bbbb": 60.0}
    assert ledger.total() == pytest.approx(60 * CENT)
    # A peak that is not known in full is none; that of the first look was neither.
    assert ledger.peak == 0


def test_the_peak_is_the_dearest_moment_of_a_day_without_a_rollouts_surplus() -> None:
    three = [pod(f"chat-{number}") for number in range(3)]
    ledger = step(Ledger(), 0, *three, wanted=2)
    assert ledger.peak == pytest.approx(2 * PRICE)
    ledger = step(ledger, 3600, *three, wanted=3)
    assert ledger.peak == pytest.approx(3 * PRICE)
    ledger = step(ledger, 3600 * 20, three[0], wanted=1)
    assert ledger.peak == pytest.approx(3 * PRICE)
    ledger = step(ledger, 3600 * 26, three[0], wanted=1)
    assert ledger.peak == pytest.approx(PRICE)


LIVES = st.lists(
    st.tuples(
        st.floats(0, 500),  # placed
        st.one_of(st.none(), st.floats(0, 300)),  # seconds from there to ready
        st.floats(1, 500),  # seconds until it is gone
    ),
    max_size=5,
)


@given(lives=LIVES, times=st.lists(st.floats(0, 1500), max_size=30), busy=st.booleans())
def test_shares_add_up_whenever_somebody_looks(
    lives: list[tuple[float, float | None, float]], times: list[float], *, busy: bool
) -> None:
    """Looks at any moments; the whole differs by what no look can know: when a pod went."""
    ledger = step(Ledger(), 0)
    moments = sorted({*times, *(placed + stays for placed, _, stays in lives), 2000.0})
    for now in moments:
        present = [
            pod(
                f"chat-{number}",
                placed=placed,
                ready=None if warm is None or now < placed + warm else placed + warm,
            )
            for number, (placed, warm, stays) in enumerate(lives)
            if placed <= now < placed + stays
        ]
        counted = load(now, **{each.name.replace("-", "_"): int(busy) for each in present})
        before = ledger.total()
        ledger = step(ledger, now, *present, counted=counted)
        assert ledger.total() >= before
    assert all(dollars >= -1e-12 for dollars in ledger.dollars.values())
    # Nobody looked at those that came and went between two looks.
    seen = [
        stays
        for placed, _, stays in lives
        if any(placed <= now < placed + stays for now in moments)
    ]
    assert ledger.total() == pytest.approx(sum(seen) * CENT, rel=1e-6, abs=1e-9)


def test_a_charge_says_what_it_is() -> None:
    (found,) = charges_of(look(pod(ready=4), counted=load(9, chat_0=1)), PLATFORM)
    assert found == Charge(
        pod="uid-chat-0",
        revision="aaaa",
        capacity=Capacity.ON_DEMAND,
        accelerators=1,
        per_hour=PRICE,
        share=Share.SERVING,
        placed_at=at(0).unix,
        ready_at=at(4).unix,
        seen_until=at(99).monotonic,
    )
