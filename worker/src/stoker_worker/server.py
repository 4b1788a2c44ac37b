"""The worker's own HTTP server: a handful of paths, one thread, bounded in every direction.

Not `http.server`: that one is a thread per connection, and a probe has to be answered while the
engine takes every core. One thread with a selector needs one time slice for an answer. An answer
that takes longer is `Pending`: somebody else's thread gives it, and nobody waits for it here.

A connection stays open for its client's next request, since whoever asks every two seconds should
not open one each time. Who says `Connection: close`, as the kubelet's probes do, is closed.

What changes something is answered to the pod's own loopback alone, where a port-forward ends: the
port itself is open to whoever may read metrics.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Callable, Dict, Optional, Union

MAX_CONNECTIONS = 64
MAX_REQUEST_BYTES = 8192
DEADLINE_S = 5.0
KEEP_S = 15.0  # between two requests of one connection

_REASONS = {
    200: "OK",
    202: "Accepted",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    503: "Service Unavailable",
}
_LOOPBACK = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})


@dataclass(frozen=True)
class Response:
    """What a request is answered with."""

    status: int
    body: str
    content_type: str = "text/plain; charset=utf-8"
    raw: Optional[bytes] = None  # instead of the body

    def to_bytes(self, *, keep: bool = False) -> bytes:
        """Render as HTTP/1.1; the connection ends with it unless it is kept."""
        body = self.body.encode() if self.raw is None else self.raw
        head = (
            f"HTTP/1.1 {self.status} {_REASONS[self.status]}\r\n"
            f"Content-Type: {self.content_type}\r\n"
            f"Content-Length: {len(body)}\r\n"
        )
        return (head + ("\r\n" if keep else "Connection: close\r\n\r\n")).encode() + body


class Pending:
    """An answer that another thread gives later."""

    def __init__(self) -> None:
        self._response: Optional[Response] = None
        self._wake: Optional[Callable[[], None]] = None

    def give(self, response: Response) -> None:
        """Answer, in any thread."""
        self._response = response
        if self._wake is not None:
            self._wake()

    def taken(self, wake: Callable[[], None]) -> Optional[Response]:
        """Return the answer where it is there; else `wake` is called when it is."""
        self._wake = wake  # before the look, so that no answer falls between the two
        return self._response


Answer = Callable[[str], Union[Response, Pending, None]]
# The same of a method and a path, for the pod's own loopback.
Control = Callable[[str, str], Union[Response, Pending, None]]


@dataclass
class _Connection:
    socket: socket.socket
    deadline: float
    local: bool
    received: bytes = b""
    to_send: bytes = b""
    events: int = field(default=selectors.EVENT_READ)
    keep: bool = False
    pending: Optional[Pending] = None


class Server(threading.Thread):
    """Answers GET requests by calling `answer(path)` until the process ends.

    Where there is a `control`, it answers whatever method for paths below `below`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        answer: Answer,
        control: Optional[Control] = None,
        below: str = "",
    ) -> None:
        super().__init__(name="server", daemon=True)
        self._answer = answer
        self._control = control
        self._below = f"{below}/"
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=128)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._connections: Dict[int, _Connection] = {}
        self._bell, self._rope = socket.socketpair()
        self._bell.setblocking(False)
        self._rope.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ, self._bell)

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
                elif key.data is self._bell:
                    self._answer_pending()
                else:
                    self._serve(key.data)
            now = time.monotonic()
            for connection in list(self._connections.values()):
                if now > connection.deadline:
                    self._close(connection)

    def _accept(self) -> None:
        try:
            accepted, peer = self._listener.accept()
        except OSError:
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            # The oldest is the one that has had its chance: a probe must get through.
            self._close(next(iter(self._connections.values())))
        accepted.setblocking(False)
        deadline = time.monotonic() + DEADLINE_S
        connection = _Connection(accepted, deadline, local=peer[0] in _LOOPBACK)
        self._connections[accepted.fileno()] = connection
        self._selector.register(accepted, connection.events, connection)

    def _serve(self, connection: _Connection) -> None:
        if connection.socket.fileno() < 0:  # closed earlier in the same round, to make room
            return
        try:
            if connection.pending is not None:
                # The client says more before it is answered, or leaves.
                self._close(connection)
            elif connection.to_send:
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
            head = connection.received.lower()
            # A body is never read, so what follows the head could be anything.
            connection.keep = (
                head.endswith(b"\r\n\r\n")
                and b" http/1.1\r\n" in head
                and b"\r\nconnection: close" not in head
                and b"\r\ncontent-length:" not in head
                and b"\r\ntransfer-encoding:" not in head
            )
            found = self._respond(connection)
            if isinstance(found, Pending):
                connection.pending = found
                self._answer_when_given(connection, found)
            else:
                self._begin_to_send(connection, found)

    def _wake(self) -> None:
        """Have the server's thread look for answers that have been given, from any thread."""
        with suppress(OSError):  # it is full, so it rings already
            self._rope.send(b"!")

    def _answer_pending(self) -> None:
        try:
            self._bell.recv(4096)
        except OSError:
            return
        for connection in list(self._connections.values()):
            if connection.pending is not None:
                self._answer_when_given(connection, connection.pending)

    def _answer_when_given(self, connection: _Connection, pending: Pending) -> None:
        response = pending.taken(self._wake)
        if response is None:
            return
        connection.pending = None
        try:
            self._begin_to_send(connection, response)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)

    def _begin_to_send(self, connection: _Connection, response: Response) -> None:
        connection.to_send = response.to_bytes(keep=connection.keep)
        connection.deadline = time.monotonic() + DEADLINE_S
        self._turn(connection, selectors.EVENT_WRITE)
        self._send(connection)

    def _turn(self, connection: _Connection, events: int) -> None:
        if connection.events != events:
            connection.events = events
            self._selector.modify(connection.socket, events, connection)

    def _respond(self, connection: _Connection) -> Union[Response, Pending]:
        words = connection.received.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        path = words[1].partition("?")[0] if len(words) == 3 else ""
        if self._control is not None and path.startswith(self._below):
            if not connection.local:
                return Response(403, "only for the pod's own loopback: use a port-forward\n")
            found = self._control(words[0], path)
        elif len(words) != 3 or words[0] != "GET":
            return Response(405, "only GET is served here\n")
        else:
            found = self._answer(path)
        return found if found is not None else Response(404, "no such path\n")

    def _send(self, connection: _Connection) -> None:
        sent = connection.socket.send(connection.to_send)
        connection.to_send = connection.to_send[sent:]
        if connection.to_send:
            return
        if not connection.keep:
            self._close(connection)
            return
        connection.received = b""
        connection.deadline = time.monotonic() + KEEP_S
        # The one that was heard last is the last to make room.
        self._connections[connection.socket.fileno()] = self._connections.pop(
            connection.socket.fileno()
        )
        self._turn(connection, selectors.EVENT_READ)

    def _close(self, connection: _Connection) -> None:
        self._connections.pop(connection.socket.fileno(), None)
        self._selector.unregister(connection.socket)
        connection.socket.close()
