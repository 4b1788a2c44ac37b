"""A worker with a real engine below it, as plain processes on loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.engine import ENGINE_PYTHON, ensure_site_packages
from stoker.telemetry.parse import engine_sample
from stoker_worker.contract import (
    ENV_CONFIG,
    ENV_POD_NAME,
    ENV_POD_UID,
    PATH_LOAD,
    SERVE_COMMAND,
    Termination,
    WorkerConfig,
)
from stoker_worker.install import install

if TYPE_CHECKING:
    from collections.abc import Callable

    from stoker.model.load import EngineSample

# The defaults, shrunk; that the defaults keep their promises is arithmetic, in the unit tests.
STALL = {"stall_ready_s": 8.0, "stall_restart_s": 20.0, "heartbeat_s": 0.5}
POD = "engine-0"
# An engine takes half a minute alone, and several when the cores are shared: as for the operator.
START_S = 300 * float(os.environ.get("STOKER_PATIENCE", "1"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], within_s: float, what: str) -> float:
    """Return how long it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < within_s, what
        time.sleep(0.1)
    return time.monotonic() - started


@dataclass
class Stream:
    """What one client saw."""

    chunks: int = 0
    finish: str | None = None
    done: bool = False
    begun: bool = False


@dataclass
class Worker:
    """The worker's process, seen as the kubelet and as clients see it."""

    config: WorkerConfig
    process: subprocess.Popen[bytes]
    folder: Path
    sessions: set[int] = field(default_factory=set)
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(64))

    def get(self, path: str) -> tuple[int, str]:
        """Ask the worker itself; 0 when nobody listens.

        As patient as the liveness probe: a whole machine has been seen to stand still for 5 s.
        """
        url = f"http://127.0.0.1:{self.config.worker_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def ready(self) -> bool:
        return self.get("/readyz")[0] == 200

    def wait_ready(self) -> None:
        """Wait for the first token; an engine that ended says why at once."""

        def ended_or_ready() -> bool:
            return self.process.poll() is not None or self.ready()

        wait_until(ended_or_ready, START_S, "the engine is neither ready nor ended")
        assert self.process.poll() is None, self.log()[-5000:]

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.get("/state")[1])
        return state

    def metric(self, name: str) -> float:
        lines = self.get("/metrics")[1].splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(name))

    def engine_metric(self, name: str) -> float:
        url = f"http://127.0.0.1:{self.config.engine_port}/metrics"
        with urllib.request.urlopen(url, timeout=30) as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name + "{"))

    def load(self) -> EngineSample:
        """What the operator makes of the page for it."""
        status, text = self.get(PATH_LOAD)
        assert status == 200, text
        return engine_sample(POD, text, f"uid-of-{POD}")

    def stream(self, tokens: int, seen: Stream | None = None) -> Stream:
        """Stream one answer of exactly this many tokens; `seen` is filled while it comes."""
        body = {
            "model": "main",
            "prompt": "The",
            "max_tokens": tokens,
            "ignore_eos": True,
            "stream": True,
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.config.engine_port}/v1/completions",
            json.dumps({**body, "stream_options": {"include_usage": True}}).encode(),
            {"Content-Type": "application/json"},
        )
        seen = seen or Stream()
        with urllib.request.urlopen(request, timeout=300) as response:  # noqa: S310 - ours
            for line in response:
                data = line.decode().removeprefix("data: ").strip()
                if data == "[DONE]":
                    seen.done = True
                elif data:
                    chunk = json.loads(data)
                    seen.begun = True
                    if chunk.get("usage"):
                        seen.chunks = chunk["usage"]["completion_tokens"]
                    for choice in chunk["choices"]:
                        seen.finish = choice["finish_reason"] or seen.finish
        return seen

    def streams(self, count: int, tokens: int) -> list[Future[Stream]]:
        return [self.pool.submit(self.stream, tokens) for _ in range(count)]

    def begin(self, count: int, tokens: int) -> list[Future[Stream]]:
        """As `streams`, once each of them has its first token.

        A saturated server answers its metrics late, so it is the clients who tell.
        """
        seen = [Stream() for _ in range(count)]
        streams = [self.pool.submit(self.stream, tokens, each) for each in seen]
        wait_until(lambda: all(each.begun for each in seen), 30, "streams are running")
        return streams

    def engine_pids(self, title: str) -> list[int]:
        """The engine's processes with this word in their command line."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or not self._is_ours(int(entry.name)):
                continue
            try:
                command = (entry / "cmdline").read_bytes()
                if command and title.encode() in command:  # a zombie has none
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def _is_ours(self, pid: int) -> bool:
        """Known by the engine's session, also once its leader and the worker are gone."""
        try:
            leader = os.getsid(pid)
        except OSError:
            return False
        with suppress(OSError):
            stat = Path(f"/proc/{leader}/stat").read_text(encoding="utf-8")
            if int(stat.rpartition(")")[2].split()[1]) == self.process.pid:
                self.sessions.add(leader)
        return leader in self.sessions

    def wait(self, within_s: float) -> int:
        return self.process.wait(within_s)

    def check_nothing_is_left(self) -> None:
        """In a container the kernel sees to that; here those that were killed need a moment."""
        wait_until(lambda: not self.engine_pids(""), 10, "processes of the engine are left")

    def termination(self) -> Termination | None:
        return Termination.parse((self.folder / "termination-log").read_text(encoding="utf-8"))

    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """Leave nothing behind, whatever the test did."""
        for pid in self.engine_pids(""):
            os.kill(pid, signal.SIGKILL)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        self.pool.shutdown(wait=False, cancel_futures=True)


def start_worker(folder: Path, model: Path, **changes: Any) -> Worker:
    """Start what the container starts, with the pod's environment and nothing of the test's.

    `eager=False` has the engine compile; all else is the worker's configuration.
    """
    eager = changes.pop("eager", True)
    (folder / "termination-log").touch()
    config = WorkerConfig(
        "vllm",
        str(model),
        ["main", "alias"],
        # A small model makes more tokens than the API server can send one by one and still accept.
        {
            "max-model-len": "4096",
            **({"enforce-eager": "true"} if eager else {}),
            "max-num-seqs": "8",
            "stream-interval": "10",
        },
        host="127.0.0.1",
        engine_port=free_port(),
        worker_port=free_port(),
        termination_log=str(folder / "termination-log"),
        **changes,
    )
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "VLLM_CACHE_ROOT": str(folder / "vllm"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "torchinductor"),
        "TRITON_CACHE_DIR": str(folder / "triton"),
        "PYTHONPATH": str(ensure_site_packages()),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HUB_OFFLINE": "1",
        ENV_CONFIG: config.to_json(),
        ENV_POD_NAME: POD,
        ENV_POD_UID: f"uid-of-{POD}",
    }
    command = [str(ENGINE_PYTHON), *SERVE_COMMAND[1:3], str(install(folder)), SERVE_COMMAND[-1]]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - the command is ours
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    return Worker(config, process, folder)
