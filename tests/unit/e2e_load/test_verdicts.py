"""What a misbehaving server does is never called complete, and never waited for without end."""

from __future__ import annotations

import asyncio
import time

import pytest

from e2e.load import Kind, LoadClient, Outcome, Record, Request
from tests.unit.e2e_load.misbehaving import Server


async def ask(server: Server, fault: str, kind: Kind, **target: float) -> Record:
    async with LoadClient(server.target(fault, **target)) as client:
        record = await client.send(Request(kind, "Say something.", tokens=8))
        assert client.in_flight() == []
    return record


@pytest.mark.parametrize(
    ("fault", "kind", "outcome", "words"),
    [
        ("none", "unary", Outcome.COMPLETE, None),
        ("none", "stream", Outcome.COMPLETE, None),
        ("429", "unary", Outcome.SHED, "no room"),
        ("503", "stream", Outcome.SHED, "no room"),
        ("500", "unary", Outcome.FAILED, "no room"),
        ("500", "stream", Outcome.FAILED, "no room"),
        ("drop", "unary", Outcome.FAILED, "Disconnected"),
        ("drop", "stream", Outcome.FAILED, "Disconnected"),
        ("not json", "unary", Outcome.ABORTED, "not JSON"),
        ("abort", "unary", Outcome.ABORTED, None),
        ("short", "unary", Outcome.TRUNCATED, None),
        ("cut", "stream", Outcome.ABORTED, ""),
        ("error event", "stream", Outcome.ABORTED, "the engine died"),
        ("end early", "stream", Outcome.TRUNCATED, None),
        ("no finish", "stream", Outcome.TRUNCATED, None),
        ("no usage", "stream", Outcome.TRUNCATED, None),
        ("no done", "stream", Outcome.TRUNCATED, None),
    ],
)
async def test_verdict(
    server: Server, fault: str, kind: Kind, outcome: Outcome, words: str | None
) -> None:
    record = await ask(server, fault, kind)
    assert record.outcome is outcome, record
    assert (record.error is None) == (words is None), record.error
    assert (words or "") in (record.error or "")


@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_request_is_sent_once_only(server: Server, kind: Kind) -> None:
    for fault in ("drop", "500", "503"):
        server.requests = 0
        await ask(server, fault, kind)
        assert server.requests == 1


@pytest.mark.parametrize(
    ("fault", "kind", "limit", "outcome"),
    [
        ("hang", "unary", {"total_seconds": 0.3}, Outcome.FAILED),
        ("hang", "stream", {"silent_seconds": 0.3}, Outcome.FAILED),
        ("silent", "stream", {"silent_seconds": 0.3}, Outcome.ABORTED),
        ("silent", "stream", {"total_seconds": 0.3}, Outcome.ABORTED),
    ],
)
async def test_every_wait_ends(
    server: Server, fault: str, kind: Kind, limit: dict[str, float], outcome: Outcome
) -> None:
    begun = time.monotonic()
    record = await ask(server, fault, kind, **limit)
    assert time.monotonic() - begun < 5
    assert record.outcome is outcome
    assert record.error


async def test_nobody_listens(server: Server) -> None:
    server.url = "http://127.0.0.1:1/v1"
    record = await ask(server, "none", "unary")
    assert record.outcome is Outcome.FAILED
    assert record.status is None


async def test_stream_is_described(server: Server) -> None:
    server.release.set()
    record = await ask(server, "slow", "stream")
    assert record.outcome is Outcome.COMPLETE
    assert record.comments == 2
    assert record.chunks == 8  # the role alone is no text
    assert record.text.startswith("w0 w1 ")
    assert record.completion_tokens == 8
    moments = [record.start, record.headers, record.first_byte, record.first_token, record.end]
    known = [moment for moment in moments if moment is not None]
    assert len(known) == 5
    assert known == sorted(known)


async def test_headers_of_interest_are_kept(server: Server) -> None:
    record = await ask(server, "none", "unary")
    assert record.response_headers["x-envoy-upstream-service-time"] == "4"
    assert "x-unasked" not in record.response_headers
    assert record.upstream_seconds == 0.004
    assert record.added_seconds is not None
    refused = await ask(server, "503", "unary")
    assert refused.response_headers["retry-after"] == "3"


async def test_cancelled_request_is_on_record(server: Server) -> None:
    async with LoadClient(server.target("hang")) as client:
        task = asyncio.create_task(client.send(Request("unary", "x", 8)))
        await asyncio.sleep(0.1)
        assert [record.outcome for record in client.in_flight()] == [Outcome.IN_FLIGHT]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.records[0].outcome is Outcome.FAILED
        assert client.in_flight() == []


@pytest.mark.parametrize(("keep_alive", "connections"), [(True, 1), (False, 3)])
async def test_connections(server: Server, keep_alive: bool, connections: int) -> None:  # noqa: FBT001
    async with LoadClient(server.target("none", keep_alive=keep_alive)) as client:
        for _ in range(3):
            await client.send(Request("unary", "x", 8))
    assert len(server.connections) == connections
