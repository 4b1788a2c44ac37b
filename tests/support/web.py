"""A real web server in the test's own process, which misbehaves where it is told to.

It speaks HTTP/1.1 with connections that stay open, ranges, and TLS where it is given keys. Files go
out by `sendfile`, so gigabytes cost it little. It writes down each request with the headers that
matter, and what it sent for it. A `Fault` makes it fail as servers on the internet do.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from tests.support.authority import Authority

_PIECE = 1 << 18
_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")


@dataclass
class Fault:
    """One way to fail, for requests whose path (with its query) matches `where`."""

    where: str = "*"
    times: int | None = 1
    """How many requests meet it; None: all."""
    method: str = ""
    """GET or HEAD; empty: both."""
    status: int = 0
    """Answer this status and nothing else, such as 429 or 500."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Added to the answer, such as Retry-After."""
    redirect: str = ""
    """Answer 302 to this address; `{self}` is the request's own, which makes a loop."""
    delay_s: float = 0.0
    """Wait so long before the first byte."""
    cut_after: int | None = None
    """Break the connection after so many bytes of the body."""
    longer: int = 0
    """Claim a body longer by so many bytes than the one that is sent, or shorter."""
    bytes_per_second: float = 0.0
    """Send no faster."""
    flip_at: int | None = None
    """Flip a bit of this byte of the file; only who asks for that byte meets it."""
    met: int = 0
    """How many requests have met it."""

    def meets(self, seen: Seen) -> bool:
        """Whether it is for this request."""
        if self.times is not None and self.met >= self.times:
            return False
        asked = _RANGE.match(seen.range or "")
        if self.flip_at is not None and asked is not None:
            first, last = int(asked[1]), int(asked[2] or self.flip_at)
            if not first <= self.flip_at <= last:
                return False
        return self.method in {"", seen.method} and fnmatchcase(seen.path, self.where)


@dataclass
class Seen:
    """One request as it arrived, and what went out for it."""

    method: str
    path: str
    """With its query."""
    authorization: str | None
    range: str | None
    agent: str
    status: int = 0
    sent: int = 0
    """Bytes of the body that the kernel took."""


