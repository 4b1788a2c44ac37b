"""The misbehaving server, listening."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tests.unit.e2e_load.misbehaving import Server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    behaviour = Server()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", behaviour.answer)
    app.router.add_post("/v1/completions", behaviour.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    behaviour.url = f"http://{host}:{port}/v1"
    yield behaviour
    behaviour.release.set()
    await runner.cleanup()
