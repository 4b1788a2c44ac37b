"""Load beside a test that is not asynchronous: it runs on its own thread and loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Self

from e2e.load.client import LoadClient, Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.load.patterns import Pattern
    from e2e.load.records import Record


class BackgroundLoad:
    """A pattern that runs from the first line of a `with` block until `finish` or its last.

    with BackgroundLoad(target, ClosedLoop(mix, users=8, seconds=600)) as load:
        load.wait_until(lambda flying: len(flying) >= 8)
        hit = load.in_flight()
        delete_the_pod()
        records = load.finish()
    exposure = Exposure.of(hit)
    """

    def __init__(self, target: Target, pattern: Pattern) -> None:
        self._target = target
        self._pattern = pattern
        self._client: LoadClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._records: list[Record] = []
        self._thread = threading.Thread(target=self._main, name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def in_flight(self) -> list[Record]:
        """Return the requests under way now, as live records."""
        return [] if self._client is None else self._client.in_flight()

    def records(self) -> list[Record]:
        """Return every request made so far."""
        return [] if self._client is None else list(self._client.records)

    def wait_until(
        self, is_enough: Callable[[list[Record]], bool], *, seconds: float = 30
    ) -> list[Record]:
        """Wait until the requests in flight are what an event needs, and return them.

        Raises
        ------
        TimeoutError
            If they do not become so in time, or the run is over before.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._thread.is_alive():
            flying = self.in_flight()
            if is_enough(flying):
                return flying
            time.sleep(0.02)
        raise TimeoutError(
            f"{len(self.in_flight())} requests in flight after {seconds:g} s, of "
            f"{len(self.records())} sent: not what was waited for"
        )

    def finish(self) -> list[Record]:
        """Send nothing more, wait for what was sent, and return all records."""
        self._end()
        if self._failure is not None:
            raise self._failure
        return self._records

    def _end(self) -> None:
        if self._thread.is_alive() and self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # it ended by itself a moment ago
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 - raised again where someone listens
            self._failure = error
        finally:
            self._ready.set()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with LoadClient(self._target) as client:
            self._client = client
            self._ready.set()
            self._records = await self._pattern.run(client, self._stop)


def run(target: Target, pattern: Pattern) -> list[Record]:
    """Run a pattern to its end and return its records, in the order in which they were sent."""

    async def whole() -> list[Record]:
        async with LoadClient(target) as client:
            return await pattern.run(client, asyncio.Event())

    return asyncio.run(whole())