@dataclass(frozen=True)
class Answer:
    """What to answer. A body is bytes, or a file whose length and ranges the server knows."""

    status: int = 200
    body: bytes | Path = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def json(value: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """A JSON answer."""
        told = {"Content-Type": "application/json", **(headers or {})}
        return Answer(200, json.dumps(value).encode(), told)


@dataclass(frozen=True)
class Request:
    """What an application gets to see."""

    method: str
    path: str
    """With its query."""
    headers: Message
    body: bytes

    @property
    def bare(self) -> str:
        """The path alone."""
        return urlsplit(self.path).path


Application = Callable[[Request], Answer]


class WebServer:
    """Serves one application on one address, until it is stopped.

    Parameters
    ----------
    application
        Answers each request.
    host, port
        Where it listens; port 0 takes a free one.
    authority
        Folder of keys of `tests.support.authority` that signed `apiserver`; None: no TLS.
    """

    def __init__(
        self,
        application: Application,
        host: str = "127.0.0.1",
        port: int = 0,
        authority: Authority | None = None,
    ) -> None:
        self.application = application
        self.seen: list[Seen] = []
        self.faults: list[Fault] = []
        self.errors: list[BaseException] = []
        self._scheme = "https" if authority else "http"
        self._context = _context(authority) if authority else None
        self._lock = threading.Lock()
        self._host, self._port = host, port
        self._server: _Listener | None = None
        self.start()

    @property
    def netloc(self) -> str:
        """HOST:PORT."""
        return f"{self._host}:{self._port}"

    @property
    def url(self) -> str:
        """Its address without a slash at the end."""
        return f"{self._scheme}://{self.netloc}"

    def start(self) -> None:
        """Listen (again, on the same port)."""
        self._server = _Listener((self._host, self._port), self, self._context)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections and break those that are open."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.break_connections()
            self._server = None
        if self.errors:
            raise self.errors[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def fail(self, **fault: Any) -> Fault:
        """Switch a fault on."""
        made = Fault(**fault)
        with self._lock:
            self.faults.append(made)
        return made

    def requests(self, where: str = "*", method: str = "") -> list[Seen]:
        """What arrived."""
        with self._lock:
            found = list(self.seen)
        return [s for s in found if fnmatchcase(s.path, where) and method in {"", s.method}]

    def sent(self, where: str = "*") -> int:
        """How many bytes of bodies went out."""
        return sum(seen.sent for seen in self.requests(where))

    def forget(self) -> None:
        """Begin a new record."""
        with self._lock:
            self.seen.clear()

    def note(self, seen: Seen) -> Fault | None:
        """Write a request down, and say what to do to it."""
        with self._lock:
            self.seen.append(seen)
            for fault in self.faults:
                if fault.meets(seen):
                    fault.met += 1
                    return fault
        return None


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], owner: WebServer, context: ssl.SSLContext | None
    ) -> None:
        self.owner, self._context = owner, context
        self._open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = self.socket.accept()
        if self._context is not None:
            # The handshake waits for the connection's own thread.
            connection = self._context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def break_connections(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep what is not the client's doing; who hangs up is nobody's mistake."""
        del request, client_address
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self.owner.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def log_message(self, *_: Any) -> None:
        """Say nothing; what arrived is in `seen`."""

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        seen = Seen(
            self.command,
            self.path,
            self.headers.get("Authorization"),
            self.headers.get("Range"),
            self.headers.get("User-Agent", ""),
        )
        fault = self.server.owner.note(seen) or Fault()
        if fault.delay_s:
            time.sleep(fault.delay_s)
        request = Request(self.command, self.path, self.headers, body)
        self._answer(seen, fault, self._decide(request, fault))

    def _decide(self, request: Request, fault: Fault) -> Answer:
        if fault.status:
            return Answer(fault.status, b"as you wish\n", fault.headers)
        if fault.redirect:
            here = f"{self.server.owner.url}{self.path}"
            return Answer(302, b"", {"Location": fault.redirect.replace("{self}", here)})
        return self.server.owner.application(request)

    def _answer(self, seen: Seen, fault: Fault, answer: Answer) -> None:
        size = len(answer.body) if isinstance(answer.body, bytes) else answer.body.stat().st_size
        status, first, last = self._range(answer.status, size)
        seen.status = status
        self.send_response(status)
        length = max(0, last - first)
        for name, value in {**answer.headers, **fault.headers}.items():
            self.send_header(name, value)
        if answer.status == 200:
            self.send_header("Accept-Ranges", "bytes")
        if status == 206:
            self.send_header("Content-Range", f"bytes {first}-{last - 1}/{size}")
        elif status == 416:
            self.send_header("Content-Range", f"bytes */{size}")
        self.send_header("Content-Length", str(max(0, length + fault.longer)))
        if fault.longer or fault.cut_after is not None:
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD" and length:
            self._send(seen, fault, answer.body, first, length)

    def _range(self, status: int, size: int) -> tuple[int, int, int]:
        asked = _RANGE.match(self.headers.get("Range") or "")
        if status != 200 or asked is None:
            return status, 0, size
        first, last = int(asked[1]), min(size, int(asked[2] or size - 1) + 1)
        return (206, first, last) if first < last else (416, 0, 0)

    def _send(self, seen: Seen, fault: Fault, body: bytes | Path, first: int, length: int) -> None:
        if fault.longer < 0:
            length = max(0, length + fault.longer)
        if fault.cut_after is not None:
            length = min(length, fault.cut_after)
        usual = isinstance(body, Path) and fault.flip_at is None and not fault.bytes_per_second
        if usual:
            self._send_file(seen, body, first, length)
        else:
            for piece in _pieces(body, first, length, fault):
                self.connection.sendall(piece)
                seen.sent += len(piece)
        if fault.cut_after is not None:
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def _send_file(self, seen: Seen, path: bytes | Path, first: int, length: int) -> None:
        assert isinstance(path, Path)
        self.wfile.flush()
        with path.open("rb") as opened:
            while length:
                count = self.connection.sendfile(opened, first, min(length, 1 << 21))
                if not count:
                    return
                first, length, seen.sent = first + count, length - count, seen.sent + count


def _pieces(body: bytes | Path, first: int, length: int, fault: Fault) -> Iterator[bytes]:
    began, sent = time.monotonic(), 0
    size = _PIECE
    if fault.bytes_per_second:
        size = max(1, min(_PIECE, int(fault.bytes_per_second / 20)))
    while sent < length:
        at, count = first + sent, min(size, length - sent)
        piece = bytearray(
            body[at : at + count] if isinstance(body, bytes) else _read(body, at, count)
        )
        if fault.flip_at is not None and at <= fault.flip_at < at + count:
            piece[fault.flip_at - at] ^= 1
        sent += count
        if fault.bytes_per_second:
            time.sleep(max(0.0, began + sent / fault.bytes_per_second - time.monotonic()))
        yield bytes(piece)


def _read(path: Path, at: int, count: int) -> bytes:
    with path.open("rb") as opened:
        return os.pread(opened.fileno(), count, at)


def _context(authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.folder / "apiserver.crt", authority.folder / "apiserver.key")
    return context
