"""What the worker answers below /profile, over a state machine and a folder of files."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stoker_worker.contract import PROFILE_PIECE_BYTES, PROFILE_STEPS, WorkerConfig
from stoker_worker.events import (
    DropTraces,
    Event,
    HealthAnswered,
    ProbeAnswered,
    ProfileEnough,
    ProfilerStarted,
    ProfilerStopped,
    Tick,
)
from stoker_worker.lifecycle import begin, step
from stoker_worker.server import Pending, Response
from stoker_worker.tracing import Tracing

CONFIG = WorkerConfig("vllm", "/models/m", ["m"], settle_s=0)
TOKEN, OTHER = "0123abcd" * 4, "ffffffff"


class Loop:
    """The loop that owns the state, turned by hand."""

    def __init__(self, folder: str) -> None:
        self.state = begin(0)
        self.now = 0.0
        self.tracing = Tracing(folder, lambda: self.state, self.take)
        for event in (HealthAnswered(healthy=True), ProbeAnswered()):
            self.take(event)

    def take(self, event: Event) -> None:
        self.now += 0.1
        self.state, commands = step(self.state, event, self.now, CONFIG)
        if any(isinstance(each, DropTraces) for each in commands):
            self.tracing.drop()
        self.tracing.told(event)

    def ask(self, method: str, path: str) -> tuple[int, Any]:
        found = self.tracing.answer(method, f"/profile/{path}")
        if isinstance(found, Pending):
            found = found.taken(lambda: None)
        assert isinstance(found, Response)
        if found.content_type == "application/json":
            return found.status, json.loads(found.body)
        return found.status, found.body if found.raw is None else found.raw

    def write(self) -> None:
        """What the engine does."""
        self.state = replace(self.state, busy=False, sampled_at=self.now)
        self.take(Tick())
        self.take(ProfilerStarted())
        self.take(ProfileEnough(TOKEN))
        self.take(ProfilerStopped())


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    return Loop(str(tmp_path))


def test_files_are_read_in_pieces_and_go_at_the_end(loop: Loop, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("of a trace before", encoding="utf-8")
    status, page = loop.ask("POST", f"{TOKEN}/begin/1000000")
    assert (status, page["stage"], page["steps"]) == (202, "Leaving", PROFILE_STEPS)
    assert page["ready"] is False
    assert not list(tmp_path.iterdir())
    loop.write()
    content = bytes(range(256)) * (PROFILE_PIECE_BYTES // 256) + b"end"
    (tmp_path / "a.json.gz").write_bytes(content)
    (tmp_path / "link").symlink_to("/etc/passwd")
    status, page = loop.ask("GET", TOKEN)
    assert page["files"] == [{"name": "a.json.gz", "bytes": len(content)}]
    assert page["ready"] is True
    pieces = [loop.ask("GET", f"{TOKEN}/file/0/{at}")[1] for at in (0, PROFILE_PIECE_BYTES)]
    assert b"".join(pieces) == content
    assert loop.ask("GET", f"{TOKEN}/file/1/0")[0] == 409
    assert loop.ask("GET", f"{OTHER}/file/0/0")[0] == 409
    assert loop.ask("POST", f"{TOKEN}/end")[0] == 200
    assert not (tmp_path / "a.json.gz").exists()
    assert loop.ask("GET", TOKEN)[0] == 409


def test_one_at_a_time(loop: Loop) -> None:
    assert loop.ask("POST", f"{TOKEN}/begin/5")[0] == 202
    assert loop.ask("POST", f"{TOKEN}/begin/5")[0] == 202, "the answer may have been lost"
    status, said = loop.ask("POST", f"{OTHER}/begin/5")
    assert status == 409
    assert "somebody else" in said
    assert loop.ask("GET", f"{TOKEN}/file/0/0")[0] == 409, "nothing is written yet"


def test_an_engine_without_its_profiler_says_so() -> None:
    loop = Loop("")
    for method, path in (("POST", f"{TOKEN}/begin/5"), ("GET", TOKEN)):
        status, said = loop.ask(method, path)
        assert (status, said) == (409, "the engine was started without its profiler\n")
    assert loop.state.ready


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{TOKEN}/begin/5"),
        ("POST", f"{TOKEN}/begin"),
        ("POST", "../../etc/begin/5"),
        ("GET", f"{TOKEN}/file/..%2f/0"),
        ("GET", f"{TOKEN}/file/-1/0"),
        ("DELETE", TOKEN),
        ("POST", "SHORT/begin/5"),
    ],
)
def test_what_is_no_path_is_nothing(loop: Loop, method: str, path: str) -> None:
    assert loop.tracing.answer(method, f"/profile/{path}") is None
    assert loop.state.profile is None
