"""What the pods of a healthy service answer the doctor, who comes through a kubelet."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from aiohttp import web

from stoker.render.frontend_input import FrontendPorts
from stoker_worker import contract
from tests.integration.operator.kubelet import NODE, Kubelet
from tests.integration.operator.planting import pods, say
from tests.support.controlplane import LOOPBACK, free_port
from tests.support.serving import serving

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tests.support.controlplane import ControlPlane

PORTS = FrontendPorts()


class Answers:
    """The page of an engine, whose counters go on with each look, and the service itself."""

    def __init__(self) -> None:
        self.port = free_port()
        self.status = 200
        self._looks = itertools.count(1)

    def serving(self) -> AbstractContextManager[None]:
        """Answer until the block ends."""
        application = web.Application()
        application.router.add_get("/metrics", self._metrics)
        application.router.add_post("/v1/completions", self._complete)
        return serving(application, self.port)

    async def _metrics(self, _: web.Request) -> web.Response:
        look = next(self._looks)
        lines = [
            'vllm:num_requests_running{engine="0"} 12',
            'vllm:num_requests_waiting{engine="0"} 3',
            'vllm:kv_cache_usage_perc{engine="0"} 0.97',
            f'vllm:generation_tokens_total{{engine="0"}} {1000 * look}',
            f'vllm:prefix_cache_queries_total{{engine="0"}} {2000 * look}',
            f'vllm:prefix_cache_hits_total{{engine="0"}} {500 * look}',
        ]
        return web.Response(text="\n".join(lines) + "\n")

    async def _complete(self, request: web.Request) -> web.Response:
        asked = await request.json()
        assert (asked["model"], asked["max_tokens"]) == ("tiny", 1)
        return web.json_response({"choices": [{"text": "a"}]}, status=self.status)


def run_pods(plane: ControlPlane, namespace: str, kubelet: Kubelet, port: int) -> bool:
    """The scheduler's and the kubelet's part: pods have a node and answer at this port."""
    for pod in (*pods(plane, namespace, "engine"), *pods(plane, namespace, "frontend")):
        name = pod["metadata"]["name"]
        if not pod["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
            binding = {"metadata": {"name": name}, "target": target}
            path = f"/api/v1/namespaces/{namespace}/pods/{name}/binding"
            plane.request("POST", path, {"apiVersion": "v1", "kind": "Binding", **binding})
        ready = {"type": "Ready", "status": "True"}
        say(plane, pod, {"phase": "Running", "conditions": [ready]})
        ports = (PORTS.api, PORTS.stable.metrics, contract.ENGINE_PORT)
        kubelet.ports.update({(name, each): (LOOPBACK, port) for each in ports})
    return bool(kubelet.ports)
