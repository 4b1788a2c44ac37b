"""Means of a while, from counts and from what ran at each moment."""

from __future__ import annotations

import pytest

from stoker.model.timing import Seen, Timings

COUNTED = Timings(
    first_tokens=200,
    first_token_s=22.0,
    gaps=20_000,
    gap_s=400.0,
    requests=200,
    queue_s=2.0,
    prompt_tokens=40_000,
    computed_tokens=30_000,
    generated_tokens=20_200,
)


def test_means() -> None:
    seen = Seen("a").plus(COUNTED, 4, 100)
    assert seen.requests == 200
    assert seen.itl_s == pytest.approx(0.02)
    assert seen.queue_s == pytest.approx(0.01)
    assert seen.ttft_s == pytest.approx(0.1)  # 0.11 from arrival, 0.01 of it waiting
    assert (seen.prompt_tokens, seen.computed_tokens, seen.generated_tokens) == (200, 150, 101)
    assert seen.in_prefill == pytest.approx(0.22)


def test_a_token_meets_more_requests_than_a_clock_does() -> None:
    idle, busy = (0, 90), (8, 10)
    seen = Seen("a")
    for running, seconds in (idle, busy):
        seen = seen.plus(Timings(), running, seconds)
    assert seen.met == pytest.approx(0.8)
    assert seen.batch == pytest.approx(8)
    assert seen.looks == 2


def test_nothing_seen_is_zero_and_no_error() -> None:
    seen = Seen("a")
    assert (seen.itl_s, seen.ttft_s, seen.met, seen.batch, seen.prompt_tokens) == (0, 0, 0, 0, 0)


def test_a_count_that_goes_back_is_another_engine() -> None:
    assert COUNTED.since(Timings()) == COUNTED
    assert Timings().since(COUNTED) is None
    assert Timings(first_tokens=1).since(Timings(gaps=1)) is None
