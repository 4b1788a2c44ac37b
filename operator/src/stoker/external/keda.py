"""KEDA's external scaler: the four calls that it makes, each answered from `Source`.

`IsActive` and its stream decide between zero and one, so they ask whether any request is in
progress, whatever the metric: a service whose queue is empty may still be computing. `GetMetrics`
is the number that KEDA's HPA divides by the target. The stream says only what is known, first once
and then at each change; `StreamMetricSpec`, which is optional, is not there, since targets stand in
the trigger.

Errors are statuses with words: INVALID_ARGUMENT and NOT_FOUND are for whoever wrote the trigger,
UNAVAILABLE means ask again. KEDA takes every error for "no metric": it keeps the replicas or acts
on the trigger's `fallback`.
"""

import asyncio
import contextlib
import logging
import math
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
import grpc.aio

from stoker.errors import NotFound, StokerError
from stoker.external import wire
from stoker.external.certificates import KeyPair
from stoker.external.figures import AskedWrongly, Figures, NoFigures, Question, question_of
from stoker.external.source import Source
from stoker.model.observed import Key
from stoker.render.addresses import host_port

_log = logging.getLogger(__name__)

# KEDA keeps one connection and, for each push trigger, one stream.
_STREAMS: Final = 2000
_MESSAGE_LIMIT: Final = 64 * 1024
_GRACE_S: Final = 0.5
_CLOSE_S: Final = 2.0
_CODES: Final = (
    (AskedWrongly, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (NoFigures, grpc.StatusCode.UNAVAILABLE),
)

_Context = grpc.aio.ServicerContext[Any, Any]


class _Across:
    """The source, which lives in the process's loop, asked from the server's."""

    def __init__(self, source: Source, home: asyncio.AbstractEventLoop) -> None:
        self._source = source
        self._home = home

    async def figures(self, key: Key) -> Figures:
        asked = asyncio.run_coroutine_threadsafe(self._source.figures(key), self._home)
        return await asyncio.wrap_future(asked)

    async def wait(self, key: Key) -> None:
        waiting = asyncio.run_coroutine_threadsafe(self._source.wait(key), self._home)
        await asyncio.wrap_future(waiting)


class ExternalScaler:
    """The calls of one server."""

    def __init__(self, source: _Across) -> None:
        self._source = source

    async def is_active(self, request: Any) -> Any:  # noqa: ANN401
        """Whether the service has anything to do."""
        _, figures = await self._ask(request)
        return wire.message("IsActiveResponse")(result=figures.is_active())

    async def stream_is_active(self, request: Any) -> AsyncIterator[Any]:  # noqa: ANN401
        """The same at once, and at each change."""
        key, _ = _read(request)
        told: bool | None = None
        while True:
            try:
                active = (await self._source.figures(key)).is_active()
            except NoFigures as error:
                _log.debug("no push: %s", error, extra={"key": str(key), "reason": "NoFigures"})
            else:
                if active is not told:
                    told = active
                    yield wire.message("IsActiveResponse")(result=active)
            await self._source.wait(key)

    async def get_metric_spec(self, request: Any) -> Any:  # noqa: ANN401
        """The metric's name, and what one replica takes."""
        _, question = _read(request)
        spec = {
            "metricName": question.metric.value,
            "targetSize": math.ceil(question.target),
            "targetSizeFloat": question.target,
        }
        return wire.message("GetMetricSpecResponse")(metricSpecs=[spec])

    async def get_metrics(self, request: Any) -> Any:  # noqa: ANN401
        """The metric's value."""
        question, figures = await self._ask(request.scaledObjectRef)
        number = figures.value(question.metric)
        # KEDA's HPA asks by the name that it was told, which an edited trigger may have changed.
        name = request.metricName or question.metric.value
        value = {"metricName": name, "metricValue": number, "metricValueFloat": float(number)}
        return wire.message("GetMetricsResponse")(metricValues=[value])

    async def _ask(self, reference: Any) -> tuple[Question, Figures]:  # noqa: ANN401
        key, question = _read(reference)
        return question, await self._source.figures(key)


def _read(reference: Any) -> tuple[Key, Question]:  # noqa: ANN401
    """KEDA fills in the namespace, so a trigger cannot name a service of another one."""
    question = question_of({entry.key: entry.value for entry in reference.scalerMetadata})
    return Key(reference.namespace, question.service), question


class KedaServer:
    """Serves until closed; in the clear without a key pair.

    In a loop and a thread of its own: Kopf, when it ends, cancels every task of its loop, and
    gRPC's library crashes when it loses its own.
    """

    def __init__(self, source: Source, keys: KeyPair | None, *, verify_clients: bool) -> None:
        self._source = source
        self._keys = keys
        self._verify = verify_clients
        self._server: grpc.aio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="keda", daemon=True)

    async def start(self, host: str | None, port: int) -> None:
        """Listen; `StokerError` where the port or the key pair cannot be used."""
        self._thread.start()
        source = _Across(self._source, asyncio.get_running_loop())
        serving = self._serve(source, host_port(host or "::", port))
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(serving, self._loop))

    async def close(self) -> None:
        """Stop listening; streams end."""
        if self._thread.is_alive():
            stopping = asyncio.run_coroutine_threadsafe(self._stop(), self._loop)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.wrap_future(stopping), _CLOSE_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
            await asyncio.to_thread(self._thread.join, _CLOSE_S)
        if not self._thread.is_alive():
            self._loop.close()

    async def _serve(self, source: _Across, address: str) -> None:
        server = grpc.aio.server(
            maximum_concurrent_rpcs=_STREAMS,
            options=[
                ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
                ("grpc.so_reuseport", 0),  # a second process on the port is an error
            ],
        )
        server.add_generic_rpc_handlers((_handlers(ExternalScaler(source)),))
        try:
            if self._keys is None:
                server.add_insecure_port(address)
            else:
                server.add_secure_port(address, _credentials(self._keys, self._verify))
        except RuntimeError as error:
            raise StokerError(f"the port {address} for KEDA cannot be used: {error}") from error
        await server.start()
        self._server = server

    async def _stop(self) -> None:
        if self._server is not None:
            await self._server.stop(_GRACE_S)


