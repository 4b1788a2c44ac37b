"""What is switched on, started and ended together; the libraries are loaded only for what is."""

import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

from aiohttp import web

from stoker.errors import StokerError
from stoker.external.certificates import KeyPair
from stoker.external.figures import NoFigures, to_json
from stoker.external.frontproxy import CONFIG_MAP, FrontProxy, front_proxy_of
from stoker.external.source import PATH_FIGURES, Source
from stoker.model.observed import Key
from stoker.settings import ExternalScalersSettings

_log = logging.getLogger(__name__)

Read = Callable[[str], Awaitable[Mapping[str, Any]]]  # an object of the cluster, by its path


class _Server(Protocol):
    async def start(self, host: str | None, port: int) -> None: ...

    async def close(self) -> None: ...


class ExternalServers:
    """The servers of one process; none by default."""

    def __init__(self, settings: ExternalScalersSettings, source: Source, read: Read) -> None:
        self._settings = settings
        self._source = source
        self._read = read
        self._running: list[_Server] = []

    def routes(self) -> Iterable[web.RouteDef]:
        """What the operator's own server answers to its other replicas."""
        if self._settings.keda.enabled or self._settings.hpa.enabled:
            yield web.get(f"{PATH_FIGURES}/{{namespace}}/{{name}}", self._serve_figures)

    async def start(self, host: str | None) -> None:
        """Listen; `StokerError` where a port or a certificate cannot be used."""
        keda, hpa = self._settings.keda, self._settings.hpa
        if keda.enabled:
            # gRPC takes 27 MiB of memory, so who has no KEDA does not load it. Its core would write
            # plain lines into a log that is JSON, one for each handshake that fails.
            os.environ.setdefault("GRPC_VERBOSITY", "NONE")
            from stoker.external.keda import KedaServer  # noqa: PLC0415

            keys = KeyPair(keda.certificate) if keda.certificate else None
            await self._start(
                KedaServer(self._source, keys, verify_clients=keda.verify_clients), host, keda.port
            )
        if hpa.enabled and hpa.certificate is not None:
            from stoker.external.hpa import HpaServer  # noqa: PLC0415

            async def trust() -> FrontProxy:
                return front_proxy_of(await self._read(CONFIG_MAP))

            await self._start(
                HpaServer(self._source, KeyPair(hpa.certificate), trust), host, hpa.port
            )

    async def close(self) -> None:
        """Stop listening."""
        for server in self._running:
            await server.close()
        await self._source.close()

    async def _start(self, server: _Server, host: str | None, port: int) -> None:
        self._running.append(server)
        await server.start(host, port)
        _log.info(
            "tells other autoscalers on port %d", port, extra={"reason": type(server).__name__}
        )

    async def _serve_figures(self, request: web.Request) -> web.Response:
        key = Key(request.match_info["namespace"], request.match_info["name"])
        try:
            figures = await self._source.figures(key, forwarded=True)
        except NoFigures as error:
            return web.json_response({"message": str(error)}, status=503)
        except StokerError as error:
            return web.json_response({"message": str(error)}, status=404)
        return web.json_response(to_json(figures))
