"""Waiting is shared by all connections and ends."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.errors import FetchError
from stoker_worker.fetch.pace import Bucket, Patience, backoff


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def _unreachable(**more: float) -> FetchError:
    return FetchError(FetchReason.SOURCE_UNREACHABLE, "no route", passes=True, **more)


def _limited(retry_at: float | None = None) -> FetchError:
    return FetchError(FetchReason.RATE_LIMITED, "slowly", passes=True, retry_at=retry_at)


def test_a_bucket_gives_its_rate_and_saves_nothing_up() -> None:
    clock = Clock()
    bucket = Bucket(100, clock, clock.sleep)
    for _ in range(10):
        bucket.take(50)
    assert clock.now == pytest.approx(1005)
    clock.now += 1000  # an idle hour pays for nothing
    bucket.take(100)
    bucket.take(100)
    assert clock.now == pytest.approx(2007)


def test_no_rate_is_no_limit() -> None:
    clock = Clock()
    Bucket(0, clock, clock.sleep).take(1 << 40)
    assert clock.now == 1000


def test_waiting_doubles_up_to_a_minute() -> None:
    assert [backoff(n) for n in (1, 2, 3, 9, 10_000)] == [0.5, 1, 2, 60, 60]


def test_failures_of_all_connections_at_once_are_one() -> None:
    clock = Clock()
    patience = Patience(3600, clock, lambda: 1.0)
    assert {patience.after(_unreachable()) for _ in range(8)} == {1000.5}
    clock.now = 1000.5
    assert patience.after(_unreachable()) == 1001.5
    patience.good()
    assert patience.after(_unreachable()) == 1001.0


def test_chance_spreads_but_never_hurries_a_server() -> None:
    clock = Clock()
    for chance in (0.0, 0.5, 1.0):
        patience = Patience(3600, clock, lambda chance=chance: chance)  # type: ignore[misc]
        assert 1000.25 <= patience.after(_unreachable()) <= 1000.5
        assert patience.closed_until() == 0, "others may try"
        assert patience.after(_limited(1060.0)) >= 1060
        assert patience.closed_until() >= 1060, "nobody may"


def test_jobs_spread_over_as_long_as_they_were_told_to_wait_and_five_seconds_at_most() -> None:
    latest = {
        seconds: Patience(3600, Clock(), lambda: 1.0).after(_limited(1000.0 + seconds)) - 1000
        for seconds in (-9, 0, 1, 2, 5, 300)
    }
    assert latest == {-9: 0.5, 0: 0.5, 1: 2, 2: 4, 5: 10, 300: 305}


def test_jobs_that_are_told_again_spread_over_more() -> None:
    clock = Clock()
    patience = Patience(3600, clock, lambda: 1.0)
    waits = []
    for _ in range(4):
        until = patience.after(_limited(clock.now + 1))
        waits.append(until - clock.now)
        clock.now = until
    assert waits == [2, 3, 5, 6]


def test_a_limit_without_a_time_closes_the_gate_for_longer_each_time() -> None:
    clock = Clock()
    patience = Patience(3600, clock, lambda: 1.0)
    waits = []
    for _ in range(4):
        until = patience.after(_limited())
        assert patience.closed_until() == until
        waits.append(until - clock.now)
        clock.now = until
    assert waits == [5, 10, 20, 40]


def _fail_for_ever(patience: Patience, clock: Clock) -> None:
    for _ in range(1000):
        clock.now = patience.after(_unreachable())


def test_patience_ends_with_the_last_reason() -> None:
    clock = Clock()
    patience = Patience(100, clock, lambda: 1.0)
    with pytest.raises(FetchError, match="no route") as given_up:
        _fail_for_ever(patience, clock)
    assert clock.now <= 1100
    assert given_up.value.passes
    assert given_up.value.reason == FetchReason.SOURCE_UNREACHABLE


def test_a_limit_beyond_all_patience_is_not_waited_for() -> None:
    patience = Patience(100, Clock(), lambda: 0.0)
    with pytest.raises(FetchError, match="1970-01-01T02:16:40Z") as given_up:
        patience.after(_limited(8200.0))
    assert given_up.value.passes
    assert given_up.value.retry_at == 8200.0


def test_what_stands_is_raised_at_once() -> None:
    error = FetchError(FetchReason.UNAUTHORIZED, "no token")
    with pytest.raises(FetchError) as raised:
        Patience(100, Clock()).after(error)
    assert raised.value is error
