"""The one reader of HTTP: every hop is judged, resolved, judged again, and connected to as judged.

urllib3 speaks the protocol and keeps connections. It follows no redirect and tries nothing twice:
where an answer leads is decided here (`addresses`), and whether to try again is the transfer's
business. A pool belongs to an address, not to a name, so a name that changes its mind between the
judgement and the connection changes nothing.

Secrets are given apart from other headers: they go to the first host alone, never along a redirect
to another. Behind a proxy the proxy resolves names; then only what can be resolved here is judged.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProxyError,
    SSLError,
)
from urllib3.response import BaseHTTPResponse

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources.addresses import (
    Address,
    Kind,
    Origin,
    Policy,
    bypasses_proxy,
    judge,
    kind_of,
    literal,
    origin_of,
    redirected,
)
from stoker_worker.fetch.sources.answers import check_expected, check_range, refusal
from stoker_worker.fetch.sources.proxies import proxies, proxy_manager

CONNECT_S = 10.0
READ_S = 30.0
PIECE_BYTES = 2**20
# A list of files, a manifest, a token: what is read at once and kept in memory.
MAX_PAGE_BYTES = 64 * 2**20
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# How storages answer a signed address that is too old.
_EXPIRED = frozenset({400, 401, 403, 410})

Resolver = Callable[[str, int], list[Address]]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request."""

    url: str
    what: str  # what is asked for, in words for people
    headers: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] | Callable[[], Mapping[str, str]] = field(default_factory=dict)
    """Headers for the address's own host alone, or who knows what they are now."""
    expected: Mapping[str, str] = field(default_factory=dict)
    """Headers that the answer must have with these values, if it has them at all."""
    public: bool = False
    """Whether somebody at a public address named this one, which must be public then too."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body of the last hop."""

    status: int
    headers: Mapping[str, str]
    origin: Origin
    redirected: bool
    body: BaseHTTPResponse

    def pieces(self) -> Iterator[bytes]:
        """Stream the body; SourceError that passes when the connection breaks."""
        try:
            yield from self.body.stream(PIECE_BYTES, decode_content=False)
        except (HTTPError, OSError) as error:
            raise _broken(self.origin, error) from None

    def page(self, limit: int = MAX_PAGE_BYTES) -> bytes:
        """Read the whole body, which must be small."""
        parts, total = [], 0
        for piece in self.pieces():
            total += len(piece)
            if total > limit:
                raise SourceError(
                    FetchReason.SOURCE_TOO_LARGE,
                    f"{self.origin} answers with more than {limit} bytes where a page belongs",
                )
            parts.append(piece)
        return b"".join(parts)


def resolve(host: str, port: int) -> list[Address]:
    """Ask for a host's addresses, in the order in which they should be tried."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = (literal(str(entry[4][0])) for entry in found)
    return list(dict.fromkeys(address for address in addresses if address is not None))


def trust(ca_file: Path) -> ssl.SSLContext:
    """Trust the usual authorities, and the administrator's beside them."""
    context = ssl.create_default_context()
    if ca_file.is_file():
        try:
            context.load_verify_locations(cafile=ca_file)
        except (ssl.SSLError, OSError) as error:
            raise SourceError(
                FetchReason.CONFIG_INVALID,
                f"the authorities in {ca_file} cannot be read as PEM certificates ({error})",
            ) from None
    return context


