"""The worker's HTTP server, on a real socket."""

import http.client
import json
import socket
import threading
from contextlib import closing, suppress
from dataclasses import replace

import pytest

from stoker_worker import lifecycle, report
from stoker_worker.contract import (
    PATH_LIVE,
    PATH_METRICS,
    PATH_READY,
    PATH_STATE,
    Termination,
    TerminationReason,
    WorkerConfig,
)
from stoker_worker.events import HealthAnswered, ProbeAnswered
from stoker_worker.manifest import ManifestFile
from stoker_worker.proof import Proof
from stoker_worker.server import MAX_CONNECTIONS, MAX_REQUEST_BYTES, Response, Server
from stoker_worker.state import State


@pytest.fixture(scope="module")
def port() -> int:
    def answer(path: str) -> Response | None:
        return {"/ok": Response(200, "fine\n"), "/big": Response(200, "x" * 1_000_000)}.get(path)

    server = Server("127.0.0.1", 0, answer)
    server.start()
    return server.port


def get(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()


def test_paths_are_answered(port: int) -> None:
    assert get(port, "/ok?verbose") == (200, b"fine\n")
    assert get(port, "/nosuch")[0] == 404
    assert get(port, "/ok", method="POST")[0] == 405
    assert len(get(port, "/big")[1]) == 1_000_000


def test_silent_clients_do_not_keep_a_probe_out(port: int) -> None:
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(2 * MAX_CONNECTIONS)]
    try:
        assert get(port, "/ok")[0] == 200
    finally:
        for connection in idle:
            connection.close()


def test_a_request_without_end_is_cut(port: int) -> None:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection:
        connection.sendall(b"GET /" + b"x" * MAX_REQUEST_BYTES)
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""


def test_many_at_once(port: int) -> None:
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(get(port, "/ok")[0])) for _ in range(32)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [200] * 32


def view(state: State, now: float, **counts: int) -> report.View:
    return report.View("vllm", state, report.Counts(**counts), now, container_started_at=-1.0)


def states() -> tuple[State, State, State]:
    config = WorkerConfig("vllm", "/m", ["m"])
    starting = lifecycle.begin(0)
    warming, _ = lifecycle.step(starting, HealthAnswered(healthy=True), 30, config)
    ready, _ = lifecycle.step(warming, ProbeAnswered(), 30.5, config)
    return starting, warming, ready


def test_only_a_ready_engine_is_ready() -> None:
    starting, warming, ready = states()
    assert report.answer(PATH_READY, view(starting, 1)).status == 503
    assert report.answer(PATH_READY, view(warming, 30)).body == "WarmingUp\n"
    assert report.answer(PATH_READY, view(ready, 31)).status == 200


def test_live_is_about_the_supervisor_alone() -> None:
    starting, *_ = states()
    assert report.answer(PATH_LIVE, view(starting, 59)).status == 200
    assert report.answer(PATH_LIVE, view(starting, 61)).status == 503


def test_state_counts_from_the_containers_start() -> None:
    *_, ready = states()
    state = json.loads(report.answer(PATH_STATE, view(ready, 31)).body)
    assert state["phase"] == "Ready"
    assert state["startSeconds"] == {"engineStarted": 1.0, "healthy": 31.0, "firstToken": 31.5}


def test_a_models_proof_is_told() -> None:
    *_, ready = states()
    proof = Proof(at=0.5, files=5, seconds=0.002, suspects=(ManifestFile("a.safetensors", 1, "0"),))
    shown = replace(view(replace(ready, proven_at=20.0), 31), proof=proof)
    state = json.loads(report.answer(PATH_STATE, shown).body)
    assert state["startSeconds"]["modelProven"] == 21.0
    assert state["model"] == {"files": 5, "hashed": 1, "checkSeconds": 0.002, "proof": "good"}
    text = report.answer(PATH_METRICS, shown).body
    assert 'stoker_worker_model_files{by="state"} 4\n' in text
    assert 'stoker_worker_model_files{by="hash"} 1\n' in text
    assert 'stoker_worker_start_seconds{milestone="modelProven"} 21\n' in text
    waits = replace(shown, state=replace(ready, unproven=True))
    assert json.loads(report.answer(PATH_STATE, waits).body)["model"]["proof"] == "pending"
    killed = replace(ready, outcome=Termination(TerminationReason.MODEL_CORRUPT, "a.safetensors"))
    ended = replace(shown, state=replace(killed, unproven=True))
    assert json.loads(report.answer(PATH_STATE, ended).body)["model"]["proof"] == "bad"
    assert "model" not in json.loads(report.answer(PATH_STATE, view(ready, 31)).body)


def test_metrics_are_prometheus_text() -> None:
    *_, ready = states()
    text = report.answer(PATH_METRICS, view(ready, 31, probes_answered=3)).body
    assert 'stoker_worker_phase{phase="Ready"} 1\n' in text
    assert 'stoker_worker_probes_total{result="answered"} 3\n' in text
    for line in text.splitlines():
        assert line.startswith(("# HELP stoker_worker_", "# TYPE stoker_worker_", "stoker_worker_"))


def test_other_paths_are_not_ours() -> None:
    assert report.answer("/v1/models", view(states()[0], 1)) is None


def test_what_changes_something_is_for_the_loopback_alone() -> None:
    asked: list[tuple[str, str]] = []

    def control(method: str, path: str) -> Response:
        asked.append((method, path))
        return Response(202, "", raw=b"\x00\xff")

    server = Server("0.0.0.0", 0, lambda _: None, control, "/profile")  # noqa: S104 - as in a pod
    server.start()
    assert get(server.port, "/profile/1/begin", method="POST") == (202, b"\x00\xff")
    assert get(server.port, "/profiles", method="POST")[0] == 405
    with closing(socket.socket()) as client:
        # Not where a port-forward comes from.
        client.bind(("127.0.0.2", 0))
        client.connect(("127.0.0.1", server.port))
        client.sendall(b"POST /profile/1/begin HTTP/1.1\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 403 ")
    assert asked == [("POST", "/profile/1/begin")]
