"""A whole group as real processes on loopback, with small programs in the engines' place.

The followers have addresses of their own (127.0.0.2, …), as pods have.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stoker_worker import contract
from stoker_worker.assembly import interface_of
from stoker_worker.contract import ENV_CONFIG, Termination, TerminationReason, WorkerConfig
from tests.support.published import flip_bit, publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Answers what the worker asks an engine; ends on SIGTERM after the seconds that it is told.
ENGINE = """
import http.server, json, os, signal, sys, threading, time
linger = 0.0
port = next(int(w.split("=")[1]) for w in sys.argv if w.startswith("--port="))
for word in sys.argv:
    if word.startswith("--seed="):
        linger = float(word.split("=")[1])
print(json.dumps([str(os.getpid()), *sys.argv]), flush=True)
def leave(*_):
    time.sleep(linger)
    raise SystemExit(0)
signal.signal(signal.SIGTERM, leave)
if "--headless" in sys.argv:
    while True:
        time.sleep(0.1)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        body = b"vllm:iteration_tokens_total_count 1\\n" if self.path == "/metrics" else b"{}"
        self.wfile.write(body)
    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"usage": {"completion_tokens": 2}}).encode())
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
while True:
    time.sleep(0.1)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_until(condition: Callable[[], bool], what: str, within_s: float = 40) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@dataclass
class Pod:
    rank: int
    address: str
    port: int
    process: subprocess.Popen[bytes]
    folder: Path

    def ready(self) -> int:
        try:
            with urllib.request.urlopen(self._url("/readyz"), timeout=5) as answer:  # noqa: S310
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def state(self) -> dict[str, Any]:
        with urllib.request.urlopen(self._url("/state"), timeout=5) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
        return found

    def _url(self, path: str) -> str:
        return f"http://{self.address}:{self.port}{path}"

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def engine(self) -> list[str] | None:
        """The engine's pid and command line, once it was started."""
        for line in self.log().splitlines():
            if line.startswith("["):
                words: list[str] = json.loads(line)
                return words
        return None

    def started_engine(self) -> list[str]:
        """The same, after waiting for it."""
        wait_until(lambda: self.engine() is not None, "the engine to start")
        return self.engine() or []

    def kill_engine(self) -> None:
        os.kill(int(self.started_engine()[0]), signal.SIGKILL)

    def termination(self) -> Termination | None:
        return Termination.parse((self.folder / "termination").read_text())


@dataclass
class Cluster:
    """Starts pods of one group, and ends them with the test."""

    folder: Path
    port: int = field(default_factory=free_port)
    engine_port: int = field(default_factory=free_port)
    pods: list[Pod] = field(default_factory=list)

    def start(self, rank: int, size: int = 2, *, model: Path | None = None, **changes: Any) -> Pod:
        folder = self.folder / f"{rank}-{len(self.pods)}"
        folder.mkdir()
        (folder / "termination").touch()
        (folder / "config.json").write_text("{}")
        address = f"127.0.0.{rank + 1}"
        config = WorkerConfig(
            "vllm",
            str(model or folder),
            ["m"],
            nodes=size,
            host=address,
            worker_port=self.port,
            engine_port=self.engine_port,
            engine_command=[sys.executable, "-c", ENGINE],
            termination_log=str(folder / "termination"),
            prefetch=False,
            **{"settle_s": 0.2, "drain_s": 20.0, **changes},
        )
        env = {
            **os.environ,
            ENV_CONFIG: config.to_json(),
            contract.ENV_GROUP_LEADER: "127.0.0.1",
            contract.ENV_GROUP_SIZE: str(size),
            contract.ENV_GROUP_RANK: str(rank),
            contract.ENV_POD_IP: address,
        }
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "stoker_worker", "serve"], env=env, stdout=log, stderr=log
            )
        pod = Pod(rank, address, self.port, process, folder)
        self.pods.append(pod)
        return pod

    def stop(self) -> None:
        for pod in self.pods:
            pod.process.terminate()
        for pod in self.pods:
            pod.process.terminate()  # a second request kills the engine with it
            try:
                pod.process.wait(40)
            except subprocess.TimeoutExpired:
                pod.process.kill()
                pod.process.wait()
        for pod in self.pods:
            self._end_engine(pod)

    def _end_engine(self, pod: Pod) -> None:
        """In a container the kernel sees to that."""
        pid = (pod.engine() or ["0"])[0]
        with suppress(OSError):
            if str(self.engine_port) in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(int(pid), signal.SIGKILL)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(tmp_path)
    yield found
    found.stop()


def test_no_engine_starts_before_the_whole_group_is_there(cluster: Cluster) -> None:
    leader = cluster.start(0, size=3)
    first = cluster.start(1, size=3)
    wait_until(lambda: leader.ready() == 503 and first.ready() == 503, "the workers to answer")
    time.sleep(1.5)
    assert leader.engine() is None
    assert first.engine() is None
    assert leader.state()["phase"] == "Assembling"
    assert leader.state()["missing"] == [2]
    second = cluster.start(2, size=3)
    pods = (leader, first, second)
    wait_until(lambda: all(pod.ready() == 200 for pod in pods), "the whole group to be ready")
    for pod in pods:
        words = pod.started_engine()
        assert f"--node-rank={pod.rank}" in words
        assert "--master-addr=127.0.0.1" in words
        assert ("--headless" in words) == (pod.rank > 0)
    assert leader.state()["phase"] == "Ready"
    assert second.state()["phase"] == "Following"


