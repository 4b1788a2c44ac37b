"""How fast, and when again: one bucket of bytes, one gate, and one patience for all connections.

A source that says "too many requests" says it to the whole job. So its answer closes one gate for
all connections; a hundred polite clients that each wait for themselves are still a hundred.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch import words
from stoker_worker.fetch.errors import FetchError

# Seconds; doubled with each failure in a row, up to a minute.
_FIRST = 0.5
_LONGEST = 60.0
# What a source gets that limits without saying for how long.
_LIMITED_FIRST = 5.0
# Over so many seconds at most jobs spread that were told the same moment.
_SPREAD = 5.0


def backoff(failures: int, first: float = _FIRST) -> float:
    """Seconds to wait after so many failures in a row, before chance."""
    return min(_LONGEST, first * 2.0 ** min(failures - 1, 16))


class Bucket:
    """Bytes per second, shared by all connections. Zero is no limit."""

    def __init__(
        self,
        rate: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._due = clock()  # when everything that was taken so far has been paid for

    def take(self, count: int) -> None:
        """Wait until so many bytes are paid for."""
        if not self._rate:
            return
        with self._lock:
            now = self._clock()
            self._due = max(self._due, now) + count / self._rate
            wait = self._due - now
        if wait > 0:
            self._sleep(wait)


class Patience:
    """Decides how long to wait after a failure, and when to give up.

    Nothing is counted per connection: as long as one of them gets bytes, the source is there.
    """

    def __init__(
        self,
        patience_s: float,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._patience = patience_s
        self._clock = clock
        self._chance = chance
        self._lock = threading.Lock()
        self._failures = 0
        self._last_good = clock()
        self._closed_until = 0.0
        self._counted_until = 0.0  # a failure before it is the same failure, of another connection
        self._closed_why: FetchError | None = None
        self._last: FetchError | None = None  # the last failure, until bytes come

    def good(self) -> None:
        """Bytes came."""
        if self._last is None and not self._failures:  # the usual case needs no lock
            self._last_good = self._clock()
            return
        with self._lock:
            self._failures = 0
            self._counted_until = 0.0
            self._last_good = self._clock()
            self._last = None

    def closed_until(self) -> float:
        """Unix seconds before which nobody asks the source for anything."""
        return self._closed_until

    def why(self) -> FetchError | None:
        """Return what is waited for: what closed the gate, or else what failed last."""
        closed = self._clock() < self._closed_until
        return self._closed_why if closed else self._last

    def after(self, error: FetchError) -> float:
        """Return when this connection may try again, in Unix seconds; raises where none may."""
        if not error.passes:
            raise error
        with self._lock:
            now = self._clock()
            limited = error.reason == FetchReason.RATE_LIMITED
            if now >= self._counted_until:
                self._failures += 1
            wait = backoff(self._failures, _LIMITED_FIRST if limited else _FIRST)
            until = now + wait * (0.5 + 0.5 * self._chance())
            if error.retry_at is not None:
                # Never earlier than told, and not all jobs of a cluster at that very moment. Who is
                # told to wait for a second does not wait for six, unless it was told before.
                told = max(error.retry_at - now, _FIRST)
                spread = min(backoff(self._failures, told), _SPREAD)
                until = max(now, error.retry_at) + spread * self._chance()
            if until > self._last_good + self._patience:
                raise _tired(error, now - self._last_good, until)
            if (limited or error.retry_at is not None) and until > self._closed_until:
                self._closed_until, self._closed_why = until, error
            self._counted_until = max(self._counted_until, until)
            self._last = error
            return until


def _tired(error: FetchError, waited: float, until: float) -> FetchError:
    told = f"; it wants no question before {words.moment(until)}" if error.retry_at else ""
    return FetchError(
        error.reason,
        f"{error.message} (nothing came for {words.span(waited)}{told})",
        passes=True,
        retry_at=error.retry_at,
    )
