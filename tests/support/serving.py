"""An aiohttp application that answers on the loopback from a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

from aiohttp import web

from tests.support.controlplane import LOOPBACK

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

_PATIENCE_S = 60
_GOODBYE_S = 0.5


@contextlib.contextmanager
def serving(app: web.Application, port: int, tls: ssl.SSLContext | None = None) -> Iterator[None]:
    """Serve until the block ends; connections that are open then are closed."""
    ready, ends = threading.Event(), list[tuple[asyncio.AbstractEventLoop, asyncio.Event]]()

    async def serve() -> None:
        # What stays open would outlive the loop: TLS says goodbye and waits for an answer.
        runner = web.AppRunner(app, shutdown_timeout=0.1, keepalive_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, LOOPBACK, port, ssl_context=tls).start()
        end = asyncio.Event()
        ends.append((asyncio.get_running_loop(), end))
        ready.set()
        await end.wait()
        await runner.cleanup()
        await asyncio.sleep(_GOODBYE_S)

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(_PATIENCE_S)
    try:
        yield
    finally:
        loop, end = ends[0]
        loop.call_soon_threadsafe(end.set)
        thread.join(_PATIENCE_S)
