"""The servers that are compared: vLLM with one technique or without, and a naive one.

Both run on the engine's own Python as plain processes on loopback, one at a time.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.progress import Progress
from e2e.engine import ENGINE_PYTHON, ensure_site_packages
from e2e.models import ensure_quantizer
from stoker_worker.contract import WorkerConfig
from stoker_worker.engines.vllm import Vllm
from tests.integration.worker.support import free_port

START_S = 600
KV_GIB = 1
BASE = {"max-model-len": "4096", "max-num-seqs": "16", "max-num-batched-tokens": "2048",
        "enforce-eager": "true"}  # fmt: skip
"""Eager: a start takes half as long, and all rungs of the ladder are compared alike."""


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    port: int
    model: str
    start_s: float
    naive: bool = False

    def metric(self, name: str) -> float:
        """The sum of a metric's samples; 0 for none."""
        found = re.finditer(rf"^{name}(?:\{{.*\}})? (\S+)$", self._metrics(), re.MULTILINE)
        return sum(float(each.group(1)) for each in found)

    def blocks(self) -> tuple[int, int]:
        """How many blocks the KV cache has, and tokens of one."""
        line = next(
            line
            for line in self._metrics().splitlines()
            if line.startswith("vllm:cache_config_info")
        )
        labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
        return int(labels["num_gpu_blocks"]), int(labels["block_size"])

    def kv_tokens(self) -> int:
        """Tokens that the KV cache holds."""
        blocks, size = self.blocks()
        return blocks * size

    def _metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as page:
            text: str = page.read().decode()
        return text


@contextlib.contextmanager
def vllm(
    title: str, model: Path, flags: Mapping[str, str] | None = None, home: Path | None = None
) -> Iterator[Server]:
    """Start vLLM as the worker would, with these flags over `BASE`, and end it.

    `home` keeps what a start leaves for the next one (compiled code); without it nothing is kept.
    """
    port = free_port()
    args = {**BASE, **(flags or {})}
    config = WorkerConfig("vllm", str(model), ["main"], args, host="127.0.0.1", engine_port=port)
    command = ["-m", Vllm.module, *Vllm().arguments(config)]
    environment = {"VLLM_CPU_KVCACHE_SPACE": str(KV_GIB), "VLLM_NO_USAGE_STATS": "1"}
    with _running(title, command, environment, port, home) as seconds:
        yield Server(port, "main", seconds)


@contextlib.contextmanager
def naive(model: Path) -> Iterator[Server]:
    """Start `transformers serve`, which computes one request after the other."""
    port = free_port()
    command = [
        "-c", "from transformers.cli.transformers import app; app()", "serve", str(model),
        "--host=127.0.0.1", f"--port={port}", "--device=cpu",
    ]  # fmt: skip
    # It places weights with accelerate, which the engine has not and the quantizer has.
    packages = {"PYTHONPATH": f"{ensure_site_packages()}:{ensure_quantizer()}"}
    with _running("transformers serve", command, packages, port, None) as seconds:
        yield Server(port, str(model), seconds, naive=True)


@contextlib.contextmanager
def _running(
    title: str, command: list[str], more: Mapping[str, str], port: int, home: Path | None
) -> Iterator[float]:
    with tempfile.TemporaryDirectory(prefix="stoker-techniques-") as scratch:
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(home or scratch),
            "PYTHONPATH": str(ensure_site_packages()),
            "HF_HUB_OFFLINE": "1",
            "CUDA_VISIBLE_DEVICES": "",
            **more,
        }
        log = Path(scratch) / "log"
        begun = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(ENGINE_PYTHON), *command], env=environment, cwd=scratch,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        try:
            with Progress(f"start: {title}"):
                _wait(port, process, begun, log)
            yield time.monotonic() - begun
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
            time.sleep(1)


def _wait(port: int, process: subprocess.Popen[bytes], begun: float, log: Path) -> None:
    while time.monotonic() - begun < START_S:
        if process.poll() is not None:
            last = log.read_text(encoding="utf-8", errors="replace")[-3000:]
            raise AssertionError(f"it ended with {process.returncode}:\n{last}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"it does not answer after {START_S} s")