class Reader:
    """Reads addresses within a policy. Several threads may use one."""

    def __init__(
        self,
        policy: Policy,
        *,
        tls: ssl.SSLContext | None = None,
        connections: int = 8,
        environ: Mapping[str, str] = os.environ,
        resolver: Resolver = resolve,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.policy = policy
        self.clock = clock
        self.tls = tls or ssl.create_default_context()
        self._resolve = resolver
        self._connections = connections
        self._proxies = proxies(environ)
        self._no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
        self._pools: dict[tuple[Origin, Address], urllib3.HTTPConnectionPool] = {}
        self._managers: dict[str, urllib3.ProxyManager] = {}
        self._lock = threading.Lock()

    @contextmanager
    def open(self, ask: Ask) -> Iterator[Answer]:
        """Ask, follow redirects, and give the answer that is none, whatever its status.

        An address that a redirect named may have been signed and have expired on the way; the
        source is asked for another once.
        """
        answer = self._follow(ask)
        if answer.redirected and answer.status in _EXPIRED:
            _leave(answer.body)
            answer = self._follow(ask)
        try:
            yield answer
        finally:
            _leave(answer.body)

    def page(self, ask: Ask) -> bytes:
        """Read a short page; SourceError unless the answer is a success."""
        with self.open(ask) as answer:
            if answer.status != 200:
                raise self.refused(ask, answer)
            return answer.page()

    @contextmanager
    def bytes(self, ask: Ask, start: int, end: int | None, size: int) -> Iterator[Iterator[bytes]]:
        """Stream bytes `start` to `end` (exclusive) of a file of `size` bytes."""
        end = size if end is None else end
        if start >= end:
            yield iter(())
            return
        headers = dict(ask.headers)
        if (start, end) != (0, size):
            headers["Range"] = f"bytes={start}-{end - 1}"
        asked = replace(ask, headers=headers)
        with self.open(asked) as answer:
            if answer.status not in {200, 206, 416}:
                raise self.refused(ask, answer)
            check_expected(answer.headers, ask.expected, ask.what)
            check_range(answer.status, answer.headers, start, end, size=size, what=ask.what)
            yield _exactly(answer, end - start, ask.what)

    def refused(self, ask: Ask, answer: Answer) -> SourceError:
        """Return the error for an answer that is no success."""
        return refusal(answer.status, answer.headers, str(answer.origin), ask.what, self.clock())

    def _follow(self, ask: Ask) -> Answer:
        url, first, hops, public = ask.url, origin_of(ask.url), 0, ask.public
        secrets = ask.secrets() if callable(ask.secrets) else ask.secrets
        inside = True  # no other host has been asked since the first
        while True:
            origin = origin_of(url)
            inside = inside and origin == first
            headers = {"Accept-Encoding": "identity", "User-Agent": "stoker"} | dict(ask.headers)
            addresses = self._judged(origin, public=public)
            if hops == 0:
                public = all(kind_of(each) is Kind.PUBLIC for each in addresses)
            body = self._send(url, origin, addresses, headers | dict(secrets if inside else {}))
            if body.status not in _REDIRECTS:
                return Answer(body.status, body.headers, origin, origin != first, body)
            _leave(body)
            url = redirected(url, body.headers.get("Location"), hops)
            hops += 1

    def proxy_for(self, origin: Origin) -> str:
        """Return the proxy that the environment has for a host, or an empty string."""
        proxy = self._proxies.get(origin.scheme, "")
        return "" if not proxy or bypasses_proxy(origin.host, self._no_proxy) else proxy

    def judged(self, url: str) -> list[Address]:
        """Return the addresses of a host that may be read; SourceError where it may not."""
        return self._judged(origin_of(url), public=False)

    def _judged(self, origin: Origin, *, public: bool) -> list[Address]:
        judge(origin, (), self.policy)
        address = literal(origin.host)
        if address is not None:
            judge(origin, (address,), self.policy, public=public)
            return [address]
        try:
            addresses = self._resolve(origin.host, origin.port)
        except (OSError, UnicodeError) as error:
            if self.proxy_for(origin):
                return []  # only the proxy knows names out there
            raise SourceError(
                FetchReason.SOURCE_UNREACHABLE,
                f"{origin} cannot be resolved ({getattr(error, 'strerror', None) or 'bad name'})",
                passes=True,
            ) from None
        judge(origin, addresses, self.policy, public=public)
        return addresses

    def _send(
        self,
        url: str,
        origin: Origin,
        addresses: list[Address],
        headers: Mapping[str, str],
    ) -> BaseHTTPResponse:
        proxy = self.proxy_for(origin)
        if proxy:
            return self._exchange(origin, self._manager(proxy), url, headers)
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Host": str(origin)} | dict(headers)
        failed: SourceError | None = None
        for address in addresses:
            try:
                return self._exchange(origin, self._pool(origin, address), target, headers)
            except _NotConnectedError as error:
                failed = error.reported
        raise failed or SourceError(
            FetchReason.SOURCE_UNREACHABLE, f"{origin} has no address", passes=True
        )

    def _exchange(
        self,
        origin: Origin,
        through: urllib3.HTTPConnectionPool | urllib3.ProxyManager,
        target: str,
        headers: Mapping[str, str],
    ) -> BaseHTTPResponse:
        try:
            return through.urlopen(
                "GET",
                target,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
            )
        except (NewConnectionError, ConnectTimeoutError) as error:
            raise _NotConnectedError(_broken(origin, error)) from None
        except (HTTPError, OSError) as error:
            raise _broken(origin, error) from None

    def _pool(self, origin: Origin, address: Address) -> urllib3.HTTPConnectionPool:
        with self._lock:
            if (origin, address) not in self._pools:
                self._pools[origin, address] = self._new_pool(origin, str(address))
            return self._pools[origin, address]

    def _new_pool(self, origin: Origin, address: str) -> urllib3.HTTPConnectionPool:
        if origin.scheme == "http":
            return urllib3.HTTPConnectionPool(address, origin.port, maxsize=self._connections)
        return urllib3.HTTPSConnectionPool(
            address,
            origin.port,
            maxsize=self._connections,
            ssl_context=self.tls,
            server_hostname=origin.host,
        )

    def _manager(self, proxy: str) -> urllib3.ProxyManager:
        with self._lock:
            if proxy not in self._managers:
                self._managers[proxy] = proxy_manager(proxy, self.tls, self._connections)
            return self._managers[proxy]


class _NotConnectedError(Exception):
    """One address did not answer; a host may have others."""

    def __init__(self, reported: SourceError) -> None:
        super().__init__(reported.message)
        self.reported = reported


def _exactly(answer: Answer, wanted: int, what: str) -> Iterator[bytes]:
    """Give as many bytes as were asked for, and say so when there are fewer or more."""
    left = wanted
    for piece in answer.pieces():
        if len(piece) > left:
            raise SourceError(
                FetchReason.DIGEST_MISMATCH, f"{what}: {answer.origin} sends more than it promised"
            )
        left -= len(piece)
        yield piece
    if left:
        raise SourceError(
            FetchReason.SOURCE_UNREACHABLE,
            f"{answer.origin} ended the connection {left} bytes before the end of {what}",
            passes=True,
        )


def _leave(body: BaseHTTPResponse) -> None:
    """Keep the connection when nothing is left to read, close it at once when something is."""
    if body.length_remaining == 0:
        body.read()  # only now the library knows that this was the end
    else:
        body.close()
    body.release_conn()


def _broken(origin: Origin, error: Exception) -> SourceError:
    """Name a failure of the connection; libraries' own words may hold the whole address."""
    cause = error.args[-1] if isinstance(error, ProxyError) and error.args else error
    if isinstance(cause, SSLError | ssl.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(cause):
        return SourceError(
            FetchReason.SOURCE_UNREACHABLE,
            f"the certificate of {origin} is not trusted: if a private authority signed it, let an "
            "administrator add that authority to the operator's configuration",
        )
    through = "the proxy on the way to " if isinstance(error, ProxyError) else ""
    return SourceError(
        FetchReason.SOURCE_UNREACHABLE,
        f"the connection to {through}{origin} failed ({_words(error)})",
        passes=True,
    )


def _words(error: Exception) -> str:
    """Describe an error by its kind, in words that hold no address."""
    inner = error.__cause__ or error.__context__
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    names = {
        "NewConnectionError": "refused",
        "ConnectTimeoutError": f"no answer within {CONNECT_S:.0f} s",
        "ReadTimeoutError": f"silent for {READ_S:.0f} s",
        "IncompleteRead": "cut off",
        "ProtocolError": "cut off",
        "TimeoutError": "no answer in time",
    }
    return names.get(type(error).__name__, type(error).__name__)
