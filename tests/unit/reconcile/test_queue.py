"""The keyed queue's policy, with times as arguments."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import given
from hypothesis import strategies as st

from stoker.reconcile.queue import BACKOFF_FIRST_S, BACKOFF_LIMIT_S, Backoff, KeyedQueue, Schedule


def test_the_same_key_twice_is_one_pass() -> None:
    schedule = Schedule[str]()
    schedule.add("a")
    schedule.add("a")
    assert schedule.pop(0) == "a"
    assert schedule.pop(0) is None


def test_a_busy_key_is_not_given_out_again_but_remembered_once() -> None:
    schedule = Schedule[str]()
    schedule.add("a")
    assert schedule.pop(0) == "a"
    schedule.add("a")
    schedule.add("a")
    assert schedule.pop(0) is None
    schedule.done("a")
    assert schedule.pop(0) == "a"
    schedule.done("a")
    assert schedule.pop(0) is None


def test_a_wake_up_comes_at_its_time_and_the_earliest_wins() -> None:
    schedule = Schedule[str]()
    schedule.add_at("a", 10)
    schedule.add_at("a", 5)
    schedule.add_at("a", 7)
    assert schedule.next_wake() == 5
    assert schedule.pop(4.9) is None
    assert schedule.pop(5) == "a"
    schedule.done("a")
    assert schedule.next_wake() is None
    assert schedule.pop(100) is None


def test_an_event_makes_a_kept_wake_up_needless() -> None:
    schedule = Schedule[str]()
    schedule.add_at("a", 5)
    schedule.add("a")
    assert schedule.pop(0) == "a"
    schedule.done("a")
    assert schedule.next_wake() is None


def test_a_wake_up_of_a_pass_that_must_run_again_is_dropped() -> None:
    schedule = Schedule[str]()
    schedule.add("a")
    schedule.pop(0)
    schedule.add("a")
    schedule.done("a")
    schedule.add_at("a", 50)
    assert schedule.next_wake() is None


def test_a_forgotten_key_sleeps_for_ever() -> None:
    schedule = Schedule[str]()
    schedule.add_at("a", 5)
    schedule.forget("a")
    assert schedule.next_wake() is None
    assert schedule.pop(10) is None


OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["add", "add_at", "pop", "done", "forget"]), st.sampled_from("abc")),
    max_size=60,
)


@given(OPERATIONS)
def test_no_key_is_ever_busy_twice_and_no_event_is_lost(operations: list[tuple[str, str]]) -> None:
    schedule = Schedule[str]()
    busy: set[str] = set()
    owed: set[str] = set()  # keys whose last event no pass has begun after
    for time, (operation, key) in enumerate(operations):
        if operation == "add":
            schedule.add(key)
            owed.add(key)
        elif operation == "add_at":
            schedule.add_at(key, time + 3)
        elif operation == "pop":
            popped = schedule.pop(time)
            if popped is not None:
                assert popped not in busy
                busy.add(popped)
                owed.discard(popped)
        elif operation == "done" and key in busy:
            schedule.done(key)
            busy.discard(key)
        elif operation == "forget":
            schedule.forget(key)
    for key in sorted(busy):
        schedule.done(key)
    rest = set(iter(lambda: schedule.pop(1e9), None))
    assert owed <= rest


def test_delays_grow_to_a_limit_and_start_over() -> None:
    backoff = Backoff[str](jitter=lambda: 1.0)
    delays = [backoff.failed("a") for _ in range(12)]
    assert delays[0] == BACKOFF_FIRST_S
    assert delays == sorted(delays)
    assert delays[-1] == BACKOFF_LIMIT_S
    assert backoff.failed("b") == BACKOFF_FIRST_S
    backoff.succeeded("a")
    assert backoff.failed("a") == BACKOFF_FIRST_S


def test_jitter_halves_a_delay_at_most() -> None:
    assert Backoff[str](jitter=lambda: 0.0).failed("a") == BACKOFF_FIRST_S / 2


class SteppingClock:
    """Each look at the clock is a tenth of a second later than the one before."""

    def __init__(self) -> None:
        self._ticks = itertools.count()

    def monotonic(self) -> float:
        return next(self._ticks) / 10

    def unix(self) -> float:
        return 0.0


async def test_the_loop_bounds_concurrency_and_survives_a_failing_worker() -> None:
    queue = KeyedQueue[int](SteppingClock(), concurrency=2)
    running, most, ended = 0, 0, set()
    release = asyncio.Event()

    async def worker(key: int) -> float | None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await release.wait()
            if key == 0:
                raise RuntimeError("let through")
        finally:
            running -= 1
            ended.add(key)
        return None

    for key in range(5):
        queue.add(key)
    loop = asyncio.create_task(queue.run(worker))
    await asyncio.sleep(0.05)
    release.set()
    async with asyncio.timeout(5):
        while len(ended) < 5:  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0.01)
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    assert most == 2


async def test_a_worker_is_woken_again_when_it_said() -> None:
    clock = SteppingClock()
    queue = KeyedQueue[str](clock, concurrency=1)
    passes: list[float] = []
    twice = asyncio.Event()

    async def worker(_key: str) -> float | None:
        passes.append(clock.monotonic())
        if len(passes) == 2:
            twice.set()
            return None
        return clock.monotonic() + 0.5

    queue.add("a")
    loop = asyncio.create_task(queue.run(worker))
    async with asyncio.timeout(5):
        await twice.wait()
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    assert passes[1] - passes[0] >= 0.5


def test_a_key_waits_from_its_first_event_or_from_when_it_was_due() -> None:
    schedule: Schedule[str] = Schedule()
    schedule.add("a", 10.0)
    schedule.add("a", 12.0)
    assert schedule.pop(15.0) == "a"
    assert schedule.waited("a", 15.0) == 5.0
    schedule.add("a", 16.0)  # while it is worked on
    schedule.done("a")
    assert schedule.pop(18.0) == "a"
    assert schedule.waited("a", 18.0) == 2.0
    schedule.done("a")
    schedule.add_at("a", 30.0)
    assert schedule.pop(31.0) == "a"
    assert schedule.waited("a", 31.0) == 1.0
    assert schedule.waited("unknown", 31.0) == 0.0
    assert schedule._since == {}
