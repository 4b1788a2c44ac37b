"""The page on which a job shows its progress, and the lines of its log.

Lines end with a newline and come every ten seconds, so that a log shows that something happens also
where nobody has a terminal.
"""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Callable, Mapping

from stoker_worker.cachecontract import PATH_PROGRESS, Progress
from stoker_worker.fetch.progress import sentence

PATH_METRICS = "/metrics"
HEARTBEAT_S = 10.0
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_TIMEOUT_S = 10.0

# Name, type and help of each series, and where its value comes from.
_SERIES: Mapping[str, tuple[str, str, Callable[[Progress], float]]] = {
    "stoker_fetch_model_bytes": (
        "gauge",
        "Bytes of the whole model; 0 while it is not known.",
        lambda told: told.bytes,
    ),
    "stoker_fetch_done_bytes": (
        "gauge",
        "Bytes of the model that are on the volume.",
        lambda told: told.done,
    ),
    "stoker_fetch_files": ("gauge", "Files of the whole model.", lambda told: told.files),
    "stoker_fetch_files_done": (
        "gauge",
        "Files that are whole and have the right digest.",
        lambda told: told.files_done,
    ),
    "stoker_fetch_speed_bytes_per_second": (
        "gauge",
        "Speed of the last ten seconds.",
        lambda told: told.speed,
    ),
}


def metrics(progress: Progress) -> str:
    """The same in the text format of Prometheus."""
    lines = []
    for name, (kind, meaning, value) in _SERIES.items():
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
        lines.append(f"{name} {float(value(progress))}")
    lines += [
        "# HELP stoker_fetch_state What the job does: the series of that state is 1.",
        "# TYPE stoker_fetch_state gauge",
        f'stoker_fetch_state{{task="{progress.task}",state="{progress.state}"}} 1',
    ]
    return "\n".join(lines) + "\n"


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, host: str, port: int, look: Callable[[], Progress]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.look = look
        super().__init__((host, port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Somebody hung up: nobody's business."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    server_version = "stoker-fetch"
    sys_version = ""
    timeout = _TIMEOUT_S

    def do_GET(self) -> None:
        """Answer with the page that is asked for."""
        if self.path == PATH_PROGRESS:
            self._answer(200, self.server.look().to_json() + "\n", "application/json")
        elif self.path == PATH_METRICS:
            self._answer(200, metrics(self.server.look()), _TEXT)
        else:
            self._answer(404, f"there are {PATH_PROGRESS} and {PATH_METRICS}\n", _TEXT)

    def _answer(self, status: int, text: str, kind: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is declared
        """Nobody reads who asked."""


def serve(host: str, port: int, look: Callable[[], Progress], say: Callable[[str], None]) -> int:
    """Show the page from now on; return its port, 0 where it cannot be had.

    A job without a page is still a job.
    """
    try:
        server = _Server(host, port, look)
    except OSError as error:
        say(f"no page with progress: {host}:{port} cannot be had ({error.strerror})")
        return 0
    threading.Thread(target=server.serve_forever, name="page", daemon=True).start()
    return int(server.server_address[1])


def heartbeat(
    look: Callable[[], Progress], say: Callable[[str], None], over: threading.Event
) -> None:
    """Tell the log, until the job is over, where it is."""

    def beat() -> None:
        while not over.wait(HEARTBEAT_S):
            say(sentence(look()))

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()
