"""`stoker cache`: what is said of a status, and when waiting ends; values alone."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from stoker import naming
from stoker.cli import app
from stoker.commands import caches, cachetable, following
from stoker.commands.cache import progress_of
from stoker.commands.caches import Ending
from stoker.commands.exits import Exit
from stoker.commands.following import Bar, Beats, Matter, Patience, follow, screen_of
from stoker.commands.running import CommandError
from stoker.errors import ClusterUnavailable
from stoker_worker.cachecontract import FetchReason
from tests.unit.caching.worlds import World, fetched

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z
GIB = 2**30
CONTENT: dict[str, Any] = {
    "digest": "d" * 64,
    "revision": "abc",
    "bytes": 16 * GIB,
    "files": 9,
    "claim": "llama-cache",
    "folder": "llama-1",
    "lastVerified": "2025-12-31T21:00:00Z",
}
FETCHING: dict[str, Any] = {
    "phase": "Fetching",
    "observedGeneration": 1,
    "resolved": {"revision": "abc", "bytes": 16 * GIB, "files": 9},
    "progress": {
        "percent": 42,
        "shown": "42%",
        "downloaded": 7 * GIB,
        "speed": "112.0 MiB/s",
        "remaining": "1m20s",
    },
}


def condition(kind: str, status: str, reason: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def body(name: str = "llama", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "chat", "generation": 1},
        "spec": {"model": {"uri": "hf://org/llama"}},
        "status": status,
    }


def ready(**status: Any) -> dict[str, Any]:
    return body(**{"phase": "Ready", "observedGeneration": 1, **CONTENT, **status})


def failed(phase: str = "Failed", **status: Any) -> dict[str, Any]:
    told = [condition("Ready", "False", "RateLimited", "until 10:00: the hub says 429.")]
    attempt = {"uid": "new", "attempts": 2, "retryAt": "2026-01-01T00:10:00Z"}
    more = {"conditions": told, "attempt": attempt, **status}
    return body(phase=phase, observedGeneration=1, **more)


def service(name: str, namespace: str = "chat", cache: str = "", **model: Any) -> dict[str, Any]:
    status = {"model": {"cache": cache}} if cache else {}
    metadata = {"name": name, "namespace": namespace}
    return {"metadata": metadata, "spec": {"model": model}, "status": status}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["cache", *arguments], env={"COLUMNS": "200"})


def test_who_uses_a_cache() -> None:
    services = [
        service("named", cacheRef={"name": "llama"}),
        service("shared", uri="hf://org/llama/"),
        service("elsewhere", "other", uri="hf://org/llama"),
        service("another", uri="hf://org/llama", cache="llama-2"),
        service("other-source", uri="hf://org/qwen"),
        service("told", uri="hf://org/moved", cache="llama"),
    ]
    assert caches.view(ready(), services).used_by == ("named", "shared", "told")
    assert caches.view(ready(), []).used_by == ()
    assert caches.view(ready(), None).used_by is None


def test_a_status_that_is_absent_or_strange_is_not_said() -> None:
    bare = {"metadata": {"name": "x"}, "spec": {"model": {"uri": 3}}}
    strange = body(progress="no", nodes=3, resolved=[], conditions="x", bytes="many", phase=1)
    for each in (bare, strange):
        found = caches.view(each, [])
        told = (found.phase, found.percent, found.bytes, found.nodes_wanted, found.reason)
        assert told == (None,) * 5
        assert caches.warmed(each) is None
        assert "has not looked" in caches.line(found)


def test_one_line_says_where_it_is() -> None:
    assert caches.line(caches.view(body(**FETCHING), None)) == (
        "Fetching 42%, 7.0 GiB of 16.0 GiB, 112.0 MiB/s, 1m20s left"
    )
    nodes = {"ready": 1, "wanted": 3}
    line = caches.line(caches.view(body(**{**FETCHING, "nodes": nodes}), None))
    assert "1 of 3 nodes ready" in line
    assert "7.0 GiB of" not in line  # of all nodes together, beside the size of one
    assert "RateLimited: until 10:00" in caches.line(caches.view(failed(), None))


@pytest.mark.parametrize("width", [60, 80])
def test_a_narrow_screen_gets_short_lines(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    seen = [
        caches.view(ready(), []),
        caches.view(body(**FETCHING), [service("s", uri="hf://org/llama")]),
        caches.view(failed(), None),
    ]
    cachetable.show(seen, NOW, everywhere=False, wide=False)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    for words in ("chat/llama: Ready 100%, 16.0 GiB", "verified 3h ago", "unused", "used by s",
                  "112.0 MiB/s, 1m20s left", "used by ?", "RateLimited"):  # fmt: skip
        assert words in out


def test_a_pipe_gets_a_line_for_each_without_colour(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    long = failed(nodes={"ready": 1, "wanted": 2})
    long["status"]["conditions"][0]["message"] = "[red]words\x1b[31m " * 40
    seen = [caches.view(ready(), []), caches.view(long, [])]
    cachetable.show(seen, NOW, everywhere=True, wide=True)
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["NAMESPACE", "NAME", "PHASE", "DONE"]
    assert head.split()[-4:] == ["MODEL", "REVISION", "CLAIM", "MESSAGE"]
    assert first.split()[:4] == ["chat", "llama", "Ready", "100%"]
    assert "1/2" in second
    assert second.count("[red]words") == 40
    assert "\x1b" not in head + first + second


def test_warm_ends_when_every_node_has_it() -> None:
    assert caches.warmed(body()) is None
    assert caches.warmed(body(**FETCHING)) is None
    done = caches.warmed(ready())
    assert done is not None
    assert (done.exit, "revision abc" in done.words) == (Exit.DONE, True)
    assert caches.warmed(ready(nodes={"ready": 1, "wanted": 2})) is None
    on_nodes = caches.warmed(ready(nodes={"ready": 2, "wanted": 2}))
    assert on_nodes is not None
    assert "on 2 nodes" in on_nodes.words


def test_warm_does_not_believe_the_status_of_an_older_spec() -> None:
    changed = ready()
    changed["metadata"]["generation"] = 2
    assert caches.warmed(changed) is None


def test_warm_says_why_it_never_will() -> None:
    ending = caches.warmed(failed())
    assert ending is not None
    assert ending.exit is Exit.UNHEALTHY
    assert "RateLimited: until 10:00" in ending.words
    assert "tried again at 2026-01-01T00:10:00Z" in ending.words
    going = ready()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    ending = caches.warmed(going)
    assert ending is not None
    assert "being deleted" in ending.words


def test_verification_ends_when_its_word_was_obeyed() -> None:
    before = frozenset[str]()
    assert caches.proven(ready(), "w", before) is None
    assert caches.proven(ready(verified="w", phase="Verifying"), "w", before) is None
    good = caches.proven(ready(verified="w"), "w", before)
    assert good is not None
    assert (good.exit, good.repaired) == (Exit.DONE, ())
    assert "is good: every byte" in good.words
    bad = caches.proven(ready(verified="w", repaired=["model-3.safetensors"]), "w", before)
    assert bad is not None
    assert bad.repaired == ("model-3.safetensors",)
    assert "model-3.safetensors had other bytes" in bad.words


def test_verification_of_nodes_ends_with_the_last_one() -> None:
    one = {"name": "a", "ready": True, "verified": 1_767_225_000}
    late = {"name": "b", "ready": True, "verified": 0}
    nodes = {"ready": 2, "wanted": 2, "list": [one, late]}
    assert caches.proven(ready(verified="w", nodes=nodes), "w", frozenset()) is None
    nodes["list"] = [one, {**late, "verified": 1_767_225_000}]
    good = caches.proven(ready(verified="w", nodes=nodes), "w", frozenset())
    assert good is not None
    assert good.exit is Exit.DONE


def test_verification_that_fails_is_told_from_an_older_failure() -> None:
    now = failed("Degraded", **CONTENT)
    ending = caches.proven(now, "w", frozenset())
    assert ending is not None
    assert ending.exit is Exit.UNHEALTHY
    assert caches.proven(now, "w", caches.attempts_of(now)) is None


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("hf://Qwen/Qwen2.5-0.5B", "qwen2-5-0-5b"),
        ("s3://bucket/models/llama/", "llama"),
        ("https://host/" + "a-b" * 30 + ".tar", ("a-b" * 30)[:40].strip("-")),
        ("hf://org/___", "model"),
    ],
)
def test_the_name_of_an_address(uri: str, name: str) -> None:
    assert caches.name_for(uri) == name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ls", "-n", "a", "-A"], "one of -n and -A"),
        (["ls", "-n", "A/b"], "is no name"),
        (["verify", "A b"], "is no name"),
        (["verify", "llama", "--timeout", "soon"], "--timeout: 'soon' is not a duration"),
        (["warm"], "pass one of: NAME"),
        (["warm", "llama", "--uri", "hf://a/b"], "pass one of: NAME"),
        (["warm", "llama", "--revision", "v1"], "go with --uri"),
        (["warm", "--uri", "ftp://a/b"], "write hf://ORG/NAME"),
        (["warm", "--uri", "hf://a/../b"], "write the path without them"),
        (["warm", "--uri", "https://a/b.gguf"], "GGUF is a format that no engine here loads"),
        (["warm", "--uri", "https://a/b.tar"], "needs revision sha256:"),
        (["warm", "--uri", "hf://a/b", "--name", "A_b"], "name must be a DNS label"),
        (["warm", "--uri", "hf://a/b", "--secret", "A b"], "the name of a Secret"),
    ],
)
def test_options_that_cannot_be_used(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == Exit.BAD_INPUT, result.output
    assert said in result.stderr


PER_NODE: dict[str, Any] = {"storage": {"perNode": {"storageClassName": "local"}}}


def of(world: World) -> dict[str, Any]:
    """The object as the API server would have it."""
    metadata = {"name": "llama", "namespace": "chat", "generation": world.generation}
    return {"metadata": metadata, "spec": world.spec, "status": dict(world.status)}


@pytest.mark.parametrize("repaired", [(), ("model-00003.safetensors",)])
def test_what_the_operator_writes_is_understood(repaired: tuple[str, ...]) -> None:
    world = World()
    assert caches.warmed(of(world)) is None
    world.ready()
    done = caches.warmed(of(world))
    assert done is not None
    assert done.exit is Exit.DONE
    world.annotations[naming.ANNOTATION_VERIFY] = "word"
    world.turn()
    assert caches.proven(of(world), "word", frozenset()) is None
    world.end("verify", fetched("verify", repaired=repaired))
    world.settle()
    good = caches.proven(of(world), "word", frozenset())
    assert good is not None
    assert (good.exit, good.repaired) == (Exit.DONE, repaired)


def test_a_failed_job_of_the_operator_is_understood() -> None:
    world = World()
    world.ready()
    world.annotations[naming.ANNOTATION_VERIFY] = "word"
    world.turn()
    world.fail("verify", FetchReason.DIGEST_MISMATCH, "model-00003.safetensors", 2)
    world.settle()
    bad = caches.proven(of(world), "word", frozenset())
    assert bad is not None
    assert bad.exit is Exit.UNHEALTHY
    assert "DigestMismatch: model-00003.safetensors" in bad.words


def test_nodes_of_the_operator_are_understood() -> None:
    world = World(PER_NODE)
    world.nodes = ("n1", "n2")
    world.resolve()
    world.bind()
    for node in ("n1", "n2"):
        assert caches.warmed(of(world)) is None
        world.turn()
        world.fetch(node)
    world.settle()
    assert caches.warmed(of(world)) is not None
    world.annotations[naming.ANNOTATION_VERIFY] = "word"
    for node in ("n1", "n2"):
        world.turn()
        assert caches.proven(of(world), "word", frozenset()) is None
        world.end("verify", fetched("verify", repaired=(f"of-{node}",)), node)
        world.turn()
    world.settle()
    good = caches.proven(of(world), "word", frozenset())
    assert good is not None
    assert good.repaired == ("of-n1", "of-n2")


class Steps:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def unix(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.now += seconds


async def watch(
    looks: list[dict[str, Any] | Exception], timeout_s: float = 600.0
) -> tuple[list[str], Ending | CommandError | ClusterUnavailable]:
    clock, lines = Steps(), list[str]()

    async def look() -> dict[str, Any]:
        found = looks[0] if len(looks) == 1 else looks.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    patience = Patience(timeout_s, clock, clock.pause)
    try:
        matter = Matter(look, caches.warmed, progress_of, "look there")
        _, ending = await follow(matter, Beats(lines.append, clock), patience)
    except (CommandError, ClusterUnavailable) as error:
        return lines, error
    return lines, ending


async def test_a_log_gets_a_line_for_what_changes() -> None:
    later = {**FETCHING, "progress": {"percent": 43, "speed": "1.0 MiB/s"}}
    much = {**FETCHING, "progress": {"percent": 80}}
    looks = [body(), body(**FETCHING), body(**later), body(**much), ready()]
    lines, ending = await watch([*looks])
    assert [line.split(", ")[0] for line in lines] == [
        "chat/llama: the operator has not looked at it yet",
        "chat/llama: Fetching 42%",
        "chat/llama: Fetching 80%",
    ]
    assert isinstance(ending, Ending)
    assert ending.exit is Exit.DONE


async def test_the_time_runs_out_with_signs_of_life() -> None:
    lines, error = await watch([body(**FETCHING)], timeout_s=60)
    assert isinstance(error, CommandError)
    assert error.exit is Exit.TIMED_OUT
    assert "not within 1m" in str(error)
    assert "Fetching 42%" in str(error)
    assert len(lines) == 4  # one, and one each 16 s: every look is 2 s after another


async def test_an_api_server_that_is_away_for_a_while_ends_nothing() -> None:
    away = ClusterUnavailable("no answer")
    _, ending = await watch([away, away, body(**FETCHING), away, ready()])
    assert isinstance(ending, Ending)
    _, error = await watch([away])
    assert isinstance(error, ClusterUnavailable)


def test_a_terminal_gets_a_bar_and_a_pipe_does_not() -> None:
    terminal = io.StringIO()
    bar = screen_of(Console(file=terminal, force_terminal=True, width=100), Steps())
    assert isinstance(bar, Bar)
    with bar:
        bar.tell(progress_of(body(**FETCHING)))
    assert "Fetching 42%, 7.0 GiB of 16.0 GiB" in terminal.getvalue()
    pipe = io.StringIO()
    with screen_of(Console(file=pipe), Steps()) as beats:
        beats.tell(progress_of(body(**FETCHING)))
    assert pipe.getvalue().endswith("left\n")
    assert following.LOOK_S < following.BEAT_S
