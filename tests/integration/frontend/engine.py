"""A server that talks like an engine: completions, streams, and the metrics that pickers read.

Behaviour comes as JSON in the third argument and can be changed by POST /behave:
`seconds` per answer, `tokens` per stream, `slots` computed at once (more wait and are reported as
waiting), `status` to answer with instead, `reset` to cut the connection before the first byte.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from aiohttp import web


class Engine:
    """State of the server."""

    def __init__(self, name: str, behaviour: dict[str, Any]) -> None:
        self.name = name
        self.behaviour: dict[str, Any] = {
            "seconds": 0.0,
            "tokens": 4,
            "slots": 64,
            "status": 200,
            "reset": False,
        }
        self.behaviour.update(behaviour)
        self.running = self.waiting = self.seen = self.most_waiting = 0
        self.slots = asyncio.Semaphore(self.behaviour["slots"])

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request of the API."""
        body = await request.read()
        self.seen += 1
        if self.behaviour["reset"]:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if self.behaviour["status"] != 200:
            return web.json_response(
                {"error": {"message": "draining"}}, status=self.behaviour["status"]
            )
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            await self.slots.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            return await self._compute(request, body)
        finally:
            self.running -= 1
            self.slots.release()

    async def _compute(self, request: web.Request, body: bytes) -> web.StreamResponse:
        wanted = json.loads(body)
        headers = {
            "x-engine": self.name,
            "x-seen-headers": json.dumps(
                {key.lower(): value for key, value in request.headers.items()}
            ),
            "x-body-bytes": str(len(body)),
        }
        if not wanted.get("stream"):
            await asyncio.sleep(self.behaviour["seconds"])
            return web.json_response(
                {
                    "model": wanted["model"],
                    "choices": [{"text": "upon", "finish_reason": "length"}],
                },
                headers=headers,
            )
        response = web.StreamResponse(headers={**headers, "content-type": "text/event-stream"})
        await response.prepare(request)
        tokens = self.behaviour["tokens"]
        for number in range(tokens):
            await asyncio.sleep(self.behaviour["seconds"] / tokens)
            chunk = {"choices": [{"text": f"t{number}", "finish_reason": None}]}
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    async def metrics(self, _: web.Request) -> web.Response:
        """The gauges that the picker wants."""
        label = '{engine="0",model_name="tiny"}'
        lines = [
            "# TYPE vllm:num_requests_running gauge",
            f"vllm:num_requests_running{label} {self.running}",
            "# TYPE vllm:num_requests_waiting gauge",
            f"vllm:num_requests_waiting{label} {self.waiting}",
            "# TYPE vllm:kv_cache_usage_perc gauge",
            f"vllm:kv_cache_usage_perc{label} 0.1",
            "# TYPE vllm:cache_config_info gauge",
            'vllm:cache_config_info{block_size="16",num_gpu_blocks="1000"} 1',
        ]
        return web.Response(text="\n".join(lines) + "\n")

    async def behave(self, request: web.Request) -> web.Response:
        """Change the behaviour."""
        self.behaviour.update(await request.json())
        return web.json_response(
            {
                "seen": self.seen,
                "running": self.running,
                "waiting": self.waiting,
                "most_waiting": self.most_waiting,
            }
        )


def main() -> None:
    """Serve until killed."""
    name, address, behaviour = sys.argv[1:4]
    engine = Engine(name, json.loads(behaviour))
    app = web.Application(client_max_size=1 << 30)
    app.router.add_get("/metrics", engine.metrics)
    app.router.add_post("/behave", engine.behave)
    app.router.add_post("/{path:.*}", engine.answer)
    web.run_app(app, host=address, port=8000, print=None, access_log=None)


if __name__ == "__main__":
    main()
