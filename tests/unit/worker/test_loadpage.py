"""The page for whoever scales: asked of the engine, kept when it is late, over kept connections."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from stoker_worker import loadpage
from stoker_worker.client import EngineClient
from stoker_worker.contract import PATH_LOAD, WorkerConfig
from stoker_worker.engines import Request
from stoker_worker.engines.vllm import Vllm
from stoker_worker.loadpage import Identity, LoadPage
from stoker_worker.server import Pending, Response, Server

METRICS = (Path(__file__).parent / "data" / "metrics.txt").read_bytes()
IDENTITY = Identity("pod-1", "uid-1", "vllm", 1_790_000_000.0)


class Engine(EngineClient):
    """A client whose engine answers as the test says."""

    def __init__(self) -> None:
        super().__init__(WorkerConfig("vllm", "/m", ["m"]), Vllm(), {})
        self.metrics: bytes | None = METRICS
        self.asked: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def read(self, request: Request, timeout_s: float) -> bytes | None:
        self.asked.append(request.path)
        assert self.gate.wait(30)
        assert timeout_s < 1
        return b'{"version": "0.32.0"}' if request.path == "/version" else self.metrics


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def page(engine: Engine) -> LoadPage:
    return LoadPage(engine, Vllm(), IDENTITY)


def test_whose_it_is_and_the_engines_own_lines(page: LoadPage, engine: Engine) -> None:
    answer = page.look()
    first, start, age, *lines = answer.body.splitlines()
    assert answer.status == 200
    assert first == (
        'stoker_worker_load_info{contract="1",pod="pod-1",uid="uid-1",engine="vllm",'
        'version="0.32.0"} 1'
    )
    assert start == "stoker_worker_engine_start_time_seconds 1790000000.000"
    assert age.startswith("stoker_worker_load_age_seconds 0.")
    assert lines
    assert set(lines) <= set(METRICS.decode().splitlines())
    assert engine.asked == ["/metrics", "/version"]


def test_the_version_is_asked_once_and_fresh_lines_are_not_asked_again(
    page: LoadPage, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.look()
    page.look()
    assert engine.asked == ["/metrics", "/version"]
    monkeypatch.setattr(loadpage, "FRESH_S", 0.0)
    page.look()
    assert engine.asked == ["/metrics", "/version", "/metrics"]


def test_a_late_engine_leaves_the_last_lines_with_their_age(
    page: LoadPage, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loadpage, "FRESH_S", 0.0)
    engine.metrics = None
    assert page.look().status == 503
    page.take(METRICS)  # the heartbeat waited longer
    time.sleep(0.05)
    body = page.look().body
    assert "vllm:num_requests_running" in body
    assert float(body.splitlines()[2].split()[1]) >= 0.05
    monkeypatch.setattr(loadpage, "OLD_S", 0.0)
    assert page.look().status == 503


def served(answer: Pending) -> int:
    server = Server("127.0.0.1", 0, lambda path: answer if path == PATH_LOAD else Response(200, ""))
    server.start()
    return server.port


def test_nobody_waits_for_a_page_that_is_not_there_yet() -> None:
    pending = Pending()
    port = served(pending)
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as slow:
        slow.request("GET", PATH_LOAD)
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as probe:
            probe.request("GET", "/livez")
            assert probe.getresponse().status == 200
        pending.give(Response(200, "here\n"))
        assert slow.getresponse().read() == b"here\n"


def test_a_client_that_leaves_early_harms_nobody() -> None:
    pending = Pending()
    port = served(pending)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port)) as early:
            early.sendall(b"GET /load HTTP/1.1\r\nHost: x\r\n\r\n")
    pending.give(Response(200, "here\n"))
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as probe:
        probe.request("GET", PATH_LOAD)
        assert probe.getresponse().read() == b"here\n"


def test_all_who_ask_at_once_get_one_look(page: LoadPage, engine: Engine) -> None:
    engine.gate.clear()
    page.start()
    waiting = [page.ask() for _ in range(20)]
    engine.gate.set()
    for pending in waiting:
        done = threading.Event()
        while pending.taken(done.set) is None:
            assert done.wait(30)
    assert engine.asked.count("/metrics") == 1


def test_a_connection_serves_many_requests_and_ends_when_asked_to() -> None:
    port = served(Pending())
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as client:
        client.request("GET", "/one")
        client.getresponse().read()
        kept = client.sock
        client.request("GET", "/two")
        client.getresponse().read()
        assert client.sock is kept is not None
        client.request("GET", "/three", headers={"Connection": "close"})
        answer = client.getresponse()
        assert (answer.read(), answer.headers["Connection"]) == (b"", "close")
    with socket.create_connection(("127.0.0.1", port), timeout=30) as old:
        old.sendall(b"GET / HTTP/1.0\r\n\r\n")
        received = b""
        while data := old.recv(4096):
            received += data
        assert b"Connection: close" in received


def test_a_body_is_not_taken_for_the_next_request() -> None:
    port = served(Pending())
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(
            b"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 24\r\n\r\nGET /secret HTTP/1.1\r\n\r\n"
        )
        received = b""
        while data := client.recv(4096):
            received += data
        assert received.count(b"HTTP/1.1 200") == 1
