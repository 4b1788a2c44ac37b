"""Decide what is sent when.

Open loop: requests leave at their times whatever becomes of the earlier ones, as a crowd of
strangers does. It is the honest way to see latency under load. Closed loop: so many users, each
waiting for an answer before asking again. It keeps a known number of requests in flight.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from e2e.load.client import LoadClient, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.load.records import Record


@dataclass(frozen=True)
class Mix:
    """What the requests of a run are."""

    prompts: tuple[str, ...]
    stream_share: float = 0.5
    unary_tokens: int = 16
    stream_tokens: int = 64
    api: Literal["chat", "completions"] = "chat"

    def requests(self) -> Iterator[Request]:
        """Yield requests for ever, the streams spread evenly among them."""
        for number, prompt in enumerate(itertools.cycle(self.prompts)):
            share = self.stream_share
            # A stream whenever the running total of shares passes a whole number.
            is_stream = int((number + 1) * share + 1e-9) > int(number * share + 1e-9)
            yield Request(
                kind="stream" if is_stream else "unary",
                prompt=prompt,
                tokens=self.stream_tokens if is_stream else self.unary_tokens,
                api=self.api,
            )


class Pattern(Protocol):
    """A way to send a mix until time is up, or until someone says so."""

    async def run(self, client: LoadClient, stop: asyncio.Event) -> list[Record]:
        """Send; then wait until everything sent is answered."""
        ...


@dataclass(frozen=True)
class OpenLoop:
    """`rate` requests a second."""

    mix: Mix
    rate: float
    seconds: float
    poisson_seed: int | None = None
    """Random gaps, as independent users leave them; without it all gaps are equal."""

    async def run(self, client: LoadClient, stop: asyncio.Event) -> list[Record]:
        """See `Pattern`."""
        start = time.monotonic()
        # The group would be cancelled as a whole by an exception; `send` raises none.
        async with asyncio.TaskGroup() as group:
            tasks = []
            for offset, request in zip(self._offsets(), self.mix.requests(), strict=False):
                if await _stopped(stop, start + offset - time.monotonic()):
                    break
                tasks.append(group.create_task(client.send(request)))
        return [task.result() for task in tasks]

    def _offsets(self) -> Iterator[float]:
        source = random.Random(self.poisson_seed)  # noqa: S311 - reproducible on purpose
        offset = 0.0
        while offset < self.seconds:
            yield offset
            gap = 1 / self.rate
            offset += gap if self.poisson_seed is None else source.expovariate(1 / gap)


@dataclass(frozen=True)
class ClosedLoop:
    """`users` requests at any time."""

    mix: Mix
    users: int
    seconds: float
    pause_after_failure: float = 0.05
    """A user who is refused at once does not ask a thousand times a second."""

    async def run(self, client: LoadClient, stop: asyncio.Event) -> list[Record]:
        """See `Pattern`."""
        requests = self.mix.requests()
        deadline = time.monotonic() + self.seconds
        records: list[Record] = []

        async def user() -> None:
            while not stop.is_set() and time.monotonic() < deadline:
                record = await client.send(next(requests))
                records.append(record)
                if record.error is not None:
                    await _stopped(stop, self.pause_after_failure)

        async with asyncio.TaskGroup() as group:
            for _ in range(self.users):
                group.create_task(user())
        return sorted(records, key=lambda record: record.number)


@dataclass(frozen=True)
class Together:
    """Several patterns at the same time, each with its own share of the requests in flight."""

    patterns: tuple[Pattern, ...]

    async def run(self, client: LoadClient, stop: asyncio.Event) -> list[Record]:
        """See `Pattern`."""
        found = await asyncio.gather(*(each.run(client, stop) for each in self.patterns))
        return sorted(itertools.chain(*found), key=lambda record: record.number)


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    """Wait for a time, or until the run is stopped, and say which it was."""
    if seconds <= 0:
        return stop.is_set()
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True
