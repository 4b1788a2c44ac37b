"""Hints reach whoever leads, once, and never go round."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from aiohttp import web

from stoker.model.observed import Key
from stoker.telemetry.hints import HEADER_FORWARDED, TIMEOUT_S, Hints
from stoker.telemetry.metrics import Metrics
from stoker.telemetry.server import Server
from tests.support.controlplane import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import pytest

KEY = Key("team", "tiny")


def hints(leader: str, *, here: bool = False, known: bool = True) -> Hints:
    return Hints(lambda _: here, lambda _: {} if known else None, lambda: leader)


@contextlib.asynccontextmanager
async def replica(make: Callable[[str], Hints]) -> AsyncIterator[tuple[str, Hints]]:
    """A replica's own server, and its hints."""
    port = free_port()
    address = f"{LOOPBACK}:{port}"
    own = make(address)
    server = Server(Metrics(), lambda: None, lambda: None, own)
    await server.start(LOOPBACK, port)
    try:
        yield address, own
    finally:
        await server.close()
        await own.close()


async def test_a_leader_takes_hints_itself() -> None:
    leader = hints("192.0.2.1:8080", here=True)
    assert await leader.take(KEY, forwarded=False)
    assert await leader.take(KEY, forwarded=True)
    await leader.close()


async def test_a_standby_passes_hints_on() -> None:
    async with (
        replica(lambda _: hints("", here=True)) as (address, _),
        replica(lambda _: hints(address)) as (_, standby),
    ):
        assert await standby.take(KEY, forwarded=False)
        # What was passed on is not passed on again.
        assert not await standby.take(KEY, forwarded=True)


async def test_a_leader_that_samples_nothing_says_so() -> None:
    async with (
        replica(lambda _: hints("")) as (address, _),
        replica(lambda _: hints(address)) as (_, standby),
    ):
        assert not await standby.take(KEY, forwarded=False)


async def test_two_that_take_each_other_for_the_leader_end_it_there() -> None:
    # A replica that believes itself to be somebody else is the shortest circle.
    async with replica(hints) as (_, circle):
        assert not await asyncio.wait_for(circle.take(KEY, forwarded=False), 2 * TIMEOUT_S)


async def test_a_service_that_is_not_known_costs_no_call() -> None:
    async with (
        replica(lambda _: hints("", here=True)) as (address, _),
        replica(lambda _: hints(address, known=False)) as (_, standby),
    ):
        assert not await standby.take(KEY, forwarded=False)


async def test_a_silent_leader_is_waited_for_briefly_and_by_one_call_a_service() -> None:
    calls: list[str | None] = []

    async def hang(request: web.Request) -> web.Response:
        calls.append(request.headers.get(HEADER_FORWARDED))
        await asyncio.sleep(60)
        return web.Response()

    application = web.Application()
    application.add_routes([web.post("/notify/team/tiny", hang)])
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, LOOPBACK, port).start()
    standby = hints(f"{LOOPBACK}:{port}")
    try:
        asked = time.monotonic()
        taken = await asyncio.gather(*(standby.take(KEY, forwarded=False) for _ in range(5)))
        assert time.monotonic() - asked < TIMEOUT_S + 2
        assert taken == [False, True, True, True, True]
        assert calls == ["1"]
    finally:
        await standby.close()
        await runner.cleanup()


async def test_a_leader_that_is_gone_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    standby = hints(f"{LOOPBACK}:{free_port()}")
    assert not await standby.take(KEY, forwarded=False)
    await standby.close()
    assert not caplog.records