def test_a_follower_outlives_its_leaders_drain(cluster: Cluster) -> None:
    leader = cluster.start(0, args={"seed": "3"})
    follower = cluster.start(1)
    wait_until(lambda: leader.ready() == 200 == follower.ready(), "the group to be ready")
    follower.process.send_signal(signal.SIGTERM)  # first, as an eviction does
    time.sleep(0.5)
    leader.process.send_signal(signal.SIGTERM)
    wait_until(lambda: leader.state()["phase"] == "Draining", "the leader to drain")
    assert follower.process.poll() is None
    assert leader.process.wait(40) == 0
    gone = time.monotonic()
    assert follower.process.poll() is None, "it left before its leader"
    assert follower.process.wait(40) == 0
    assert time.monotonic() - gone < 10


def test_an_engine_that_dies_ends_its_pod_and_its_return_ends_the_leader(cluster: Cluster) -> None:
    leader, follower = cluster.start(0), cluster.start(1)
    wait_until(lambda: leader.ready() == 200 == follower.ready(), "the group to be ready")
    follower.kill_engine()
    assert follower.process.wait(40) == 137
    again = cluster.start(1)
    assert leader.process.wait(40) == 1
    told = leader.termination()
    assert told is not None
    assert told.reason == TerminationReason.GROUP_BROKEN
    assert again.engine() is None, "no engine was started for a leader that was lost"


def test_a_leader_that_began_anew_orphans_its_followers(cluster: Cluster) -> None:
    leader, follower = cluster.start(0), cluster.start(1)
    wait_until(lambda: leader.ready() == 200 == follower.ready(), "the group to be ready")
    leader.process.kill()
    leader.process.wait()
    leader.kill_engine()
    cluster.start(0)
    assert follower.process.wait(40) == 1
    told = follower.termination()
    assert told is not None
    assert told.reason == TerminationReason.GROUP_BROKEN


@pytest.mark.parametrize("rank", [0, 1])
def test_a_pod_that_waits_for_others_ends_when_asked(cluster: Cluster, rank: int) -> None:
    pod = cluster.start(rank)
    wait_until(lambda: pod.ready() == 503, "the worker to answer")
    pod.process.send_signal(signal.SIGTERM)
    assert pod.process.wait(10) == 0
    assert pod.engine() is None


def published(folder: Path) -> Path:
    """A model with a manifest; the engine's place is taken by a program that reads none of it."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(os.urandom(100_000))
    publish(folder)
    return folder


def test_a_group_reads_what_was_touched_before_it_meets(cluster: Cluster, tmp_path: Path) -> None:
    good = published(tmp_path / "model")
    (good / "model.safetensors").touch()
    leader, follower = cluster.start(0, model=good), cluster.start(1, model=good)
    wait_until(lambda: leader.ready() == 200 == follower.ready(), "the group to be ready")
    for pod in (leader, follower):
        state = pod.state()
        assert state["model"]["hashed"] == 1
        assert state["model"]["proof"] == "good"
        assert state["startSeconds"]["modelProven"] > 0


def test_a_follower_with_a_bad_file_never_meets_its_leader(
    cluster: Cluster, tmp_path: Path
) -> None:
    good, bad = published(tmp_path / "good"), published(tmp_path / "bad")
    flip_bit(bad / "model.safetensors", 50_000)
    leader, follower = cluster.start(0, model=good), cluster.start(1, model=bad)
    assert follower.process.wait(40) == 1
    told = follower.termination()
    assert told is not None
    assert told.reason == TerminationReason.MODEL_CORRUPT
    assert "model.safetensors has sha256" in told.message
    wait_until(lambda: leader.ready() == 503, "the leader to answer")
    assert leader.state()["missing"] == [1]
    assert leader.engine() is None


def test_one_pod_alone_proves_its_model_while_the_engine_starts(
    cluster: Cluster, tmp_path: Path
) -> None:
    model = published(tmp_path / "model")
    (model / "model.safetensors").touch()
    pod = cluster.start(0, size=1, model=model)
    wait_until(lambda: pod.ready() == 200, "the pod to be ready")
    assert pod.state()["model"]["proof"] == "good"
    flip_bit(model / "model.safetensors", 50_000)
    pod.process.terminate()
    assert pod.process.wait(40) == 0
    again = cluster.start(0, size=1, model=model)
    assert again.process.wait(40) == 1
    told = again.termination()
    assert told is not None
    assert told.reason == TerminationReason.MODEL_CORRUPT
    (model / "model.safetensors").unlink()
    third = cluster.start(0, size=1, model=model)
    assert third.process.wait(40) == 1
    told = third.termination()
    assert told is not None
    assert "model.safetensors is missing" in told.message
    assert third.engine() is None


def test_the_interface_of_an_address_is_found() -> None:
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("203.0.113.9") == ""
