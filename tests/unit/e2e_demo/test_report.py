"""What the demo says when it ends, well or badly."""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO

import pytest
from rich.console import Console

from e2e.demo.report import Report, conditions, explain, next_steps, seconds, spread, table


@dataclass
class Finished:
    local: bool = True
    url: str = "http://10.96.1.2/v1"
    namespace: str = "demo"
    name: str = "tiny"


def shown(content: object) -> str:
    text = StringIO()
    Console(file=text, width=120).print(content, highlight=False, soft_wrap=True)
    return text.getvalue()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.00123, "1.2 ms"),
        (0.0123, "12 ms"),
        (0.9994, "999 ms"),
        (1.0, "1.0 s"),
        (61.24, "61.2 s"),
        (None, "-"),
    ],
)
def test_times_as_people_say_them(value: float | None, expected: str) -> None:
    assert seconds(value) == expected


def test_spread_of_nothing() -> None:
    assert spread(None, None) == "p50 -, p95 -"


def test_table_names_each_section_once_and_keeps_brackets() -> None:
    report = Report()
    report.add("start", "apply → Ready", "1.0 s")
    report.add("start", "an answer", "", "[the] words [/b]")
    report.add("zero", "gone", "2.0 s")
    text = shown(table(report, "Measured"))
    assert text.count("start") == 1
    assert "[the] words [/b]" in text
    assert text.index("apply → Ready") < text.index("gone")
    assert report.to_json()[2] == {"section": "zero", "name": "gone", "value": "2.0 s", "note": ""}


def test_failure_says_step_sight_and_remedy() -> None:
    report = Report(step="A rollout under load")
    service = {
        "status": {
            "conditions": [
                {"type": "Ready", "status": "False", "reason": "ImagePull", "message": "no [image]"}
            ]
        }
    }
    text = shown(explain(report, AssertionError("waited 60 s for [it]"), conditions(service)))
    assert "A rollout under load" in text
    assert "waited 60 s for [it]" in text
    assert "Ready=False (ImagePull): no [image]" in text
    assert "make down" in text


def test_failure_without_words_has_a_name() -> None:
    assert "TimeoutError" in explain(Report(), TimeoutError(), [])


def test_conditions_of_what_is_not_there() -> None:
    assert conditions(None) == ["there is no such InferenceService"]
    assert "does the operator run" in conditions({"status": {}})[0]


def test_next_steps_here_and_elsewhere() -> None:
    here, elsewhere = shown(next_steps(Finished())), shown(next_steps(Finished(local=False)))
    assert "curl -N http://10.96.1.2/v1/completions" in here
    assert "make down" in here
    assert "first request then waits" in here
    assert "port-forward -n demo service/tiny" in elsewhere
    assert "make down" not in elsewhere
