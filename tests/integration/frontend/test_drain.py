"""A frontend pod that ends: the preStop hook answers when the last request is done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import aiohttp

from stoker.render.timeouts import FRONTEND_SETTLE_S
from tests.integration.frontend.support import FrontendRig, ask


async def test_drain_waits_for_streams_and_held_requests(
    frontend: Callable[..., FrontendRig], address: Callable[[], str]
) -> None:
    rig = frontend()
    rig.add_engine("slow", address(), seconds=7, tokens=7)
    async with aiohttp.ClientSession() as session:
        stream = asyncio.create_task(ask(session, rig, stream=True))
        await asyncio.sleep(0.5)
        assert await status(session, f"{rig.ops}/readyz") == 200

        began = time.monotonic()
        hook = asyncio.create_task(
            status(session, f"http://127.0.0.1:{rig.given.ports.drain}/drain")
        )
        await asyncio.sleep(0.5)
        # It goes on serving: were it the only one, kube-proxy would still need it.
        assert await status(session, f"{rig.ops}/readyz") == 200
        assert await status(session, f"{rig.ops}/livez") == 200
        # Clients that have not heard of it yet are served, and sent away.
        latecomer = await ask(session, rig, "/v1/models", method="GET")
        assert (latecomer.status, latecomer.headers["connection"]) == (200, "close")

        answer = await stream
        assert answer.status == 200
        assert answer.text.endswith("data: [DONE]\n\n")
        assert answer.text.count("data: ") == 8
        finished = time.monotonic()
        assert await hook == 200
        assert time.monotonic() - max(finished, began + FRONTEND_SETTLE_S) < 4
        assert time.monotonic() - began >= FRONTEND_SETTLE_S


async def test_drain_ends_at_its_limit(frontend: Callable[..., FrontendRig]) -> None:
    rig = frontend(hold=4.0, drain=2.0)
    async with aiohttp.ClientSession() as session:
        began = time.monotonic()
        drain = f"http://127.0.0.1:{rig.given.ports.drain}"
        hook = asyncio.create_task(status(session, f"{drain}/drain"))
        assert await status(session, f"{drain}/other") == 404
        while not hook.done():
            held = asyncio.create_task(ask(session, rig))
            await asyncio.wait([hook, held], return_when=asyncio.FIRST_COMPLETED)
            held.cancel()
        limit = rig.given.timeouts.frontend_settle + rig.given.timeouts.frontend_drain
        assert limit - 1 < time.monotonic() - began < limit + 4


async def status(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(url) as answer:
        return answer.status
