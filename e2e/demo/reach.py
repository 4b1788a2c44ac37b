"""How a client on this machine gets to a service: by its ClusterIP, or through a tunnel.

Where this machine is the node, kube-proxy brings us to a ClusterIP as any pod. A cluster elsewhere
is reached by `kubectl port-forward`, which goes through the API server and has its own latency;
the report says which of the two it was.
"""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from e2e.stack import Stack

_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


def listens(url: str, seconds: float = 2.0) -> bool:
    """Whether somebody accepts a connection there."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname, parts.port or 80), timeout=seconds):
            return True
    except OSError:
        return False


def forwarded_port(line: str) -> int | None:
    """The port that kubectl chose, from the line in which it says so."""
    found = _FORWARDING.search(line)
    return int(found[1]) if found else None


@dataclass
class Reach:
    """Finds the way to one service and keeps it open."""

    stack: Stack
    service: str
    namespace: str
    tunnelled: bool = False
    _tunnel: subprocess.Popen[str] | None = field(default=None, init=False)

    def url(self, seconds: float = 20) -> str:
        """The address for a client here, once a frontend is ready behind it.

        Raises
        ------
        AssertionError
            If neither the ClusterIP nor a tunnel answers.
        """
        direct = self.stack.address(self.service, self.namespace)
        deadline = time.monotonic() + (seconds if self.stack.cluster.mode == "local" else 3)
        while time.monotonic() < deadline:
            if listens(direct):
                return direct
            time.sleep(0.1)
        return self._forward()

    def engine_url(self) -> str | None:
        """The address of a ready engine itself, past the frontend; None where it is out of reach.

        The pod's NetworkPolicy lets its own node in, and nobody else but the frontend.
        """
        for pod in self.stack.engine_pods(self.service, self.namespace):
            url = f"http://{pod['status'].get('podIP', '')}:8000/v1"
            if not self.tunnelled and "deletionTimestamp" not in pod["metadata"] and listens(url):
                return url
        return None

    def close(self) -> None:
        """End the tunnel."""
        if self._tunnel is None:
            return
        with self._tunnel as tunnel:  # its pipe is closed at the end
            tunnel.send_signal(signal.SIGINT)
            try:
                tunnel.wait(5)
            except subprocess.TimeoutExpired:
                tunnel.kill()
        self._tunnel = None

    def _forward(self) -> str:
        cluster = self.stack.cluster
        self._tunnel = subprocess.Popen(
            [
                cluster.programs["kubectl"], "port-forward", "-n", self.namespace,
                f"service/{self.service}", ":80",
            ],
            env=cluster.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        said = ""
        assert self._tunnel.stdout is not None
        for line in self._tunnel.stdout:
            said += line
            port = forwarded_port(line)
            if port is not None:
                self.tunnelled = True
                return f"http://127.0.0.1:{port}/v1"
        raise AssertionError(f"the service cannot be reached from here: {said.strip()}")
