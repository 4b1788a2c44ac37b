"""The command that compares a traced day's cost with a calculation by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks import cost
from benchmarks.autoscale.cases import case_of
from tests.unit.cost.replay import replay

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "arrival_s,input_tokens,output_tokens"


def trace(path: Path, requests: int) -> Path:
    """Busy for ten minutes of each half hour, at odd moments, with long answers."""
    times = (1800 * (n // 100) + 6 * (n % 100 + n * 0.618 % 1) for n in range(requests))
    path.write_text("\n".join([HEADER, *(f"{time},2000,900" for time in times)]) + "\n")
    return path


def test_it_agrees_and_writes_what_it_found(tmp_path: Path) -> None:
    file = trace(tmp_path / "day.csv", 400)
    assert cost.main([str(file), "--most", "6", "-o", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    counted, by_hand = found["all, spot and on demand"]
    assert counted == pytest.approx(by_hand, rel=cost.WITHIN)
    assert found["serving, on demand"][1] == pytest.approx(400 * (0.2 + 9.0) / 3600 * 1.2)


def test_a_figure_that_is_off_ends_it_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "compare", lambda _: [cost.Compared("all", 1.02, 1.0)])
    assert cost.main([str(trace(tmp_path / "day.csv", 3))]) == 1


def test_hours_are_cut_out_of_the_trace(tmp_path: Path) -> None:
    file = trace(tmp_path / "day.csv", 400)
    found = cost.arrivals_of(case_of(f"{file}@1-1.5"))
    assert len(found) == 100
    assert found[0].at_s < 6
    assert found[0].output_tokens == 900
    assert len(replay(found, cost.PACE, 4).served) == 100


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "is no file"),
        ("one,two\n", "day.csv:1"),
        (f"{HEADER}\n5,1,1\n4,1,1\n", "day.csv:3: is earlier than the line before"),
    ],
)
def test_a_bad_trace_is_told_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, said: str
) -> None:
    file = tmp_path / "day.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SystemExit) as ended:
        cost.main([str(file)])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
