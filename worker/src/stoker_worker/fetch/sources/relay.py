"""A proxy on loopback for a library that connects by itself: it goes only where our reader may.

`obstore` resolves names, follows redirects and opens connections in code that we cannot reach, but
it takes a proxy. This one judges each host as `http` does, connects to the address that was judged,
and lets plain HTTP pass through our reader. It lives as long as one listing.
"""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources.addresses import origin_of
from stoker_worker.fetch.sources.http import CONNECT_S, READ_S, Ask, Reader

_PIECE_BYTES = 2**16
# Headers of one connection; the next hop has its own.
_OF_A_HOP = frozenset(
    {"connection", "host", "keep-alive", "proxy-authorization", "proxy-connection", "te"}
    | {"trailer", "transfer-encoding", "upgrade", "content-length", "accept-encoding"}
)
_SECRET = frozenset({"authorization", "cookie", "x-amz-security-token"})


class Relay:
    """Where it listens, and what it had to refuse."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.refused: SourceError | None = None
        self.url = ""


@contextmanager
def relay(reader: Reader) -> Iterator[Relay]:
    """Listen on a port of loopback for as long as the context lasts."""
    told = Relay(reader)
    handler = type("Handler", (_Handler,), {"told": told})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    told.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        # Waiting for its threads would mean waiting for connections that the library keeps.
        socket.socket.close(server.socket)
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = READ_S
    told: Relay

    def log_message(self, *_: object) -> None:
        """Say nothing: addresses may be signed."""

    def do_CONNECT(self) -> None:
        self.close_connection = True
        try:
            upstream = _tunnel(self.told.reader, f"https://{self.path}")
        except SourceError as error:
            self._refuse(error)
            return
        with closing(upstream):
            self.send_response(200)
            self.end_headers()
            _pump(self.connection, upstream)

    def do_GET(self) -> None:
        self.close_connection = True
        given = {k: v for k, v in self.headers.items() if k.lower() not in _OF_A_HOP}
        secrets = {k: v for k, v in given.items() if k.lower() in _SECRET}
        others = {k: v for k, v in given.items() if k not in secrets}
        try:
            with self.told.reader.open(Ask(self.path, "a list", others, secrets)) as answer:
                body = answer.page()
        except SourceError as error:
            self._refuse(error)
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in _OF_A_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body)

    def _refuse(self, error: SourceError) -> None:
        self.told.refused = error
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _tunnel(reader: Reader, url: str) -> socket.socket:
    """Connect to a host at an address that was judged, or through the environment's proxy."""
    origin = origin_of(url)
    addresses = reader.judged(url)
    proxy = reader.proxy_for(origin)
    if proxy:
        return _behind(proxy, f"{origin.host}:{origin.port}", reader)
    failed: OSError | None = None
    for address in addresses:
        try:
            return socket.create_connection((str(address), origin.port), CONNECT_S)
        except OSError as error:
            failed = error
    said = failed.strerror or "no answer in time" if failed else "it has no address"
    raise SourceError(
        FetchReason.SOURCE_UNREACHABLE, f"the connection to {origin} failed ({said})", passes=True
    )


def _behind(proxy: str, target: str, reader: Reader) -> socket.socket:
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    request = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request += f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"
    try:
        upstream = socket.create_connection((host, port), CONNECT_S)
        if parts.scheme == "https":
            upstream = reader.tls.wrap_socket(upstream, server_hostname=host)
        upstream.sendall(f"{request}\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n") and len(head) < _PIECE_BYTES:
            piece = upstream.recv(1)  # what follows the head belongs to the tunnel
            if not piece:
                break
            head += piece
    except (OSError, ValueError) as error:
        raise SourceError(
            FetchReason.SOURCE_UNREACHABLE,
            f"the proxy on the way to {target} cannot be reached ({type(error).__name__})",
            passes=True,
        ) from None
    status = head.split(b" ", 2)[1:2]
    if status != [b"200"]:
        upstream.close()
        raise SourceError(
            FetchReason.SOURCE_UNREACHABLE,
            f"the proxy on the way to {target} refuses it",
            passes=True,
        )
    return upstream


def _pump(client: socket.socket, upstream: socket.socket) -> None:
    """Carry bytes both ways until one side is done."""
    upstream.settimeout(READ_S)
    back = threading.Thread(target=_carry, args=(upstream, client), daemon=True)
    back.start()
    _carry(client, upstream)
    back.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE_BYTES):
            target.sendall(piece)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
