"""Who is sent when, and what a test sees of it from outside."""

from __future__ import annotations

import asyncio
import time
from itertools import islice

import pytest

from e2e.load import (
    BackgroundLoad,
    ClosedLoop,
    Exposure,
    LoadClient,
    Mix,
    OpenLoop,
    Outcome,
    Pattern,
    Record,
    Together,
)
from tests.unit.e2e_load.misbehaving import Server

MIX = Mix(prompts=("one", "two"), unary_tokens=2, stream_tokens=4)


async def play(server: Server, fault: str, pattern: Pattern) -> list[Record]:
    async with LoadClient(server.target(fault, total_seconds=5)) as client:
        return await pattern.run(client, asyncio.Event())


@pytest.mark.parametrize(("share", "streams"), [(0, 0), (0.25, 5), (0.5, 10), (0.3, 6), (1, 20)])
def test_streams_are_their_share_and_spread_evenly(share: float, streams: int) -> None:
    kinds = [request.kind for request in islice(Mix(("x",), share).requests(), 20)]
    assert kinds.count("stream") == streams
    assert abs(kinds[:10].count("stream") - streams / 2) <= 1


def test_bodies_ask_for_an_exact_number_of_tokens() -> None:
    unary, stream = islice(MIX.requests(), 2)
    assert unary.body("m") == {
        "model": "m",
        "messages": [{"role": "user", "content": "one"}],
        "max_tokens": 2,
        "temperature": 0,
        "ignore_eos": True,
    }
    assert stream.body("m")["stream_options"] == {"include_usage": True}
    plain = next(Mix(("one",), api="completions").requests())
    assert plain.path() == "/completions"
    assert plain.body("m")["prompt"] == "one"


@pytest.mark.parametrize("seed", [None, 7])
async def test_open_loop_does_not_wait_for_answers(server: Server, seed: int | None) -> None:
    asyncio.get_running_loop().call_later(1.2, server.release.set)
    records = await play(server, "hang", OpenLoop(MIX, rate=50, seconds=0.4, poisson_seed=seed))
    assert len(records) == 20 if seed is None else len(records) > 8
    assert max(record.start for record in records) < min(record.end or 0 for record in records)
    assert {record.outcome for record in records} == {Outcome.COMPLETE}


async def test_closed_loop_keeps_its_users_busy(server: Server) -> None:
    records = await play(server, "none", ClosedLoop(MIX, users=3, seconds=0.3))
    assert [record.number for record in records] == list(range(len(records)))
    assert len(records) > 6
    for record in records:
        assert sum(other.was_in_flight(record.start) for other in records) <= 3


async def test_refused_users_pause(server: Server) -> None:
    records = await play(
        server, "503", ClosedLoop(MIX, users=2, seconds=0.5, pause_after_failure=0.1)
    )
    assert len(records) <= 12


async def test_background_load_shows_what_is_exposed(server: Server) -> None:
    load = BackgroundLoad(server.target("slow", total_seconds=5), ClosedLoop(MIX, 4, seconds=60))

    def watch() -> tuple[list[Record], list[Record]]:
        with load:
            hit = load.wait_until(lambda flying: sum(r.kind == "stream" for r in flying) == 4)
            asyncio.run_coroutine_threadsafe(release(), loop).result()
            return hit, load.finish()

    async def release() -> None:
        server.release.set()

    loop = asyncio.get_running_loop()
    hit, records = await asyncio.to_thread(watch)
    assert len(hit) == 4
    assert Exposure.of(hit) == Exposure(requests=4, long_streams=0, harmed=0)
    assert {record.outcome for record in records} == {Outcome.COMPLETE}
    assert load.in_flight() == []
    assert len(load.records()) == len(records)


async def test_crowds_stay_apart_and_are_numbered_as_one(server: Server) -> None:
    crowds = (
        ClosedLoop(Mix(("x",), stream_share=1, stream_tokens=4), users=3, seconds=0.5),
        ClosedLoop(Mix(("x",), stream_share=0, unary_tokens=2), users=2, seconds=0.5),
    )
    asyncio.get_running_loop().call_later(1, server.release.set)
    records = await play(server, "hang", Together(crowds))
    assert [record.kind for record in records].count("stream") == 3
    assert [record.number for record in records] == list(range(5))
    assert {record.outcome for record in records} == {Outcome.COMPLETE}


async def test_background_load_does_not_wait_for_ever(server: Server) -> None:
    def watch() -> None:
        with BackgroundLoad(server.target("none"), OpenLoop(MIX, 10, seconds=0.2)) as load:
            load.wait_until(lambda flying: len(flying) > 100, seconds=5)

    begun = time.monotonic()
    with pytest.raises(TimeoutError, match="not what was waited for"):
        await asyncio.to_thread(watch)
    assert time.monotonic() - begun < 4, "the run was over long before"


def test_exposure_counts_long_streams_and_harm() -> None:
    whole = Record(0, "stream", 4, start=0, end=6, status=200, completion_tokens=4, done=True)
    whole.finish_reason = "length"
    cut = Record(1, "stream", 4, start=0, first_byte=1, end=5.5, status=200, error="cut")
    quick = Record(2, "unary", 1, start=0, end=6, status=503)
    assert Exposure.of([whole, cut, quick]) == Exposure(requests=3, long_streams=2, harmed=2)
