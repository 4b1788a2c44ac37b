"""Requests that go on in the background while something is done to the cluster.

Streams and unary requests are separate crowds, each of a fixed size, so that at any moment it is
known how many of either are in flight. The client does not retry: what fails, failed.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from e2e.load.client import LoadClient, Target
from e2e.load.patterns import ClosedLoop, Mix
from e2e.load.records import Outcome

if TYPE_CHECKING:
    from e2e.load.records import Record

LONGEST_RUN_SECONDS = 4 * 3600.0


@dataclass
class Traffic:
    """So many streams and so many unary requests at any time, until stopped."""

    url: str
    model: str
    streams: int
    unary: int
    prompts: tuple[str, ...]
    stream_tokens: int = 300
    unary_tokens: int = 32
    total_seconds: float = 300.0
    _stop: asyncio.Event = field(init=False)
    _loop: asyncio.AbstractEventLoop = field(init=False)
    _thread: threading.Thread = field(init=False)
    _clients: list[LoadClient] = field(init=False, default_factory=list)

    def __enter__(self) -> Self:
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> list[Record]:
        """Send nothing more, wait for what is under way, return all records."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(self.total_seconds + 30)
        assert not self._thread.is_alive(), "requests are still under way"
        return self.records()

    def records(self) -> list[Record]:
        """All requests so far."""
        return [record for client in self._clients for record in client.records]

    def in_flight(self) -> list[Record]:
        """Requests that are under way at this moment."""
        return [record for client in self._clients for record in client.in_flight()]

    def wait_streaming(self, count: int, seconds: float = 120) -> None:
        """Wait until so many streams have sent their first token and are still going."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            flowing = [r for r in self.in_flight() if r.kind == "stream" and r.first_token]
            if len(flowing) >= count:
                return
            time.sleep(0.05)
        raise AssertionError(f"no {count} streams were flowing within {seconds:.0f} s")

    def _run(self, started: threading.Event) -> None:
        asyncio.run(self._main(started))

    async def _main(self, started: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        crowds = ((self.streams, 1.0), (self.unary, 0.0))
        target = Target(
            self.url,
            self.model,
            total_seconds=self.total_seconds,
            silent_seconds=self.total_seconds,
        )
        async with asyncio.TaskGroup() as group:
            for users, share in crowds:
                if users:
                    group.create_task(self._crowd(target, users, share))
            await asyncio.sleep(0)
            started.set()

    async def _crowd(self, target: Target, users: int, stream_share: float) -> None:
        mix = Mix(
            unlike(self.prompts),
            stream_share=stream_share,
            unary_tokens=self.unary_tokens,
            stream_tokens=self.stream_tokens,
        )
        async with LoadClient(target) as client:
            self._clients.append(client)
            await ClosedLoop(mix, users, LONGEST_RUN_SECONDS).run(client, self._stop)


def unlike(prompts: tuple[str, ...], count: int = 997) -> tuple[str, ...]:
    """Prompts that begin differently: equal beginnings all go to the replica that knows them."""
    return tuple(f"{n * 7919 % count} {prompts[n % len(prompts)]}" for n in range(count))


def lost(records: list[Record]) -> list[Record]:
    """Requests that did not end complete."""
    return [record for record in records if record.outcome is not Outcome.COMPLETE]


def describe(records: list[Record], limit: int = 5) -> str:
    """The first few losses in words, for an assertion's message."""
    lines = [
        f"#{r.number} {r.kind}: {r.outcome.value}, status {r.status}, "
        f"{r.completion_tokens}/{r.expected_tokens} tokens, {r.error}"
        for r in records[:limit]
    ]
    return f"{len(records)} requests were lost:\n" + "\n".join(lines)
