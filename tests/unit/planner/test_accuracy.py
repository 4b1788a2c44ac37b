"""The lines that docs and benchmark promise, on published points alone."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.planner.claims import document
from benchmarks.planner.kaito import grid
from benchmarks.planner.memory import memory_results
from benchmarks.planner.times import time_results

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def points() -> Any:
    return yaml.safe_load((ROOT / "benchmarks/planner/points.yaml").read_text(encoding="utf-8"))


def test_memory_keeps_the_line_everywhere(points: Any) -> None:
    results = memory_results(points["memory"])
    assert len(results) >= 8
    assert [each.what for each in results if not each.kept] == []
    assert sum(abs(each.error) for each in results) / len(results) < 0.05


def test_every_point_names_its_source(points: Any) -> None:
    used = {point["source"] for kind in ("memory", "times") for point in points[kind]}
    assert used == set(points["sources"])


def test_times_keep_the_line_but_where_it_is_said(points: Any) -> None:
    missed = [each.what for each in time_results(points, None) if not each.kept]
    assert missed == [
        "Qwen3-1.7B on nvidia-a100-80gb, vLLM 0.9, prompt 1024",
        "Qwen3-30B-A3B on nvidia-a100-80gb, vLLM 0.9, prompt 2048",
    ]


def test_against_kaito() -> None:
    cells = grid()
    assert [cell for cell in cells if cell.too_optimistic] == []
    assert sum(cell.sign in "+>" for cell in cells) >= len(cells) / 2


def test_the_document_of_claims_is_true() -> None:
    written = (ROOT / "docs/claims.md").read_text(encoding="utf-8")
    assert written == document(), "python -m benchmarks.planner --claims docs/claims.md"
