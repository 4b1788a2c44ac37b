"""An engine's address as people talk to it: it says what it was asked, in capitals."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.support.controlplane import free_port
from tests.support.serving import serving

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Model:
    """Speaks OpenAI's dialect. Held, an answer stops before or after its first piece."""

    def __init__(self) -> None:
        self.port = free_port()
        self.asked: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.held_before = False  # as a frontend holds a request while no replica runs
        self.held_within = False
        self.cut = 0  # answers that somebody did not want to the end

    def serve(self) -> AbstractContextManager[None]:
        """Answer until the block ends."""
        application = web.Application()
        application.router.add_get("/v1/models", self._models)
        application.router.add_post("/v1/chat/completions", self._chat)
        return serving(application, self.port)

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "main"}]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.headers += list(request.headers)
        said = body["messages"][-1]["content"]
        if said == "too much":
            error = {"error": {"message": "max_tokens is too large"}}
            return web.json_response(error, status=400)
        while self.held_before:  # noqa: ASYNC110 - told by another thread
            await asyncio.sleep(0.05)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            await _piece(response, said.upper())
            while self.held_within:
                await _piece(response, "")  # fails once nobody reads any more
                await asyncio.sleep(0.05)
        except (ConnectionError, asyncio.CancelledError):
            self.cut += 1
            raise
        await _piece(response, "\x1b[31m!")
        end = {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"total_tokens": 3}}
        await response.write(f"data: {json.dumps(end)}\n\ndata: [DONE]\n\n".encode())
        return response


async def _piece(response: web.StreamResponse, content: str) -> None:
    event = {"choices": [{"delta": {"content": content}}]}
    await response.write(f"data: {json.dumps(event)}\n\n".encode())
