"""`stoker top`: rates between looks, what is not told, and a table that fits; values alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from stoker.cli import app
from stoker.commands import podpages, rates, toptable
from stoker.commands.exits import Exit
from stoker.commands.prometheus import Sample
from stoker.commands.rates import Look, Row
from stoker.commands.running import CommandError
from stoker.commands.top import Scope, Watch
from stoker.errors import ClusterUnavailable
from stoker.model.load import EngineSample, FrontendSample
from stoker.model.timing import Buckets, Timings

BODY: dict[str, Any] = {
    "metadata": {"namespace": "chat", "name": "llama"},
    "status": {
        "readyReplicas": 2,
        "desiredReplicas": 3,
        "replicas": 3,
        "queueDepth": 7,
        "plan": {"expected": {"pricePerHour": "1.50"}},
    },
}
ROW = rates.of_status(BODY, 1000.0, 940.0)
INF = math.inf


def engine(uid: str, tokens: float = 0.0, **values: Any) -> EngineSample:
    told = {"kv_cache": 0.25, "timings": Timings(first_tokens=tokens / 10, gaps=tokens), **values}
    return EngineSample(uid, running=2, waiting=1, uid=uid, **told)


def frontend(uid: str, total: float, held: int = 0) -> FrontendSample:
    return FrontendSample(uid, held=held, active=held, requests_total=total, uid=uid)


def look(time: float, *samples: EngineSample | FrontendSample, problem: str = "") -> Look:
    return Look(
        time,
        {each.uid: each for each in samples if isinstance(each, EngineSample)},
        {each.uid: each for each in samples if isinstance(each, FrontendSample)},
        (problem,) if problem else (),
    )


def test_a_status_alone_tells_replicas_price_and_an_old_queue() -> None:
    assert (ROW.ready, ROW.desired, ROW.queue) == (2, 3, 7)
    assert ROW.dollars_per_hour == 4.5  # all that exist are paid for
    assert ROW.queue_age_seconds == 60
    assert ROW.requests_per_second is None
    empty = rates.of_status({}, 0.0, None)
    assert (empty.ready, empty.queue, empty.dollars_per_hour) == (None, None, None)


def test_rates_are_what_came_between_two_looks() -> None:
    first = look(10.0, engine("e1", 100), engine("e2", 50), frontend("f1", 10))
    last = look(
        20.0, engine("e1", 200, kv_cache=0.75), engine("e2", 50), frontend("f1", 40, held=3)
    )
    row = rates.of_pods(ROW, first, last)
    assert row.requests_per_second == 3
    assert row.tokens_per_second == pytest.approx(11)  # first tokens count too
    assert (row.queue, row.running, row.kv_cache) == (5, 4, 0.75)
    assert row.queue_age_seconds is None


def test_tokens_that_an_engine_does_not_tell_are_said_to_be_unknown() -> None:
    row = rates.of_pods(
        ROW, look(10.0, engine("e1", timings=None)), look(20.0, engine("e1", timings=None))
    )
    assert (row.running, row.tokens_per_second) == (2, None)
    assert row.note == "e1: its tokens per second are not known for this engine"


def test_one_look_has_no_rates() -> None:
    row = rates.of_pods(ROW, look(10.0, engine("e1")), look(10.0, engine("e1")))
    assert row.tokens_per_second is None
    assert row.running == 2
    assert row.queue == 7, "without a frontend the status has to do"


def test_pods_that_come_or_begin_anew_add_nothing_wrong() -> None:
    first = look(10.0, engine("e1", 100), frontend("f1", 100))
    new = rates.of_pods(ROW, first, look(20.0, engine("e2", 500), frontend("f2", 500)))
    assert new.requests_per_second is None
    assert new.tokens_per_second is None
    again = rates.of_pods(ROW, first, look(20.0, engine("e1", 5), frontend("f1", 5)))
    assert again.tokens_per_second is None
    assert again.requests_per_second == 0


def test_a_silent_pod_makes_no_sum_of_the_others() -> None:
    row = rates.of_pods(ROW, look(1.0, engine("e1")), look(9.0, engine("e1"), problem="no answer"))
    assert row.running is None
    assert row.tokens_per_second is None
    assert row.note == "no answer"


def test_the_time_to_the_first_token_is_of_the_window() -> None:
    before = ((0.1, 5.0), (1.0, 5.0), (INF, 5.0))
    after = ((0.1, 5.0), (1.0, 15.0), (INF, 15.0))
    row = rates.of_pods(
        ROW, look(1.0, engine("e1", ttft=before)), look(9.0, engine("e1", ttft=after))
    )
    assert row.ttft_seconds == pytest.approx(0.1 + 0.9 * 0.95)
    still = rates.of_pods(
        ROW, look(1.0, engine("e1", ttft=after)), look(9.0, engine("e1", ttft=after))
    )
    assert still.ttft_seconds is None


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [
        ((), None),
        (((1.0, 0.0), (INF, 0.0)), None),
        (((1.0, 10.0), (INF, 10.0)), 0.95),
        (((1.0, 0.0), (2.0, 0.0), (INF, 10.0)), 2.0),
        (((INF, 10.0),), 0.0),
    ],
)
def test_a_quantile(buckets: Buckets, expected: float | None) -> None:
    assert rates.quantile(buckets, 0.95) == (None if expected is None else pytest.approx(expected))


def test_recorded_series_are_joined() -> None:
    def sample(name: str, value: float, **labels: str) -> Sample:
        return {"__name__": name, "namespace": "chat", "service": "llama", **labels}, value

    values = rates.series_of(
        [
            sample(rates.REQUESTS, 1.5, revision="a"),
            sample(rates.REQUESTS, 0.5, revision="b"),
            sample(rates.KV, 0.2, pod="p"),
            sample(rates.KV, 0.9, pod="q"),
            sample(rates.QUEUE, 4),
            sample("up", 1),
        ]
    )
    assert values == {("chat", "llama"): {rates.REQUESTS: 2, rates.KV: 0.9, rates.QUEUE: 4}}
    row = rates.of_series(ROW, values["chat", "llama"])
    assert (row.requests_per_second, row.queue, row.queue_age_seconds) == (2, 4, None)
    assert row.dollars_per_hour == 4.5


def text(rows: list[Row], width: int, *, everywhere: bool = False) -> list[str]:
    console = Console(width=width, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(toptable.table(rows, width, everywhere=everywhere))
    return captured.get().splitlines()


def test_columns_go_until_the_table_fits() -> None:
    rows = [ROW, rates.of_status({"metadata": {"name": "a" * 30, "namespace": "n"}}, 0, None)]
    wide = text(rows, 200, everywhere=True)
    heads = wide[0].split()
    assert heads == [each.head for each in toptable.COLUMNS]
    for width in (60, 45, 34, 10):
        lines = text(rows, width, everywhere=True)
        kept = lines[0].split()
        assert "SERVICE" in kept
        assert kept == [head for head in heads if head in kept]
    sixty = text(rows, 60, everywhere=True)
    assert max(map(len, sixty)) <= 60
    assert {"SERVICE", "READY", "QUEUE"} <= set(sixty[0].split())
    assert "a" * 30 in "\n".join(sixty)
    assert "~7" in "\n".join(sixty), "a queue that was told a minute ago is marked"
    assert "-" in sixty[1] + sixty[2]


def fitted(rows: list[Row], notes: list[str], width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(toptable.fitted(console, rows, notes, everywhere=False))
    return captured.get().splitlines()


@pytest.mark.parametrize("height", [4, 6, 24])
def test_a_screen_that_is_full_says_how_many_are_left_out(height: int) -> None:
    rows = [
        rates.of_status({"metadata": {"name": f"s{number}", "namespace": "n"}}, 0, None)
        for number in range(30)
    ]
    lines = fitted(rows, ["n/s1: its pod does not answer", "every 2 s; q ends"], 60, height)
    assert len(lines) <= height
    assert lines[-1].strip() == "every 2 s; q ends", "the way out stays"
    shown = sum(line.startswith("s") for line in lines)
    assert any(f"and {30 - shown} more" in line for line in lines)
    few = fitted(rows[:2], ["every 2 s; q ends"], 60, 24)
    assert not any("more" in line for line in few)


class Scripted:
    """What each look finds."""

    def __init__(self, *found: list[Row] | Exception) -> None:
        self.found = list(found)

    async def look(self) -> tuple[list[Row], list[str]]:
        """The next of it."""
        found = self.found.pop(0)
        if isinstance(found, Exception):
            raise found
        return found, []


async def test_rows_stay_with_their_age_while_nobody_answers() -> None:
    away = CommandError("the API server does not answer", Exit.UNREACHABLE)
    watch = Watch(Scripted(away, [ROW], ClusterUnavailable("gone"), [ROW]), Scope("chat", None))
    await watch.look()
    assert (watch.rows, watch.trouble) == ([], "the API server does not answer")
    assert "nothing was seen yet" in watch.age(0.0)
    await watch.look()
    assert (watch.rows, watch.trouble) == ([ROW], "")
    await watch.look()
    assert (watch.rows, watch.trouble) == ([ROW], "gone"), "no service is none at all"
    assert "old" in watch.age(1e9)
    await watch.look()
    assert watch.trouble == ""


async def test_what_is_refused_or_never_was_ends_it() -> None:
    for kind in (Exit.FORBIDDEN, Exit.NOT_FOUND):
        watch = Watch(Scripted(CommandError("so it is", kind)), Scope("chat", "llama"))
        with pytest.raises(CommandError, match="so it is"):
            await watch.look()
    gone = CommandError("there is no such service", Exit.NOT_FOUND)
    watch = Watch(Scripted([ROW], gone), Scope("chat", "llama"))
    await watch.look()
    with pytest.raises(CommandError, match="chat/llama was deleted meanwhile"):
        await watch.look()


def test_the_busiest_is_first() -> None:
    quiet = rates.of_status({"metadata": {"name": "a", "namespace": "n"}}, 0, None)
    assert [each.name for each in rates.sorted_rows([quiet, ROW])] == ["llama", "a"]


def pod(name: str, component: str, service: str = "llama", **changes: Any) -> dict[str, Any]:
    labels = {"stoker.dev/service": service, "stoker.dev/component": component}
    return {
        "metadata": {"name": name, "namespace": "chat", "uid": name, "labels": labels, **changes},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


def test_only_pods_that_have_to_answer_are_asked() -> None:
    unready = {**pod("e3", "engine"), "status": {}}
    found = podpages.answering(
        [
            pod("e1", "engine"),
            pod("e2", "engine", deletionTimestamp="now"),
            unready,
            pod("f1", "frontend"),
            pod("x", "facts"),
            {},
        ]
    )
    assert [(each.name, each.engine) for each in found["chat", "llama"]] == [
        ("e1", True),
        ("f1", False),
    ]


def test_so_many_pods_are_asked_and_no_service_by_half() -> None:
    pods = podpages.answering(
        [
            pod(f"{name}{n}", "engine", name)
            for name, many in (("a", 3), ("b", 1))
            for n in range(many)
        ]
    )
    assert list(podpages.chosen(pods, 4)) == [("chat", "b"), ("chat", "a")]
    assert list(podpages.chosen(pods, 3)) == [("chat", "b")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["llama", "-A"], "one of -A"),
        (["-A", "-n", "chat"], "one of -A"),
        (["--interval", "0s"], "write 1s to 1h"),
        (["--interval", "soon"], "--interval"),
        (["--prometheus", "localhost:9090"], "http://HOST:PORT"),
    ],
)
def test_bad_options(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["top", *arguments, "--kubeconfig", "/nowhere"])
    assert result.exit_code == Exit.BAD_INPUT
    assert said in result.stderr