def _credentials(keys: KeyPair, verify: bool) -> grpc.ServerCredentials:  # noqa: FBT001
    """Read at each handshake whether there is a new pair, so that a renewed one is used."""
    seen = keys.read()

    def configuration() -> grpc.ServerCertificateConfiguration:
        authority = seen.authority if verify else None
        return grpc.ssl_server_certificate_configuration([(seen.key, seen.certificate)], authority)

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal seen
        now = keys.read()
        if now == seen:
            return None
        seen = now
        return configuration()

    return grpc.dynamic_ssl_server_credentials(
        configuration(),
        renewed,  # type: ignore[arg-type]  # None means unchanged, which the stub does not know
        require_client_authentication=verify,
    )


def _handlers(scaler: ExternalScaler) -> grpc.GenericRpcHandler:
    """The calls by name. Whoever calls another gets UNIMPLEMENTED, as the protocol has it."""
    reference = wire.message("ScaledObjectRef").FromString
    asked = wire.message("GetMetricsRequest").FromString
    unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    active = wire.message("IsActiveResponse").SerializeToString
    specs = wire.message("GetMetricSpecResponse").SerializeToString
    values = wire.message("GetMetricsResponse").SerializeToString
    calls = {
        "IsActive": unary(_worded(scaler.is_active), reference, active),
        "StreamIsActive": stream(_worded_stream(scaler.stream_is_active), reference, active),
        "GetMetricSpec": unary(_worded(scaler.get_metric_spec), reference, specs),
        "GetMetrics": unary(_worded(scaler.get_metrics), asked, values),
    }
    return grpc.method_handlers_generic_handler(wire.SERVICE, calls)


def _worded(call: Callable[[Any], Awaitable[Any]]) -> Callable[[Any, _Context], Awaitable[Any]]:
    """A call whose errors travel as a status with their words."""

    async def answer(request: Any, context: _Context) -> Any:  # noqa: ANN401
        try:
            return await call(request)
        except StokerError as error:
            await context.abort(_code(error), str(error))

    return answer


def _worded_stream(
    call: Callable[[Any], AsyncIterator[Any]],
) -> Callable[[Any, _Context], AsyncIterator[Any]]:
    async def answer(request: Any, context: _Context) -> AsyncIterator[Any]:  # noqa: ANN401
        try:
            async for each in call(request):
                yield each
        except StokerError as error:
            await context.abort(_code(error), str(error))

    return answer


def _code(error: StokerError) -> grpc.StatusCode:
    return next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.UNKNOWN)
