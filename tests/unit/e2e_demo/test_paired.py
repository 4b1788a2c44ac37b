"""Pairs of requests, against a server that plays both sides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from e2e.demo.paired import Pairs, measure, pairs_of
from e2e.load import Record


def record(seconds: float, **more: object) -> Record:
    found = Record(0, "unary", 1, start=10.0, end=10 + seconds, status=200)
    found.completion_tokens, found.finish_reason = 1, "length"
    for name, value in more.items():
        setattr(found, name, value)
    return found


def test_difference_is_of_each_pair() -> None:
    pairs = Pairs((3.0, 5.0, 4.0), (1.0, 4.0, 4.0))
    assert pairs.added == [2.0, 1.0, 0.0]
    assert pairs.to_json()["added"]["p50"] == 1.0


def test_pair_with_a_failure_is_counted_and_left_out() -> None:
    pairs = pairs_of([record(0.3), record(9.0, status=503, error="no")], [record(0.1), record(0.1)])
    assert (len(pairs.added), pairs.failed) == (1, 1)


@pytest.fixture
async def sides() -> AsyncIterator[tuple[str, list[str]]]:
    """One server; what begins with /slow answers later than what does not."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path.split("/")[1])
        if request.path.startswith("/slow"):
            await asyncio.sleep(0.05)
        choice = {"text": "a", "finish_reason": "length"}
        return web.json_response({"choices": [choice], "usage": {"completion_tokens": 1}})

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}", asked
    await runner.cleanup()


@pytest.mark.parametrize("rate", [None, 20.0])
async def test_what_is_slower_shows_and_each_side_begins_in_turn(
    sides: tuple[str, list[str]], rate: float | None
) -> None:
    url, asked = sides
    pairs = await asyncio.to_thread(
        measure, f"{url}/slow/v1", f"{url}/quick/v1", "tiny", "x", count=6, rate=rate
    )
    assert len(pairs.added) == 6
    # The one in the middle: a busy machine may delay any single request.
    assert sorted(pairs.added)[3] > 0.02
    if rate is None:
        assert asked[2:6] == ["slow", "quick", "quick", "slow"], "after the two that warm up"
