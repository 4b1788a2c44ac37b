"""`external.metrics.k8s.io/v1beta1`, served behind the API server for HorizontalPodAutoscalers.

The API server is the only client: it has authenticated and authorised whoever asks before it passes
the request on, and shows a certificate of its front proxy, without which no connection comes about
(`frontproxy`). Every replica of the operator answers what kinds there are by itself: while that has
no answer, Kubernetes cannot finish deleting any namespace. Values come from `Source`; an unknown
one is an error with words, which the HPA shows in its condition `ScalingActive`, and keeps its
number of replicas.
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from stoker.errors import NotFound, StokerError
from stoker.external.certificates import KeyPair
from stoker.external.figures import AskedWrongly, Metric, NoFigures, metric_of, service_of
from stoker.external.frontproxy import FrontProxy, make_context
from stoker.external.source import Source
from stoker.model.observed import Key

_log = logging.getLogger(__name__)

GROUP: Final = "external.metrics.k8s.io"
VERSION: Final = "v1beta1"
_ROOT: Final = f"/apis/{GROUP}/{VERSION}"
_REFRESH_S: Final = 60.0
_RETRY_S: Final = 5.0
_ERRORS: Final = (
    (AskedWrongly, 400, "BadRequest"),
    (NotFound, 404, "NotFound"),
    (NoFigures, 503, "ServiceUnavailable"),
)

ReadTrust = Callable[[], Awaitable[FrontProxy]]


class HpaServer:
    """Serves once it knows whom to trust, until closed."""

    def __init__(self, source: Source, keys: KeyPair, read_trust: ReadTrust) -> None:
        self._source = source
        self._keys = keys
        self._read_trust = read_trust
        self._trust: FrontProxy | None = None
        self._refreshing: asyncio.Task[None] | None = None
        application = web.Application(client_max_size=1024, middlewares=[self._guard])
        application.add_routes(
            [
                web.get(_ROOT, _serve_resources),
                web.get(f"/apis/{GROUP}", _serve_group),
                web.get("/openapi/v2", _serve_openapi),
                web.get(f"{_ROOT}/namespaces/{{namespace}}/{{metric}}", self._serve_values),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)

    async def start(self, host: str | None, port: int) -> None:
        """Begin; listening starts when the API server has told whom to trust."""
        self._keys.read()  # a missing key pair ends the start, not a later handshake
        await self._runner.setup()
        self._refreshing = asyncio.create_task(self._keep(host, port), name="front proxy")

    async def close(self) -> None:
        """Stop listening."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._refreshing
        await self._runner.cleanup()

    async def _keep(self, host: str | None, port: int) -> None:
        """Listen anew whenever the key pair or the trust has changed."""
        site: web.TCPSite | None = None
        used: object = None
        while True:
            try:
                wanted = (await self._read_trust(), self._keys.read())
                if wanted != used:
                    context = make_context(wanted[0], self._keys)
                    if site is not None:
                        await site.stop()
                    self._trust = wanted[0]
                    site = web.TCPSite(self._runner, host, port, ssl_context=context)
                    await site.start()
                    used = wanted
            except (StokerError, OSError, ssl.SSLError) as error:
                _log.warning(
                    "external metrics: %s", error, extra={"reason": "ExternalMetricsNotServed"}
                )
                await asyncio.sleep(_RETRY_S)
            else:
                await asyncio.sleep(_REFRESH_S)

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Nobody but the front proxy, and errors in the words of the API."""
        certificate = None
        if request.transport is not None:
            certificate = request.transport.get_extra_info("peercert")
        if self._trust is None or not self._trust.allows(certificate):
            return _failure(403, "Forbidden", "this certificate is not the front proxy's")
        try:
            return await handler(request)
        except StokerError as error:
            for kind, code, reason in _ERRORS:
                if isinstance(error, kind):
                    return _failure(code, reason, str(error))
            raise
        except web.HTTPException as error:
            return _failure(error.status, error.reason, f"{request.path}: {error.reason}")

    async def _serve_values(self, request: web.Request) -> web.Response:
        metric = metric_of(request.match_info["metric"], "metric.name")
        name = service_of(request.query.get("labelSelector", ""))
        figures = await self._source.figures(Key(request.match_info["namespace"], name))
        item = {
            "metricName": metric.value,
            "metricLabels": {"service": name},
            "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "value": str(figures.value(metric)),
        }
        return _answer("ExternalMetricValueList", {"metadata": {}, "items": [item]})


async def _serve_resources(_request: web.Request) -> web.Response:
    resources = [
        {
            "name": metric.lower(),
            "singularName": "",
            "namespaced": True,
            "kind": "ExternalMetricValueList",
            "verbs": ["get"],
        }
        for metric in Metric
    ]
    group_version = f"{GROUP}/{VERSION}"
    return _answer(
        "APIResourceList", {"groupVersion": group_version, "resources": resources}, version="v1"
    )


async def _serve_group(_request: web.Request) -> web.Response:
    version = {"groupVersion": f"{GROUP}/{VERSION}", "version": VERSION}
    body = {"name": GROUP, "versions": [version], "preferredVersion": version}
    return _answer("APIGroup", body, version="v1")


async def _serve_openapi(_request: web.Request) -> web.Response:
    """Nothing to describe; without an answer the API server logs an error every minute."""
    info = {"title": "Stoker", "version": VERSION}
    return web.json_response({"swagger": "2.0", "info": info, "paths": {}})


def _answer(
    kind: str, body: dict[str, Any], *, version: str = f"{GROUP}/{VERSION}", status: int = 200
) -> web.Response:
    return web.json_response({"kind": kind, "apiVersion": version, **body}, status=status)


def _failure(code: int, reason: str, message: str) -> web.Response:
    body = {
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    return _answer("Status", body, version="v1", status=code)
