"""The way to a service: direct where somebody listens, else through a tunnel."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from e2e.demo.reach import Reach, forwarded_port, listens


def test_port_that_kubectl_chose() -> None:
    assert forwarded_port("Forwarding from 127.0.0.1:41234 -> 8080\n") == 41234
    assert forwarded_port("Forwarding from [::1]:41234 -> 8080\n") is None
    assert forwarded_port("error: unable to forward port") is None


class Stub:
    """As much of a stack as a way needs."""

    def __init__(self, address: str, kubectl: str = "/bin/false") -> None:
        self._address = address
        self.pods: list[dict[str, Any]] = []
        self.cluster = SimpleNamespace(
            mode="current", programs={"kubectl": Path(kubectl)}, environment=dict
        )

    def address(self, *_: str) -> str:
        return self._address

    def engine_pods(self, *_: str) -> list[dict[str, Any]]:
        return self.pods


@pytest.fixture
def listener() -> Any:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"


@pytest.fixture
def nobody() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}/v1"


def reach(stub: Stub) -> Reach:
    return Reach(stub, "tiny", "demo")  # type: ignore[arg-type]


def test_direct_way_is_taken(listener: str) -> None:
    assert listens(listener)
    way = reach(Stub(listener))
    assert way.url() == listener
    assert not way.tunnelled


def test_tunnel_where_the_address_is_out_of_reach(nobody: str, tmp_path: Path) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\necho 'Forwarding from 127.0.0.1:4321 -> 8080'\nexec sleep 60\n")
    kubectl.chmod(0o755)
    way = reach(Stub(nobody, str(kubectl)))
    assert way.url() == "http://127.0.0.1:4321/v1"
    assert way.tunnelled
    assert way.engine_url() is None, "past the frontend there is no tunnel"
    way.close()


def test_neither_way(nobody: str, tmp_path: Path) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\necho 'error: no pod is running'\nexit 1\n")
    kubectl.chmod(0o755)
    way = reach(Stub(nobody, str(kubectl)))
    with pytest.raises(AssertionError, match="no pod is running"):
        way.url()
    way.close()


def test_engine_that_is_leaving_is_not_measured(listener: str) -> None:
    stub = Stub(listener)
    stub.pods = [
        {"metadata": {"deletionTimestamp": "now"}, "status": {"podIP": "127.0.0.1"}},
        {"metadata": {}, "status": {}},
    ]
    assert reach(stub).engine_url() is None
