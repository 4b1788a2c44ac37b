"""`stoker chat`: what is asked, and what an error means; the stream is in the integration tests."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from stoker.cli import app
from stoker.commands import talk
from stoker.commands.exits import Exit
from stoker.commands.talk import Asking

ASKED = [{"role": "user", "content": "hello"}]


def test_what_is_asked() -> None:
    body = Asking("main", max_tokens=3, temperature=0.0).body(ASKED)
    assert body["messages"] == ASKED
    assert (body["stream"], body["max_tokens"], body["temperature"]) == (True, 3, 0.0)
    plain = Asking("main", raw=True)
    assert plain.body(ASKED)["prompt"] == "hello"
    assert "max_tokens" not in plain.body(ASKED)
    assert plain.path() == "/v1/completions"


@pytest.mark.parametrize(
    ("status", "raw", "exit_status", "said"),
    [
        (400, {"error": {"message": "no such\nmodel"}}, Exit.REFUSED, "no such model"),
        (404, {"message": "not here"}, Exit.REFUSED, "not here"),
        (400, {"error": {"message": "needs a chat template"}}, Exit.REFUSED, "--raw"),
        (503, {"error": {"message": "hold_timeout"}}, Exit.UNHEALTHY, "hold_timeout"),
        (429, {"error": {"message": "queue_full"}}, Exit.UNHEALTHY, "queue_full"),
        (502, "<html>bad", Exit.UNHEALTHY, "<html>bad"),
        (500, "", Exit.UNHEALTHY, "no reason is told"),
        (500, [1], Exit.UNHEALTHY, "[1]"),
    ],
)
def test_what_an_error_means(status: int, raw: object, exit_status: Exit, said: str) -> None:
    text = raw if isinstance(raw, str) else json.dumps(raw)
    found = talk.failure(status, text.encode())
    assert found.exit is exit_status
    assert said in str(found)


def test_an_answer_steers_no_terminal() -> None:
    assert talk.readable("a\x1b[31mb\r\n\tc\x07") == "a[31mb\n\tc"


def test_an_empty_question_is_refused() -> None:
    for given in ("", " \n"):
        result = CliRunner().invoke(app, ["chat", "llama", "--kubeconfig", "/nowhere"], input=given)
        assert result.exit_code == Exit.BAD_INPUT
        assert "question is empty" in result.stderr
