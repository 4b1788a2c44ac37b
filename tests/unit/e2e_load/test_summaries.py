"""Numbers that a report repeats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from e2e.load import Outcome, Record, Summary, median, percentile
from e2e.load.__main__ import parse, pattern_of, write
from tests.unit.e2e_load.misbehaving import Server


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1), (1, 1), (50, 50), (90, 90), (99, 99), (100, 100)]
)
def test_percentile_is_a_value_that_occurred(percent: float, expected: float) -> None:
    assert percentile(range(1, 101), percent) == expected


def test_percentiles_of_few_and_of_none() -> None:
    assert percentile([3.0, 1.0], 99) == 3.0
    assert median([4.0, 1.0, 2.0]) == 2.0
    assert median([]) is None


def unary(number: int, seconds: float, **more: object) -> Record:
    record = Record(number, "unary", 4, start=10.0, end=10 + seconds, status=200)
    record.completion_tokens, record.finish_reason = 4, "length"
    for name, value in more.items():
        setattr(record, name, value)
    return record


def test_summary_counts_and_ranks() -> None:
    records = [
        *(unary(number, number / 10) for number in range(1, 11)),
        unary(11, 99.0, status=503, error="no room"),
        unary(12, 99.0, completion_tokens=3),
        unary(13, 1.0, end=None),
    ]
    summary = Summary.of(records)
    assert summary.outcomes == {
        Outcome.COMPLETE: 10, Outcome.SHED: 1, Outcome.TRUNCATED: 1, Outcome.IN_FLIGHT: 1,
    }  # fmt: skip
    assert summary.total == 13
    assert summary.lost == 2
    spread = summary.latency["unary"]
    assert (spread.count, spread.p50, spread.worst) == (10, 0.5, 1.0)
    assert summary.latency["stream"].p50 is None
    assert summary.errors == {"503: no room": 1, "200: truncated": 1}
    assert summary.tokens_per_second == pytest.approx(40)
    console = Console(record=True, width=90)
    console.print(summary.table())
    text = console.export_text()
    assert "500 ms" in text
    assert "shed" in text


def test_summary_of_nothing() -> None:
    summary = Summary.of([])
    assert summary.total == summary.lost == 0
    assert summary.tokens_per_second is None


def test_command_line_chooses_the_pattern(server: Server, tmp_path: Path) -> None:
    base = ["--url", server.url, "--model", "m"]
    assert pattern_of(parse([*base, "--rate", "5"])).rate == 5  # type: ignore[attr-defined]
    assert pattern_of(parse([*base, "--users", "7"])).users == 7  # type: ignore[attr-defined]
    path = tmp_path / "out.json"
    record = unary(1, 0.5)
    write(path, [record], Summary.of([record]))
    found = json.loads(path.read_text())
    assert found["summary"]["outcomes"] == {"complete": 1}
    assert found["records"][0]["end"] == 0.5
