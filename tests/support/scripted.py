"""A web server that answers as a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

from urllib3 import HTTPHeaderDict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass
class Reply:
    """What to answer. `length` lies about the body's length; `cut` ends the connection early."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    cut: int | None = None


Route = Callable[[Asked], Reply]


def file(content: bytes) -> Route:
    """Serve bytes, and parts of them."""

    def answer(asked: Asked) -> Reply:
        told = asked.headers.get("Range", "")
        if not told:
            return Reply(body=content)
        start, end = (int(number) for number in told.removeprefix("bytes=").split("-"))
        if start >= len(content):
            return Reply(416, headers={"Content-Range": f"bytes */{len(content)}"})
        part = content[start : end + 1]
        stop = start + len(part) - 1
        told = f"bytes {start}-{stop}/{len(content)}"
        return Reply(206, part, {"Content-Range": told})

    return answer


def redirect(target: str, status: int = 302) -> Route:
    """Lead elsewhere."""
    return lambda _: Reply(status, headers={"Location": target})


class _Quiet(ThreadingHTTPServer):
    """Does not tell when a client left in the middle, as some tests do."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _missing(_: Asked) -> Reply:
    return Reply(404)


class Web:
    """A server on one loopback address. Paths without a route are not found."""

    def __init__(
        self,
        routes: Mapping[str, Route],
        host: str = "127.0.0.1",
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self.routes = dict(routes)
        self.asked: list[Asked] = []
        self._server = _Quiet((host, 0), self._handler())
        self._server.daemon_threads = True
        self.scheme = "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.scheme = "https"
        self.host = host
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The root, without a slash."""
        return f"{self.scheme}://{self.address}"

    def paths(self) -> list[str]:
        """What was asked for, in order."""
        return [asked.path for asked in self.asked]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """Keep the test's output clean."""

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {k: v[0] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
                asked = Asked(self.command, parts.path, query, HTTPHeaderDict(self.headers.items()))
                web.asked.append(asked)
                route = web.routes.get(parts.path, _missing)
                self._answer(route(asked))

            do_HEAD = do_GET  # noqa: N815

            def _answer(self, reply: Reply) -> None:
                body = reply.body if self.command != "HEAD" else b""
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if "Transfer-Encoding" not in reply.headers:
                    length = len(reply.body) if reply.length is None else reply.length
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                with contextlib.suppress(OSError):  # the client may leave in the middle
                    self.wfile.write(body if reply.cut is None else body[: reply.cut])
                if reply.cut is not None or (reply.length or 0) > len(body):
                    self.close_connection = True

        return Handler
