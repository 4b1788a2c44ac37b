"""`stoker logs`: which containers are read, and what of a line is shown; values alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stoker.commands import loglines
from stoker.commands.loglines import Source, clean, prefix, sources
from stoker.commands.logs import Ask, Line, _shower, as_data
from stoker.commands.reach import Output


def status(name: str, restarts: int = 0, **state: Any) -> dict[str, Any]:
    return {"name": name, "restartCount": restarts, "state": state or {"waiting": {}}}


def pod(name: str, component: str, *entries: dict[str, Any], init: Any = ()) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "uid": name, "labels": {"stoker.dev/component": component}},
        "status": {"initContainerStatuses": list(init), "containerStatuses": list(entries)},
    }


PODS = [
    pod(
        "tiny-frontend-2",
        "frontend",
        status("envoy", running={}),
        init=[status("picker-stable", running={})],
    ),
    pod(
        "tiny-engine-1",
        "engine",
        status("engine", 2, running={}),
        init=[status("install-worker", terminated={}), status("await-model", terminated={})],
    ),
    pod("tiny-engine-3", "engine", status("engine")),
    {"metadata": {"name": "broken"}, "status": None},
]


def test_what_has_something_to_say_is_read_in_order() -> None:
    found = [(each.pod, each.container) for each in sources(PODS, previous=False)]
    assert found == [
        ("tiny-engine-1", "await-model"),
        ("tiny-engine-1", "engine"),
        ("tiny-frontend-2", "picker-stable"),
        ("tiny-frontend-2", "envoy"),
    ]
    again = [(each.pod, each.container) for each in sources(PODS, previous=True)]
    assert again == [("tiny-engine-1", "engine")]


def test_an_end_makes_no_other_log() -> None:
    one = Source("p", "u", "engine", "engine", 0, running=True)
    assert one == Source("p", "u", "engine", "engine", 0, running=False)
    assert one != Source("p", "u", "engine", "engine", 1, running=True)


def test_a_prefix_says_whose_it_is() -> None:
    told = [prefix(each, "tiny") for each in sources(PODS, previous=False)]
    assert told == ["engine-1/await-model", "engine-1", "frontend-2/picker-stable", "frontend-2"]


@pytest.mark.parametrize(
    "secret",
    [
        "hf_abcdefghijklmnopqrstuvwxyz",
        "Authorization: Bearer abcdefgh12345678",
        "https://user:password@host/path",
        "https://bucket/key?X-Amz-Signature=0123456789abcdef&x=1",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefg",
        "api_key=0123456789",
        "sk-0123456789abcdef0123",
    ],
)
def test_credentials_are_hidden_whoever_wrote_them(secret: str) -> None:
    said = clean(f"before {secret} after".encode())
    assert loglines.HIDDEN in said
    for part in ("hf_a", "abcdefgh1", "password", "0123456789", "AKIA", "eyJ"):
        assert part not in said
    assert said.startswith("before ")
    assert said.endswith(" after")


def test_what_is_no_credential_stays() -> None:
    line = "INFO 01-01 loading /models/tiny-llama tokens=12 https://host/v1 task-0123456789abcdef"
    assert clean(line.encode()) == line


def test_a_line_steers_no_terminal() -> None:
    assert clean(b"\x1b[31mred\x1b[0m \x1b]0;title\x07end\r\n") == "red end"
    assert clean(b"a\x00b\x9bc\xff") == "a b\ufffdc\ufffd"


def test_each_line_is_an_object_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    line = Line(
        Source("tiny-engine-1", "u", "engine", "engine", 0, running=True),
        "2026-01-01T00:00:00.1Z",
        "[red]hello",
    )
    _shower("tiny", Output.JSON, timestamps=False)(line)
    assert json.loads(capsys.readouterr().out) == as_data(line)
    _shower("tiny", Output.TABLE, timestamps=True)(line)
    assert capsys.readouterr().out == "engine-1 | 2026-01-01T00:00:00.1Z [red]hello\n"


def test_what_is_asked_of_the_api_server() -> None:
    source = Source("p", "u", "engine", "engine", 0, running=True)
    ask = Ask(previous=True, since_s=0.4, tail=-1)
    assert ask.query(source, follow=False) == {
        "container": "engine",
        "timestamps": "true",
        "limitBytes": "10485760",
        "previous": "true",
        "sinceSeconds": "1",
    }
    again = Ask(previous=False, since_s=60, tail=10).query(source, follow=True, after="T")
    assert again == {
        "container": "engine",
        "timestamps": "true",
        "follow": "true",
        "sinceTime": "T",
    }
