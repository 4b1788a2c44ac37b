"""A real worker as a process, with a small program in the engine's place that has a profiler."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from stoker_worker.contract import ENV_CONFIG, WorkerConfig
from tests.integration.operator.support import wait_for
from tests.support.controlplane import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRACE = gzip.compress(json.dumps({"traceEvents": [{"name": "aten::mm"}] * 30_000}).encode(), 0)
"""Of several pieces."""
RULE = "  ".join("-" * 12 for _ in range(7)) + "  "
NAMES = ("Name", "Self CPU %", "Self CPU", "CPU total %", "CPU total", "CPU time avg", "# of Calls")
ROWS = (
    ("aten::add", "10.00%", "1.000ms", "10.00%", "1.000ms", "1.000ms", "1"),
    ("aten::mm", "90.00%", "9.000ms", "90.00%", "9.000ms", "3.000ms", "3"),
)
TABLE = "\n".join(
    [RULE, *("  ".join(f"{cell: >12}" for cell in row) + "  " for row in (NAMES,)), RULE]
    + ["  ".join(f"{cell: >12}" for cell in row) + "  " for row in ROWS]
    + [RULE, "Self CPU time total: 10.000ms", ""]
)
ENDLESS = 1000
"""An answer of so many tokens never comes."""
ENGINE = """
import http.server, json, pathlib, signal, sys, time
words = dict(w.partition("=")[::2] for w in sys.argv)
folder = pathlib.Path(json.loads(words["--profiler-config"])["torch_profiler_dir"])
source = pathlib.Path(SOURCE)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        metrics = b"vllm:iteration_tokens_total_count 1\\n"
        models = b'{"data": [{"id": "main"}], "server_load": 0}'
        self.answer(metrics if self.path == "/metrics" else models)
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if body.get("max_tokens") == ENDLESS:
            time.sleep(600)
        if self.path == "/stop_profile":
            folder.mkdir(exist_ok=True)
            for file in source.iterdir():
                (folder / file.name).write_bytes(file.read_bytes())
        self.answer(json.dumps({"usage": {"completion_tokens": 2}}).encode())
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(words["--port"])), Handler)
server.daemon_threads = True
server.serve_forever()
"""


class Replica:
    """Where it is, and what it says of itself."""

    def __init__(self, config: WorkerConfig) -> None:
        self.worker_port = config.worker_port
        self.engine_port = config.engine_port

    def state(self) -> dict[str, Any]:
        """Empty while nobody answers."""
        url = f"http://{LOOPBACK}:{self.worker_port}/state"
        try:
            with urllib.request.urlopen(url, timeout=5) as page:
                state: dict[str, Any] = json.loads(page.read())
                return state
        except OSError:
            return {}

    def is_ready(self) -> bool:
        """Whether it is in rotation."""
        return self.state().get("ready") is True


@contextmanager
def replica(folder: Path) -> Iterator[Replica]:
    """A replica that is ready; its traces are in folder/traces."""
    written = folder / "written"
    written.mkdir()
    (written / "rank0.1.pt.trace.json.gz").write_bytes(TRACE)
    (written / "rank0.profiler_out.txt").write_text(TABLE, encoding="utf-8")
    (folder / "config.json").write_text("{}", encoding="utf-8")
    program = ENGINE.replace("SOURCE", repr(str(written))).replace("ENDLESS", str(ENDLESS))
    config = WorkerConfig(
        "vllm",
        str(folder),
        ["main"],
        host=LOOPBACK,
        worker_port=free_port(),
        engine_port=free_port(),
        engine_command=[sys.executable, "-c", program],
        termination_log=str(folder / "termination"),
        prefetch=False,
        settle_s=0.2,
        heartbeat_s=0.2,
        profile_dir=str(folder / "traces"),
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "stoker_worker", "serve"],
        env={**os.environ, ENV_CONFIG: config.to_json()},
    )
    found = Replica(config)
    try:
        wait_for("the replica", found.is_ready, 60)
        yield found
    finally:
        process.terminate()
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
