"""Stand-ins for pods: the pages that the operator reads, on loopback addresses of their own.

There is no kubelet, so a test tells the API server that a pod is Ready at such an address, and a
small real server answers there on the pod's own port.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from stoker.naming import Component
from stoker.render.frontend_input import PATH_LOAD, FrontendPorts
from stoker_worker import contract
from tests.integration.operator.support import wait_for

if TYPE_CHECKING:
    from typing import Self

    from tests.support.controlplane import ControlPlane

# The ports are fixed, so each checkout that tests on this machine has addresses of its own.
_ADDRESSES = (f"127.{os.getpid() % 250 + 2}.250.{number}" for number in itertools.count(1))


class Page:
    """A server with one page. `body` overrides what it answers; None hangs.

    `asked` is how often it has answered.
    """

    port: int
    path: str

    def __init__(self) -> None:
        self.address = next(_ADDRESSES)
        self.body: str | None = ""
        self.asked = 0
        page = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if page.body is None:
                    time.sleep(3)
                answer = (page.body or page.answer()).encode()
                self.send_response(200 if self.path == page.path else 404)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                page.asked += 1

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((self.address, self.port), Handler)
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self) -> str:
        """What the page says."""
        raise NotImplementedError


class Frontend(Page):
    """The statistics of a frontend."""

    port = FrontendPorts().ops
    path = PATH_LOAD

    def __init__(self) -> None:
        super().__init__()
        self.active = 0
        self.total = 0

    def answer(self) -> str:
        stats = {
            "cluster.track_stable.upstream_rq_active": self.active,
            "cluster.track_stable.upstream_rq_total": self.total,
            "cluster.engines_stable.upstream_rq_active": 0,
        }
        entries = [{"name": name, "value": value} for name, value in stats.items()]
        return json.dumps({"stats": entries})

    def request(self) -> None:
        """A request comes and is held."""
        self.total += 1
        self.active += 1


class Engine(Page):
    """The load page of an engine's worker; `kv_tokens` is the size of its cache, where told."""

    port = contract.WORKER_PORT
    path = contract.PATH_LOAD

    def __init__(self, kv_tokens: int | None = None) -> None:
        super().__init__()
        self.kv_tokens = kv_tokens
        self.running = 0
        self.waiting = 0
        self.cache: float | None = None  # share of its KV cache in use
        self.times = ""  # lines of its histograms
        self.owner = ""  # pod and uid that it says it is, as labels

    def answer(self) -> str:
        counts = {"running": self.running, "waiting": self.waiting}
        text = f'stoker_worker_load_info{{contract="1"{self.owner},engine="vllm"}} 1\n'
        text += "".join(
            f"# TYPE vllm:num_requests_{name} gauge\n"
            f'vllm:num_requests_{name}{{engine="0"}} {count}\n'
            for name, count in counts.items()
        )
        if self.cache is not None:
            text += f'vllm:kv_cache_usage_perc{{engine="0"}} {self.cache}\n'
        if self.kv_tokens is not None:
            cache = f'kv_cache_size_tokens="{self.kv_tokens}",num_gpu_blocks="1",block_size="16"'
            text += f"vllm:cache_config_info{{{cache}}} 1.0\n"
        return text + self.times


def make_ready(
    plane: ControlPlane, namespace: str, service: str, component: Component, page: Page
) -> None:
    """Say that the service's pod of that kind is Ready, and answers where the page is."""
    selector = f"stoker.dev/component={component.value},stoker.dev/service={service}"

    def pod() -> str | None:
        found = plane.get("pods", "-n", namespace, "-l", selector)["items"]
        return str(found[0]["metadata"]["name"]) if found else None

    make_pod_ready(
        plane, namespace, wait_for(f"{component.value} pod of {service}", pod), page.address
    )


def make_pod_ready(plane: ControlPlane, namespace: str, pod: str, address: str) -> None:
    """Say that this pod is Ready, and answers there."""
    status = {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    plane.kubectl(
        *("patch", "pod", pod, "-n", namespace, "--subresource=status", "--type=merge"),
        *("-p", json.dumps({"status": status})),
    )
