"""A port of a pod on this machine, as `kubectl port-forward` has it, with the user's own rights.

Bytes go over a websocket to the API server, from there to the kubelet, and into the pod's own
network: no NetworkPolicy and no route to the cluster stands in between, unlike with the API
server's proxy, which policies see as a stranger. The protocol (`v4.channel.k8s.io`) has two
channels for a port, data and errors; the first byte of a message says which, and the first message
of each repeats the port. One websocket carries one connection.

It takes the right `get` on pods/portforward, and from Kubernetes 1.35 on `create` too.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import aiohttp

from stoker.cluster.client import Client
from stoker.cluster.kinds import POD
from stoker.errors import ClusterUnavailable, StokerError

_LOOPBACK: Final = "127.0.0.1"
_PROTOCOL: Final = "v4.channel.k8s.io"
_DATA: Final = 0
_ERROR: Final = 1
_PORT_BYTES: Final = 2
_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_CHUNK: Final = 64 * 1024


class Forward:
    """A listener on the loopback whose connections end at a port of a pod."""

    def __init__(self, client: Client, namespace: str, pod: str, port: int) -> None:
        self._client = client
        self._path = POD.path(namespace, pod, "portforward")
        self._query = {"ports": str(port)}
        self._where = f"port {port} of pod {namespace}/{pod}"
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        # Why the last connection came to nothing, for whoever sees only a closed one.
        self.error: StokerError | None = None

    @property
    def root(self) -> str:
        """Where it listens, as the beginning of a URL."""
        assert self._server is not None  # noqa: S101 - used inside of `forwarded` alone
        return f"http://{_LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, _LOOPBACK, 0)

    async def close(self) -> None:
        """Listen no more, and end every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this in a task
        self._tasks.add(task)
        try:
            async with self._client.websocket(self._path, self._query, _PROTOCOL) as socket:
                await _pump(reader, writer, socket, self._where)
        except StokerError as error:
            self.error = error
        except (OSError, aiohttp.ClientError, asyncio.CancelledError):
            # An end of it is gone, which the other one sees; and asyncio takes the cancellation of
            # a connection, which is ours alone to ask for, as a mistake worth logging.
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


async def _pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    socket: aiohttp.ClientWebSocketResponse,
    where: str,
) -> None:
    """Carry bytes both ways until either end closes."""

    async def out() -> None:
        while data := await reader.read(_CHUNK):
            await socket.send_bytes(bytes([_DATA]) + data)
        await socket.close()

    sending = asyncio.create_task(out())
    begun: set[int] = set()
    try:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                continue
            channel, data = message.data[0], message.data[1:]
            if channel not in begun:
                begun.add(channel)
                data = data[_PORT_BYTES:]
            if channel == _ERROR and data:
                said = " ".join(data.decode("utf-8", "replace").split())
                raise ClusterUnavailable(f"{where} cannot be reached: {said[:300]}")
            if channel == _DATA and data:
                writer.write(data)
                await writer.drain()
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError, aiohttp.ClientError):
            await sending


@contextlib.asynccontextmanager
async def forwarded(client: Client, namespace: str, pod: str, port: int) -> AsyncIterator[Forward]:
    """The port of a pod on this machine, for as long as it is used."""
    forward = Forward(client, namespace, pod, port)
    await forward.start()
    try:
        yield forward
    finally:
        await forward.close()


async def may_forward(client: Client, namespace: str | None) -> bool:
    """Whether the user has the right, in a namespace or in all; anybody may ask that of himself.

    Asked before, since a refused websocket costs a connection for each pod.
    """
    attributes = {"verb": "get", "resource": POD.plural, "subresource": "portforward"}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {**attributes, "namespace": namespace or ""}},
    }
    answer = await client.write("POST", _REVIEWS, review)
    return bool((answer.get("status") or {}).get("allowed"))
