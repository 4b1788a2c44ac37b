"""The operator's own small server: /metrics, /healthz, /readyz, and hints from frontends.

healthz asks whether this process can still do its work, readyz whether it knows the cluster; a
standby that knows it is ready, so that it can take over and so that a rollout of the operator goes
on. A hint names a service and nothing else: it makes the operator look, and whoever sends it can
make it look at most twenty times a second. A standby passes hints on (`telemetry.hints`).
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from aiohttp import web

from stoker.model.observed import Key
from stoker.render.envoy_notify import PATH_NOTIFY
from stoker.telemetry.hints import HEADER_FORWARDED, Hints
from stoker.telemetry.metrics import Metrics

PORT: Final = 8080

Probe = Callable[[], str | None]  # None: fine; else what is wrong


class Server:
    """Serves until closed."""

    def __init__(
        self,
        metrics: Metrics,
        health: Probe,
        ready: Probe,
        hints: Hints,
        more: Iterable[web.RouteDef] = (),
    ) -> None:
        self._metrics = metrics
        self._hints = hints
        application = web.Application(client_max_size=1024)
        application.add_routes(
            [
                web.get("/metrics", self._serve_metrics),
                web.get("/healthz", _probe_handler(health)),
                web.get("/readyz", _probe_handler(ready)),
                web.post(f"{PATH_NOTIFY}/{{namespace}}/{{name}}", self._serve_hint),
                *more,
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)

    async def start(self, host: str | None, port: int) -> None:
        """Listen."""
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        accept = request.headers.get("Accept", "")
        page = await self._metrics.page(accept, request.headers.get("Accept-Encoding", ""))
        return web.Response(body=page.body, headers=page.headers)

    async def _serve_hint(self, request: web.Request) -> web.Response:
        key = Key(request.match_info["namespace"], request.match_info["name"])
        taken = await self._hints.take(key, forwarded=HEADER_FORWARDED in request.headers)
        return web.Response(status=202 if taken else 404)


def _probe_handler(probe: Probe) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_request: web.Request) -> web.Response:
        problem = probe()
        return web.Response(text=problem or "ok", status=503 if problem else 200)

    return answer
