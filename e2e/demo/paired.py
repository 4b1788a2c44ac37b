"""What the frontend adds to a request: the same one through it and past it, in turn.

One of a pair goes to the frontend's address, the other straight to the engine pod, on connections
that are kept, each first in every other pair. So both sides meet the same machine, the same engine
and the same cache, and the difference of a pair is the frontend's (with its network hop).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from e2e.load import LoadClient, Outcome, Record, Request, Target, median, percentile

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Pairs:
    """Times of both ways, pair by pair, in seconds."""

    through: tuple[float, ...]
    past: tuple[float, ...]
    failed: int = 0

    @property
    def added(self) -> list[float]:
        """What the frontend added, of each pair."""
        return [one - other for one, other in zip(self.through, self.past, strict=True)]

    def to_json(self) -> dict[str, Any]:
        """The numbers, in seconds."""
        return {
            "pairs": len(self.through),
            "failed": self.failed,
            "through": {"p50": median(self.through), "p99": percentile(self.through, 99)},
            "past": {"p50": median(self.past), "p99": percentile(self.past, 99)},
            "added": {
                "p50": median(self.added), "p95": percentile(self.added, 95),
                "p99": percentile(self.added, 99),
            },
        }  # fmt: skip


def pairs_of(through: Sequence[Record], past: Sequence[Record]) -> Pairs:
    """Lay records side by side, leaving out pairs of which one did not end complete."""
    times: list[tuple[float, float]] = []
    for one, other in zip(through, past, strict=True):
        if one.outcome is other.outcome is Outcome.COMPLETE:
            assert one.seconds is not None
            assert other.seconds is not None
            times.append((one.seconds, other.seconds))
    return Pairs(
        tuple(one for one, _ in times), tuple(other for _, other in times),
        failed=len(through) - len(times),
    )  # fmt: skip


def measure(
    frontend: str, engine: str, model: str, prompt: str, *, count: int, rate: float | None = None
) -> Pairs:
    """Send `count` pairs, one after another, or `rate` pairs a second whatever becomes of them."""

    async def run() -> Pairs:
        async with (
            LoadClient(Target(frontend, model, keep_alive=True)) as through,
            LoadClient(Target(engine, model, keep_alive=True)) as past,
        ):
            request = Request("unary", prompt, 1, api="completions")
            for client in (through, past):  # connections, and the engine's prefix cache
                await client.send(request)
            if rate is None:
                found = [await _pair(through, past, request, n) for n in range(count)]
            else:
                found = await _crowd(through, past, request, count, rate)
        return pairs_of([one for one, _ in found], [other for _, other in found])

    return asyncio.run(run())


async def _pair(
    through: LoadClient, past: LoadClient, request: Request, number: int
) -> tuple[Record, Record]:
    if number % 2:
        other = await past.send(request)
        return await through.send(request), other
    one = await through.send(request)
    return one, await past.send(request)


async def _crowd(
    through: LoadClient, past: LoadClient, request: Request, count: int, rate: float
) -> list[tuple[Record, Record]]:
    tasks = []
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            tasks.append(group.create_task(_pair(through, past, request, number)))
            await asyncio.sleep(1 / rate)
    return [task.result() for task in tasks]
