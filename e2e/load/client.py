"""Send requests to an OpenAI-compatible address and write down everything that comes back.

There is no retry, neither here nor in the library: aiohttp repeats idempotent methods only, and
these are POSTs. Every wait has an end: a total time, and a silence after which a connection that
is open but says nothing counts as dead.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import aiohttp

from e2e.load.records import Kind, Record
from e2e.load.sse import EventParser, read_piece

KEPT_HEADERS = (
    "x-envoy-upstream-service-time",
    "x-request-id",
    "x-stoker-pod",
    "retry-after",
    "server",
)

ERROR_BODY_BYTES = 400
TEXT_CHARACTERS = 400
"""Enough to recognise an answer; a long run keeps thousands of records."""


@dataclass(frozen=True)
class Request:
    """What to ask for."""

    kind: Kind
    prompt: str
    tokens: int
    """Exactly so many: the end token is ignored."""
    api: Literal["chat", "completions"] = "chat"

    def path(self) -> str:
        """Return the path below `/v1`."""
        return "/chat/completions" if self.api == "chat" else "/completions"

    def body(self, model: str) -> dict[str, Any]:
        """Return the JSON to send."""
        body: dict[str, Any] = {
            "model": model,
            "max_tokens": self.tokens,
            "temperature": 0,
            "ignore_eos": True,
        }
        if self.api == "chat":
            body["messages"] = [{"role": "user", "content": self.prompt}]
        else:
            body["prompt"] = self.prompt
        if self.kind == "stream":
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body


@dataclass(frozen=True)
class Target:
    """Where requests go, and how."""

    url: str
    """Ends in `/v1`."""
    model: str
    keep_alive: bool = False
    """Reuse connections. Without it each request opens its own, as new users do."""
    total_seconds: float = 120.0
    silent_seconds: float = 60.0
    """No byte for so long, and the request is given up."""
    request_headers: dict[str, str] = field(default_factory=dict)
    kept_headers: tuple[str, ...] = KEPT_HEADERS


class LoadClient:
    """An HTTP client that remembers each request it made."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.records: list[Record] = []
        self._numbers = itertools.count()
        self._flying: dict[int, Record] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=not self.target.keep_alive),
            timeout=aiohttp.ClientTimeout(total=None, sock_read=self.target.silent_seconds),
            headers=self.target.request_headers,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def in_flight(self) -> list[Record]:
        """Return the requests that are under way.

        The records are the live ones: what became of them is in them when they have ended.
        """
        return list(self._flying.values())

    async def send(self, request: Request) -> Record:
        """Make one request and return its record, which tells of every failure; never raises."""
        record = Record(next(self._numbers), request.kind, request.tokens)
        self.records.append(record)
        self._flying[record.number] = record
        try:
            async with asyncio.timeout(self.target.total_seconds):
                await self._exchange(request, record)
        except TimeoutError as error:
            # aiohttp's silence is a TimeoutError too, and is the one that has words.
            record.error = str(error) or f"not over after {self.target.total_seconds:g} s"
        except (aiohttp.ClientError, OSError) as error:
            record.error = f"{type(error).__name__}: {error}"
        except asyncio.CancelledError:
            record.error = "given up by the client"
            raise
        finally:
            record.end = time.monotonic()
            del self._flying[record.number]
        return record

    async def _exchange(self, request: Request, record: Record) -> None:
        assert self._session is not None, "use it as a context manager"
        url = self.target.url.rstrip("/") + request.path()
        async with self._session.post(url, json=request.body(self.target.model)) as response:
            record.headers = time.monotonic()
            record.status = response.status
            record.response_headers = {
                name: response.headers[name]
                for name in self.target.kept_headers
                if name in response.headers
            }
            if response.status != 200:
                body = await response.content.read(ERROR_BODY_BYTES)
                record.error = read_piece(body).error or body.decode(errors="replace")
            elif request.kind == "stream":
                await _read_stream(response, record)
            else:
                await _read_unary(response, record)


async def _read_unary(response: aiohttp.ClientResponse, record: Record) -> None:
    body = b""
    async for data in response.content.iter_any():
        record.first_byte = record.first_byte or time.monotonic()
        body += data
    record.first_token = time.monotonic()
    _note(record, body)


async def _read_stream(response: aiohttp.ClientResponse, record: Record) -> None:
    parser = EventParser()
    async for data in response.content.iter_any():
        record.first_byte = record.first_byte or time.monotonic()
        for event in parser.feed(data):
            if event.data is None:
                record.comments += 1
            elif event.data == "[DONE]":
                record.done = True
            else:
                _note(record, event.data)


def _note(record: Record, body: str | bytes) -> None:
    piece = read_piece(body)
    if piece.text:
        record.chunks += 1
        record.first_token = record.first_token or time.monotonic()
        if len(record.text) < TEXT_CHARACTERS:
            record.text += piece.text
    record.finish_reason = piece.finish_reason or record.finish_reason
    record.error = piece.error or record.error
    if piece.completion_tokens is not None:
        record.completion_tokens = piece.completion_tokens
