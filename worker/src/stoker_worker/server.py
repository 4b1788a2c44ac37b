"""The worker's own HTTP server: a handful of GETs, one thread, bounded in every direction.

Not `http.server`: that one is a thread per connection, and a probe has to be answered while the
engine takes every core. One thread with a selector needs one time slice for an answer.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Callable, Dict, Optional

MAX_CONNECTIONS = 64
MAX_REQUEST_BYTES = 8192
DEADLINE_S = 5.0

_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


@dataclass(frozen=True)
class Response:
    """What a GET is answered with."""

    status: int
    body: str
    content_type: str = "text/plain; charset=utf-8"

    def to_bytes(self) -> bytes:
        """Render as HTTP/1.1; the connection ends with it."""
        body = self.body.encode()
        head = (
            f"HTTP/1.1 {self.status} {_REASONS[self.status]}\r\n"
            f"Content-Type: {self.content_type}\r\n"
            f"Content-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        return head.encode() + body


@dataclass
class _Connection:
    socket: socket.socket
    deadline: float
    received: bytes = b""
    to_send: bytes = b""
    events: int = field(default=selectors.EVENT_READ)


class Server(threading.Thread):
    """Answers GET requests by calling `answer(path)` until the process ends."""

    def __init__(self, host: str, port: int, answer: Callable[[str], Optional[Response]]) -> None:
        super().__init__(name="server", daemon=True)
        self._answer = answer
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=128)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._connections: Dict[int, _Connection] = {}

    @property
    def port(self) -> int:
        """The port, also when the system chose it."""
        port: int = self._listener.getsockname()[1]
        return port

    def run(self) -> None:
        """Serve for ever: the thread is a daemon."""
        while True:
            for key, _ in self._selector.select(timeout=1.0):
                if key.data is None:
                    self._accept()
                else:
                    self._serve(key.data)
            now = time.monotonic()
            for connection in list(self._connections.values()):
                if now > connection.deadline:
                    self._close(connection)

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError:
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            # The oldest is the one that has had its chance: a probe must get through.
            self._close(next(iter(self._connections.values())))
        accepted.setblocking(False)
        connection = _Connection(accepted, time.monotonic() + DEADLINE_S)
        self._connections[accepted.fileno()] = connection
        self._selector.register(accepted, connection.events, connection)

    def _serve(self, connection: _Connection) -> None:
        if connection.socket.fileno() < 0:  # closed earlier in the same round, to make room
            return
        try:
            if connection.to_send:
                self._send(connection)
            else:
                self._receive(connection)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)

    def _receive(self, connection: _Connection) -> None:
        data = connection.socket.recv(MAX_REQUEST_BYTES)
        connection.received += data
        if not data or len(connection.received) > MAX_REQUEST_BYTES:
            self._close(connection)
        elif b"\r\n\r\n" in connection.received:
            connection.to_send = self._respond(connection.received).to_bytes()
            self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)
            self._send(connection)

    def _respond(self, received: bytes) -> Response:
        words = received.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(words) != 3 or words[0] != "GET":
            return Response(405, "only GET is served here\n")
        found = self._answer(words[1].partition("?")[0])
        return found if found is not None else Response(404, "no such path\n")

    def _send(self, connection: _Connection) -> None:
        sent = connection.socket.send(connection.to_send)
        connection.to_send = connection.to_send[sent:]
        if not connection.to_send:
            self._close(connection)

    def _close(self, connection: _Connection) -> None:
        self._connections.pop(connection.socket.fileno(), None)
        self._selector.unregister(connection.socket)
        connection.socket.close()
