"""What Stoker adds to an engine's start: `stoker-worker serve` against a bare `vllm serve`.

    python -m benchmarks.worker_overhead [--pairs 3]

Both are plain processes with the same flags, started in turn (A B A B), so that both meet the same
machine and warm page cache. A start is over with the first token that a client gets: it asks as
soon as it may, which is when `/health` says 200 for the bare engine, and when `/readyz` does for
the worker, which has then made two tokens of its own. What the kubelet adds (it looks once a
second) is not the worker's and is not in here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.common import milliseconds, options_of, report
from e2e.cluster.progress import Progress
from e2e.engine import ENGINE_PYTHON, ensure_site_packages
from e2e.load import median
from e2e.models import ensure_model
from tests.integration.worker.support import START_S, free_port, start_worker

MODEL = "main"
FLAGS = {"max-model-len": "4096", "enforce-eager": "", "max-num-seqs": "8"}
LOOK_S = 0.02


def main() -> int:
    parser = options_of(__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    model = ensure_model()
    found: dict[str, list[float]] = {"worker": [], "bare": []}
    with Progress("one start that does not count: it fills the page cache"):
        start_bare(model)
    for pair in range(options.pairs):
        # The order changes with each pair, so that neither side is always the first.
        for side in ("worker", "bare") if pair % 2 == 0 else ("bare", "worker"):
            with Progress(f"{side}, {pair + 1} of {options.pairs}"):
                found[side].append(start_with_worker(model) if side == "worker" else
                                   start_bare(model))  # fmt: skip
    added = [one - other for one, other in zip(found["worker"], found["bare"], strict=True)]
    middle = median(found["worker"]), median(found["bare"])
    assert middle[0] is not None
    assert middle[1] is not None
    rows = [
        ("bare vllm serve → first token", _all(found["bare"]), ""),
        ("stoker-worker serve → first token", _all(found["worker"]), ""),
        ("difference of the medians", milliseconds(middle[0] - middle[1]), "≤ 1 s"),
        ("median of the paired differences", milliseconds(median(added)), "≤ 1 s"),
        ("ratio of the medians", f"{middle[0] / middle[1]:.3f}", ""),
    ]
    numbers: dict[str, Any] = {**found, "added": added, "medianDifference": middle[0] - middle[1]}
    report("What the worker adds to a start", rows, numbers, options.output)
    return 0


def _all(values: list[float]) -> str:
    return f"{median(values):.2f} s (" + ", ".join(f"{value:.2f}" for value in values) + ")"


def start_with_worker(model: Path) -> float:
    """Seconds from the worker's start to a client's first token."""
    with tempfile.TemporaryDirectory(prefix="stoker-start-") as folder:
        begun = time.monotonic()
        worker = start_worker(Path(folder), model)
        try:
            _wait(f"http://127.0.0.1:{worker.config.worker_port}/readyz", worker.process, begun)
            _first_token(worker.config.engine_port)
            return time.monotonic() - begun
        finally:
            worker.stop()


def start_bare(model: Path) -> float:
    """Seconds from the start of a bare engine to a client's first token."""
    port = free_port()
    flags = [f"--{name}={value}" if value else f"--{name}" for name, value in FLAGS.items()]
    command = [
        str(ENGINE_PYTHON), "-m", "vllm.entrypoints.cli.main", "serve", str(model), *flags,
        f"--served-model-name={MODEL}", "--host=127.0.0.1", f"--port={port}",
    ]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="stoker-start-") as folder:
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": folder,
            "PYTHONPATH": str(ensure_site_packages()),
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
        }
        begun = time.monotonic()
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        try:
            _wait(f"http://127.0.0.1:{port}/health", process, begun)
            _first_token(port)
            return time.monotonic() - begun
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
            time.sleep(1)


def _wait(url: str, process: subprocess.Popen[bytes], begun: float) -> None:
    while time.monotonic() - begun < START_S:
        assert process.poll() is None, f"it ended with {process.returncode}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - ours
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(LOOK_S)
    raise AssertionError(f"{url} did not answer within {START_S} s")


def _first_token(port: int) -> None:
    body = {"model": MODEL, "prompt": "The", "max_tokens": 1, "ignore_eos": True}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - ours
        assert json.load(answer)["usage"]["completion_tokens"] == 1


if __name__ == "__main__":
    sys.exit(main())
