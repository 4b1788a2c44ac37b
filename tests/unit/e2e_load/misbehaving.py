"""A real server that answers as it is told to, wrongly too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from e2e.load import Target

Event = Callable[[Any], Awaitable[None]]


class Server:
    """Answers every request by its model's name; the tests ask for the fault by that name."""

    def __init__(self) -> None:
        self.url = ""
        self.requests = 0
        self.connections: set[object] = set()
        self.release = asyncio.Event()

    def target(self, fault: str, **more: Any) -> Target:
        return Target(url=self.url, model=fault, **more)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        self.connections.add(request.transport)
        body = await request.json()
        fault = body["model"]
        if fault == "hang":
            await self.release.wait()
        if fault == "drop":
            assert request.transport is not None
            request.transport.abort()
            await asyncio.sleep(0.05)
        if fault.isdecimal():
            error = {"error": {"message": "no room", "type": "overloaded"}}
            return web.json_response(error, status=int(fault), headers={"retry-after": "3"})
        if body.get("stream"):
            return await self.stream(request, fault, body["max_tokens"])
        return self.unary(fault, body["max_tokens"])

    def unary(self, fault: str, tokens: int) -> web.Response:
        headers = {"x-envoy-upstream-service-time": "4", "x-unasked": "1"}
        if fault == "not json":
            return web.Response(text="<html>", headers=headers)
        choice = {"message": {"content": "words"}, "finish_reason": "length"}
        if fault == "abort":
            choice = {"message": {"content": ""}, "finish_reason": "abort"}
            tokens = 0
        count = tokens - 1 if fault == "short" else tokens
        return web.json_response(
            {"choices": [choice], "usage": {"completion_tokens": count}}, headers=headers
        )

    async def stream(self, request: web.Request, fault: str, tokens: int) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)

        async def event(data: Any) -> None:
            text = data if isinstance(data, str) else json.dumps(data)
            # In two writes, so that the client has to join what belongs together.
            half = f"data: {text}\r\n\r\n".encode()
            await response.write(half[:7])
            await response.write(half[7:])

        if fault == "slow":
            await response.write(b": held\n\n: held\n\n")
            await self.release.wait()
        await event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        for number in range(tokens):
            if number == tokens // 2 and await self.breaks_off(request, fault, event):
                return response
            await event({"choices": [{"delta": {"content": f"w{number} "}}]})
        if fault != "no finish":
            await event({"choices": [{"delta": {}, "finish_reason": "length"}]})
        if fault != "no usage":
            await event({"choices": [], "usage": {"completion_tokens": tokens}})
        if fault != "no done":
            await event("[DONE]")
        return response

    async def breaks_off(self, request: web.Request, fault: str, event: Event) -> bool:
        """What happens half-way through a stream; whether it is the end of it."""
        if fault == "cut":
            assert request.transport is not None
            request.transport.abort()
        if fault == "silent":
            await self.release.wait()
        if fault == "error event":
            await event({"error": {"message": "the engine died"}})
        return fault in {"cut", "end early", "error event"}
