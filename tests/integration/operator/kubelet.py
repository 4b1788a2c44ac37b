"""A stand-in for a kubelet: what the API server asks of one for logs and for ports of pods.

The API server, its rights and its way there are real. Behind it answers this small server, in the
words of the kubelet's own API: a log as text, and a port as a websocket with two channels.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from tests.support.authority import Authority
from tests.support.controlplane import LOOPBACK, free_port
from tests.support.serving import serving

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from tests.support.controlplane import ControlPlane

NODE = "node-of-commands"


class Kubelet:
    """Serves one node. `logs` by pod and container, `ports` by pod and port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.logs: dict[tuple[str, str], str] = {}
        self.ports: dict[tuple[str, int], tuple[str, int]] = {}
        self.asked: list[str] = []  # queries of logs
        authority = Authority(folder / "kubelet")
        authority.make()
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(
            folder / "kubelet" / "apiserver.crt", folder / "kubelet" / "apiserver.key"
        )
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._log)
        app.router.add_get("/portForward/{namespace}/{pod}", self._forward)
        app.router.add_get("/portForward/{namespace}/{pod}/{uid}", self._forward)
        self._serving = serving(app, self.port, self._tls)

    def __enter__(self) -> Self:
        self._serving.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.__exit__(None, None, None)

    def register(self, plane: ControlPlane) -> None:
        """Make its node known."""
        status = {
            "addresses": [{"type": "InternalIP", "address": LOOPBACK}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
        }
        body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "status": status}
        code, said = plane.request("POST", "/api/v1/nodes", body)
        assert code == 201, said

    async def _log(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.query_string)
        key = request.match_info["pod"], request.match_info["container"]
        text = self.logs.get(key)
        if text is None:
            return web.Response(status=404)
        if request.query.get("follow") != "true":
            return web.Response(text=text)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        written = 0
        while (text := self.logs.get(key)) is not None:  # a container that ends closes its log
            await response.write(text[written:].encode())
            written = len(text)
            await asyncio.sleep(0.05)
        return response

    async def _forward(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        port = int(request.query["port"])
        for channel in (0, 1):
            await socket.send_bytes(bytes([channel]) + port.to_bytes(2, "little"))
        target = self.ports.get((request.match_info["pod"], port))
        if target is None:
            await socket.send_bytes(b"\x01error forwarding port: connection refused")
            await socket.close()
            return socket
        reader, writer = await asyncio.open_connection(*target)

        async def back() -> None:
            while data := await reader.read(65536):
                await socket.send_bytes(b"\x00" + data)
            await socket.close()

        task = asyncio.create_task(back())
        try:
            async for message in socket:
                if message.type is WSMsgType.BINARY and message.data[0] == 0:
                    writer.write(message.data[1:])
                    await writer.drain()
        finally:
            task.cancel()
            writer.close()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await task
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return socket


def add_pod(
    plane: ControlPlane, namespace: str, name: str, labels: dict[str, str], *containers: str
) -> str:
    """A pod of that node whose containers run; its uid."""
    spec = {
        "nodeName": NODE,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": each,
                "image": "reg/none:1",
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
            for each in containers
        ],
    }
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    path = f"/api/v1/namespaces/{namespace}/pods"
    body: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    code, made = plane.request("POST", path, body)
    assert code == 201, made
    status = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [
            {
                "name": each,
                "image": "reg/none:1",
                "imageID": "",
                "ready": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
            }
            for each in containers
        ],
    }
    code, said = plane.request(
        "PATCH", f"{path}/{name}/status", {"status": status}, kind="application/merge-patch+json"
    )
    assert code == 200, said
    return str(plane.get("pod", name, "-n", namespace)["metadata"]["uid"])
