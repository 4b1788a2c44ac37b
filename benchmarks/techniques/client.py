"""Ask for completions in the ways that batching is compared in, and time every piece.

`e2e.load` proves that nothing is lost and asks for whole answers; here the time of each piece
counts, and the naive server takes other parameters than vLLM does.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from benchmarks.techniques.servers import Server

_TIMEOUT_S = 600


@dataclass(frozen=True)
class Ask:
    """One completion of exactly so many tokens."""

    prompt: str
    tokens: int
    temperature: float = 0.0


@dataclass
class Answer:
    """What came of it; times in seconds."""

    tokens: int
    start: float
    pieces: list[float] = field(default_factory=list)
    """When each piece of text came."""
    text: str = ""

    @property
    def ttft(self) -> float:
        """To the first piece."""
        return self.pieces[0] - self.start

    @property
    def seconds(self) -> float:
        """The whole answer."""
        return self.pieces[-1] - self.start

    @property
    def longest_gap(self) -> float:
        """Between two pieces."""
        return max((after - before for before, after in pairwise(self.pieces)), default=0.0)


@dataclass(frozen=True)
class Run:
    """Answers, and how long all of them took together."""

    answers: Sequence[Answer]
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        """Of all answers together."""
        return sum(answer.tokens for answer in self.answers) / self.seconds


Send = Callable[[Ask], Awaitable[Answer]]


def closed(server: Server, asks: Sequence[Ask], at_once: int) -> Run:
    """Keep so many requests under way: the next one starts when one is over."""

    async def work(send: Send) -> list[Answer]:
        gate = asyncio.Semaphore(at_once)

        async def one(ask: Ask) -> Answer:
            async with gate:
                return await send(ask)

        return list(await asyncio.gather(*map(one, asks)))

    return _timed(server, work)


def static(server: Server, asks: Sequence[Ask], batch: int) -> Run:
    """Batches that end with their longest answer: a new one starts when all of one are over."""

    async def work(send: Send) -> list[Answer]:
        found: list[Answer] = []
        for at in range(0, len(asks), batch):
            found += await asyncio.gather(*map(send, asks[at : at + batch]))
        return found

    return _timed(server, work)


def opened(server: Server, asks: Sequence[Ask], per_second: float) -> Run:
    """Requests arrive at random, however long the answers take; the same arrivals every time."""
    draw = random.Random(1)
    at = 0.0
    arrivals = [at := at + draw.expovariate(per_second) for _ in asks]

    async def work(send: Send) -> list[Answer]:
        begun = time.monotonic()

        async def one(ask: Ask, arrival: float) -> Answer:
            await asyncio.sleep(max(0.0, begun + arrival - time.monotonic()))
            return await send(ask)

        return list(await asyncio.gather(*map(one, asks, arrivals)))

    return _timed(server, work)


def beside(server: Server, watched: Ask, others: Sequence[Ask], every_s: float) -> Answer:
    """One answer, while other requests arrive once in so many seconds."""

    async def work(send: Send) -> list[Answer]:
        async def later(number: int, ask: Ask) -> Answer:
            await asyncio.sleep((number + 1) * every_s)
            return await send(ask)

        return list(
            await asyncio.gather(send(watched), *(later(*each) for each in enumerate(others)))
        )

    return _timed(server, work).answers[0]


def _timed(server: Server, work: Callable[[Send], Awaitable[list[Answer]]]) -> Run:
    async def run() -> Run:
        limits = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=limits, connector=connector) as session:
            begun = time.monotonic()
            answers = await work(lambda ask: _send(session, server, ask))
            return Run(answers, time.monotonic() - begun)

    return asyncio.run(run())


async def _send(session: aiohttp.ClientSession, server: Server, ask: Ask) -> Answer:
    answer = Answer(ask.tokens, time.monotonic())
    url = f"http://127.0.0.1:{server.port}/v1/completions"
    async with session.post(url, json=_body(server, ask)) as response:
        assert response.status == 200, await response.text()
        async for line in response.content:
            data = line.decode().removeprefix("data: ").strip()
            if not data or data == "[DONE]":
                continue
            piece: dict[str, Any] = json.loads(data)
            text = "".join(choice.get("text") or "" for choice in piece.get("choices", ()))
            if text:
                answer.pieces.append(time.monotonic())
                answer.text += text
    assert answer.pieces, f"no text came from {url}"
    return answer


def _body(server: Server, ask: Ask) -> dict[str, Any]:
    body: dict[str, Any] = {"model": server.model, "prompt": ask.prompt, "stream": True}
    if server.naive:
        # It knows no ignore_eos, and takes what it does know in a text of its own.
        exact = {"min_new_tokens": ask.tokens, "max_new_tokens": ask.tokens}
        settings = {**exact, "do_sample": ask.temperature > 0, "eos_token_id": 2, "pad_token_id": 0}
        return body | {"generation_config": json.dumps(settings), "max_tokens": ask.tokens}
    return body | {
        "max_tokens": ask.tokens,
        "temperature": ask.temperature,
        "seed": 1,
        "ignore_eos": True,
    }
