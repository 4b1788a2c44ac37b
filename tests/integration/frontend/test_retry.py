"""Failures before the first byte: a new pick, or a new hold."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import aiohttp

from stoker.render.envoy import BROKEN_ATTEMPTS
from tests.integration.frontend.support import FrontendRig, ask


async def test_killed_engines_lose_no_request(
    frontend: Callable[..., FrontendRig], address: Callable[[], str]
) -> None:
    """SIGKILL one of two, then one of one, under load; their pods stay listed as Ready."""
    rig = frontend()
    rig.add_engine("one", address(), seconds=1)
    rig.add_engine("two", address(), seconds=1)
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(ask(session, rig) for _ in range(4)))
        load = [asyncio.create_task(ask(session, rig)) for _ in range(24)]
        await asyncio.sleep(0.5)
        assert (await rig.behave("two"))["running"] >= 4  # exposed
        rig.engines["two"].kill()
        assert Counter((a.status, a.engine) for a in await asyncio.gather(*load)) == {
            (200, "one"): 24
        }
        dead = [await ask(session, rig) for _ in range(3)]
        assert [(a.status, a.engine) for a in dead] == [(200, "one")] * 3

        load = [asyncio.create_task(ask(session, rig)) for _ in range(8)]
        await asyncio.sleep(0.5)
        rig.engines["one"].kill()
        await asyncio.sleep(3)
        assert not any(task.done() for task in load)
        rig.add_engine("three", address())
        assert {(a.status, a.engine) for a in await asyncio.gather(*load)} == {(200, "three")}


async def test_resets_and_errors_before_the_first_byte_are_tried_elsewhere(
    frontend: Callable[..., FrontendRig], address: Callable[[], str]
) -> None:
    rig = frontend()
    rig.add_engine("good", address())
    rig.add_engine("bad", address(), reset=True)
    async with aiohttp.ClientSession() as session:
        await asyncio.sleep(0.5)
        # What an engine may have seen is tried a few times only, so an unlucky row of picks shows:
        # each request fails with 1 in 32. Five of twelve would be one run in fifty thousand.
        reset = Counter([(await ask(session, rig)).status for _ in range(12)])
        assert reset[200] >= 8
        assert set(reset) <= {200, 503}
        seen = (await rig.behave("bad", reset=False, status=500))["seen"]
        assert seen >= 3
        failed = Counter([(await ask(session, rig)).status for _ in range(12)])
        assert failed[200] >= 8
        assert set(failed) <= {200, 500}
        assert (await rig.behave("bad"))["seen"] >= seen + 3


async def test_a_request_that_breaks_every_engine_stops(
    frontend: Callable[..., FrontendRig], address: Callable[[], str]
) -> None:
    rig = frontend()
    rig.add_engine("breaking", address(), reset=True)
    async with aiohttp.ClientSession() as session:
        broken = await ask(session, rig)
        assert (broken.status, broken.json["error"]["code"]) == (503, "replica_unreachable")
        assert broken.headers["retry-after"]
        assert (await rig.behave("breaking", reset=False, status=500))[
            "seen"
        ] == BROKEN_ATTEMPTS + 1
        assert (await ask(session, rig)).status == 500
        assert (await rig.behave("breaking", status=429))["seen"] == 2 * (BROKEN_ATTEMPTS + 1)
        # An engine that says it is full means it.
        assert (await ask(session, rig)).status == 429
        assert (await rig.behave("breaking"))["seen"] == 2 * (BROKEN_ATTEMPTS + 1) + 1
