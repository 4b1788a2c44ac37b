"""The keyed queue: which service is looked at next.

`Schedule` is the whole policy, a state machine without a clock or a task; `KeyedQueue` is the loop
around it. Four rules:

* a key is worked on by one task at a time; what arrives meanwhile makes it ready once more, once;
* a wake-up is kept only if it is earlier than the one already kept for that key;
* becoming ready drops the kept wake-up: the pass that follows decides when to look again;
* failures of one key delay that key alone, longer each time, with jitter, up to a limit.
"""

import asyncio
import heapq
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from stoker.clock import Clock

_log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

BACKOFF_FIRST_S: Final = 0.25
BACKOFF_LIMIT_S: Final = 30.0


class Schedule(Generic[K]):
    """Ready keys, busy keys and wake-up times."""

    def __init__(self) -> None:
        self._ready: deque[K] = deque()
        self._waiting: set[K] = set()  # members of _ready
        self._busy: set[K] = set()
        self._again: set[K] = set()  # busy, and something happened meanwhile
        self._wake_at: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._entries = 0
        self._since: dict[K, float] = {}  # when there was something to do that is not begun yet

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: K, now: float = 0.0) -> None:
        """Something happened to this key."""
        self._wake_at.pop(key, None)
        self._since.setdefault(key, now)
        if key in self._busy:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.append(key)

    def add_at(self, key: K, when: float) -> None:
        """Look at this key at that time, unless it is looked at earlier anyway."""
        if key in self._waiting or key in self._again:
            return
        if when < self._wake_at.get(key, float("inf")):
            self._wake_at[key] = when
            self._entries += 1
            heapq.heappush(self._heap, (when, self._entries, key))

    def pop(self, now: float) -> K | None:
        """The next key to work on, now busy; None when there is none."""
        while self._heap and self._heap[0][0] <= now:
            when, _, key = heapq.heappop(self._heap)
            if self._wake_at.get(key) == when:
                self.add(key, when)
        if not self._ready:
            return None
        key = self._ready.popleft()
        self._waiting.discard(key)
        self._busy.add(key)
        return key

    def done(self, key: K) -> None:
        """The work on this key ended."""
        self._busy.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def waited(self, key: K, now: float) -> float:
        """Seconds since there was something to do for this key, whose work begins now."""
        return max(0.0, now - self._since.pop(key, now))

    def next_wake(self) -> float | None:
        """When the earliest wake-up is due."""
        while self._heap and self._wake_at.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def forget(self, key: K) -> None:
        """Drop the wake-up of a key that is gone."""
        self._wake_at.pop(key, None)


class Backoff(Generic[K]):
    """How long each failing key waits."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._failures: dict[K, int] = {}
        self._jitter = jitter

    def failed(self, key: K) -> float:
        """Count a failure; seconds to wait, between half and all of the doubled delay."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        delay = min(BACKOFF_LIMIT_S, BACKOFF_FIRST_S * 2.0 ** min(count, 16))
        return delay * (0.5 + self._jitter() / 2)

    def succeeded(self, key: K) -> None:
        """Start over."""
        self._failures.pop(key, None)


# Works on a key; answers when to look again (clock time), or None.
Worker = Callable[[K], Awaitable[float | None]]


class KeyedQueue(Generic[K]):
    """Runs a worker over ready keys, a bounded number at once."""

    def __init__(
        self,
        clock: Clock,
        concurrency: int,
        waited: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._concurrency = concurrency
        self._waited = waited  # is told how long each key has waited for its turn
        self._schedule: Schedule[K] = Schedule()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.beat = clock.monotonic()  # when the loop last turned, for the health probe

    def __len__(self) -> int:
        return len(self._schedule)

    def add(self, key: K) -> None:
        """Something happened to this key."""
        self._schedule.add(key, self._clock.monotonic())
        self._changed.set()

    def forget(self, key: K) -> None:
        """Drop the wake-up of a key that is gone."""
        self._schedule.forget(key)

    async def run(self, worker: Worker[K]) -> None:
        """Work until cancelled; then let the passes under way end or be cancelled with it."""
        try:
            while True:
                self.beat = self._clock.monotonic()
                self._changed.clear()
                while len(self._tasks) < self._concurrency:
                    now = self._clock.monotonic()
                    key = self._schedule.pop(now)
                    if key is None:
                        break
                    self._waited(self._schedule.waited(key, now))
                    task = asyncio.create_task(self._work(worker, key), name=f"pass {key}")
                    self._tasks.add(task)
                    task.add_done_callback(self._ended)
                await self._sleep()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self, worker: Worker[K], key: K) -> None:
        wake_at: float | None = None
        try:
            wake_at = await worker(key)
        finally:
            self._schedule.done(key)
            if wake_at is not None:
                self._schedule.add_at(key, wake_at)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()
        if not task.cancelled() and task.exception() is not None:
            _log.error("a worker let an error through", exc_info=task.exception())

    async def _sleep(self) -> None:
        """Until something changes or the earliest wake-up is due; a full house waits for an end."""
        due = self._schedule.next_wake() if len(self._tasks) < self._concurrency else None
        delay = 1.0 if due is None else min(1.0, max(0.0, due - self._clock.monotonic()))
        try:
            async with asyncio.timeout(delay):
                await self._changed.wait()
        except TimeoutError:
            return
