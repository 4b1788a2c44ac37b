"""A Prometheus that the user names: addresses, what answers there, and no password on a screen."""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from typer.testing import CliRunner

from stoker.cli import app
from stoker.commands import prometheus
from stoker.commands.exits import Exit
from stoker.commands.running import CommandError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PASSWORD = "p@ss/word"
INSTEAD = "without the option less is told"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://127.0.0.1:9090", "http://127.0.0.1:9090"),
        ("https://user:secret@host/prefix", "https://***@host/prefix"),
        ("https://user:se@cret@host", "https://***@host"),
        ("https://user:se/cret@host", "https://***@host"),
        ("user:secret@host", "***@host"),
        ("ftp://user:secret@host", "ftp://***@host"),
    ],
)
def test_a_password_is_not_shown(address: str, shown: str) -> None:
    assert prometheus.shown(address) == shown


@pytest.mark.parametrize("command", [("cost", "chat"), ("top",)])
@pytest.mark.parametrize(
    "address", ["localhost:9090", "http://", "user:secret@host", "http://u:secret@host:port", "x"]
)
def test_what_is_no_address_is_refused_without_it(command: tuple[str, ...], address: str) -> None:
    words = [*command, "--prometheus", address, "--kubeconfig", "/nowhere"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == Exit.BAD_INPUT
    assert "write http://HOST:PORT" in done.stderr
    assert "secret" not in done.output


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "not one of Prometheus' API"),
        ([], "not one of Prometheus' API"),
        ("text", "not one of Prometheus' API"),
        ({"status": "error", "error": "bad query"}, "bad query"),
        ({"status": "success"}, "another form"),
        ({"status": "success", "data": {"resultType": "matrix", "result": []}}, "another form"),
        ({"status": "success", "data": {"resultType": "vector"}}, "another form"),
    ],
)
def test_what_is_no_answer_to_an_instant_query(answer: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        prometheus.samples_of(answer)


def test_values_that_are_no_numbers_are_left_out() -> None:
    result = [
        {"metric": {"__name__": "a"}, "value": [1, "1.5"]},
        {"metric": {"__name__": "b"}, "value": [1, "NaN"]},
        {"metric": {"__name__": "c"}, "value": [1, "+Inf"]},
        {"metric": {"__name__": "d"}, "value": ["1"]},
        {"value": [1, "2"]},
        "text",
    ]
    answer = {"status": "success", "data": {"resultType": "vector", "result": result}}
    assert prometheus.samples_of(answer) == [({"__name__": "a"}, 1.5), ({}, 2.0)]


@asynccontextmanager
async def site(**pages: Any) -> AsyncIterator[str]:
    """Something at an address: what each path below /api/v1 answers, and with which status."""

    async def answer(request: web.Request) -> web.Response:
        wanted = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
        if "password" in pages and request.headers.get("Authorization") != f"Basic {wanted}":
            return web.Response(status=401, text="who are you?")
        status, body = pages.get(request.path.rpartition("/")[2], (404, "404 page not found"))
        if isinstance(body, str):
            return web.Response(status=status, text=body)
        return web.json_response(body, status=status)

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    server = TestServer(application)
    await server.start_server()
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        await server.close()


EMPTY = {"status": "success", "data": {"resultType": "vector", "result": []}}


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, "<!DOCTYPE html>\n<title>Sign in</title>", "HTTP 200 with a page of HTML"),
        (404, "404 page not found", "HTTP 404 with no answer of Prometheus' API"),
        (200, "", "no answer of Prometheus' API"),
        (200, "[" * 100_000, "no answer of Prometheus' API"),
        (422, {"status": "error", "errorType": "execution", "error": "too many"}, "too many"),
    ],
)
async def test_something_else_answers_there(status: int, body: object, said: str) -> None:
    async with site(query=(status, body)) as host:
        with pytest.raises(CommandError, match=said) as failed:
            await prometheus.ask(f"http://me:{PASSWORD[:1]}@{host}", "up", INSTEAD)
    assert failed.value.exit is Exit.UNREACHABLE
    assert INSTEAD in str(failed.value)
    assert f"http://***@{host}" in str(failed.value)


async def test_a_password_is_sent_and_one_that_is_wrong_is_not_shown() -> None:
    async with site(query=(200, EMPTY), password=True) as host:
        assert await prometheus.ask(f"http://me:p%40ss%2Fword@{host}/", "up", INSTEAD) == []
        for address in (f"http://{host}", f"http://me:wrong-one@{host}"):
            with pytest.raises(CommandError, match="HTTP 401") as failed:
                await prometheus.ask(address, "up", INSTEAD)
            assert failed.value.exit is Exit.FORBIDDEN
            assert "wrong-one" not in str(failed.value)


async def test_nobody_answers_and_the_password_stays_unsaid() -> None:
    async with site() as host:
        pass
    for bad in (host, "nowhere.invalid:1", "[::1"):
        with pytest.raises(CommandError, match="without the option") as failed:
            await prometheus.ask(f"http://me:wrong-one@{bad}", "up", INSTEAD)
        assert failed.value.exit is Exit.UNREACHABLE
        assert "wrong-one" not in str(failed.value)


@pytest.mark.parametrize(
    ("version", "old"),
    [("2.41.0", True), ("1.8.2", True), ("2.42.0", False), ("3.13.0", False), ("", False)],
)
async def test_a_version_without_the_rules_is_named(version: str, old: bool) -> None:
    async with site(buildinfo=(200, {"status": "success", "data": {"version": version}})) as host:
        said = await prometheus.too_old(f"http://{host}")
    assert bool(said) == old
    assert version in said or not old
    async with site() as host:
        assert not await prometheus.too_old(f"http://{host}"), "nobody tells a version"
