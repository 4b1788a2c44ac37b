"""A plain HTTP door to the API server that can hurt watches: cut them, or end them in errors."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from typing import TYPE_CHECKING

import aiohttp
from aiohttp import web

from tests.support.controlplane import LOOPBACK, free_port

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from tests.support.controlplane import ControlPlane

_ERROR = {
    "type": "ERROR",
    "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500},
}
_PASSED_ON = ("Accept", "Content-Type", "User-Agent")


class Proxy:
    """Forwards everything with the administrator's credentials, in a thread of its own."""

    def __init__(self, plane: ControlPlane) -> None:
        self.port = free_port()
        self._plane = plane
        self._watches: set[tuple[web.StreamResponse, asyncio.Event]] = set()
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def kubeconfig(self, path: Path) -> Path:
        """Credentials that lead here."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "p", "cluster": {"server": f"http://{LOOPBACK}:{self.port}"}}],
            "users": [{"name": "p", "user": {}}],
            "contexts": [{"name": "p", "context": {"cluster": "p", "user": "p"}}],
            "current-context": "p",
        }
        path.write_text(json.dumps(content))
        return path

    def fail_watches(self) -> int:
        """End every watch with an ERROR event of code 500."""
        return self._call(self._fail())

    def cut_watches(self) -> int:
        """Break the connection of every watch."""
        return self._call(self._cut())

    def _call(self, work: object) -> int:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)  # type: ignore[arg-type]

    async def _fail(self) -> int:
        hurt = list(self._watches)
        for response, end in hurt:
            await response.write(json.dumps(_ERROR).encode() + b"\n")
            end.set()
        return len(hurt)

    async def _cut(self) -> int:
        hurt = list(self._watches)
        for _, end in hurt:
            end.set()
        return len(hurt)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._started.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._close())
        self._loop.close()

    async def _serve(self) -> None:
        folder = self._plane.folder
        context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        context.load_cert_chain(folder / "admin.crt", folder / "admin.key")
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", self._forward)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, self.port).start()

    async def _close(self) -> None:
        await self._cut()
        await self._runner.cleanup()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._session.close()
        await asyncio.sleep(0.5)  # TLS connections say goodbye

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        # Bodies pass as they are and without their headers; a long list would come compressed.
        headers["Accept-Encoding"] = "identity"
        async with self._session.request(
            request.method,
            f"{self._plane.url}{request.raw_path}",
            headers=headers,
            data=await request.read() or None,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            kind = {"Content-Type": answer.headers.get("Content-Type", "application/json")}
            if request.query.get("watch") != "true":
                return web.Response(body=await answer.read(), status=answer.status, headers=kind)
            response = web.StreamResponse(status=answer.status, headers=kind)
            await response.prepare(request)
            await self._stream(answer, response)
            return response

    async def _stream(self, answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
        end = asyncio.Event()
        entry = (response, end)
        self._watches.add(entry)
        copying = asyncio.create_task(_copy(answer, response))
        ending = asyncio.create_task(end.wait())
        try:
            await asyncio.wait({copying, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._watches.discard(entry)
            copying.cancel()
            ending.cancel()
            await asyncio.gather(copying, ending, return_exceptions=True)


async def _copy(answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
