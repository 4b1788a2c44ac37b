"""Print how near the planner comes; see the package's own text."""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

import benchmarks.planner as package
from benchmarks.planner.claims import claims, document
from benchmarks.planner.kaito import Cell, grid
from benchmarks.planner.memory import MemoryResult, memory_results
from benchmarks.planner.times import (
    LINES,
    TimeResult,
    fitted_results,
    legacy_fit,
    memory_of_trace,
    observed_capacity,
    time_results,
)

_CONSOLE = Console(width=None if sys.stdout.isatty() else 150)


def main() -> None:
    parser = argparse.ArgumentParser(description=(package.__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--measured", type=Path, help="folder of measured runs")
    parser.add_argument("--fit", action="store_true", help="show how entries fit their own sources")
    parser.add_argument(
        "--claims", type=Path, help="write the document of claims, and nothing else"
    )
    parser.add_argument("-o", "--output", type=Path, help="write the numbers as JSON")
    options = parser.parse_args()
    if options.claims is not None:
        options.claims.write_text(document(), encoding="utf-8")
        return
    text = Path(__file__).with_name("points.yaml").read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    memory = memory_results(data["memory"])
    show_memory(memory)
    if options.measured is not None:
        show_capacity(data["traces"][0], options.measured)
    times = time_results(data, options.measured)
    show_times("Times of points that were not used to calibrate", times)
    if options.fit:
        show_fit(data, options.measured)
    if options.measured is None:
        print(f"Left out: {len(data['traces'])} measured runs; name their folder by --measured.\n")
    cells = grid()
    show_grid(cells, memory)
    table = _table("Claims of the literature", "claim", "planned", "verdict")
    for claim in claims():
        table.add_row(claim.claim, claim.planned, claim.verdict)
    _CONSOLE.print(table)
    if options.output is not None:
        found = {
            "memory": [asdict(each) for each in memory],
            "times": [asdict(each) for each in times],
            "grid": [asdict(each) for each in cells],
            "claims": [asdict(each) for each in claims()],
        }
        options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def show_memory(results: Sequence[MemoryResult]) -> None:
    table = _table(
        "KV cache per accelerator, GiB (line: 5 % and 1.5 GiB)",
        *("point", "reported", "predicted", "error", "KAITO", "error", "kept"),
    )
    for each in results:
        table.add_row(
            each.what + (" (derived)" if each.derived else ""),
            f"{each.reported_gib:.2f}",
            f"{each.predicted_gib:.2f}",
            f"{each.error:+.1%}",
            f"{each.kaito_gib:.2f}",
            f"{each.kaito_gib / each.reported_gib - 1:+.1%}",
            "yes" if each.kept else "NO",
        )
    _CONSOLE.print(table)
    mean = sum(abs(each.error) for each in results) / len(results)
    kept = sum(each.kept for each in results)
    print(f"{kept} of {len(results)} within the line, mean absolute error {mean:.1%}\n")


def show_capacity(trace: dict[str, Any], folder: Path) -> None:
    observed = observed_capacity(folder, trace["name"])
    predicted = memory_of_trace(trace).kv_tokens
    print(
        f"{trace['model']} on {trace['gpu']}: {predicted:,} tokens of KV cache predicted, "
        f"{observed:,.0f} seen in the run, {predicted / observed - 1:+.1%}\n"
    )


def show_times(title: str, results: Iterable[TimeResult]) -> None:
    table = _table(title, "point", "number", "measured ms", "predicted ms", "error", "kept")
    by_kind: dict[str, list[TimeResult]] = defaultdict(list)
    for each in results:
        by_kind[each.kind].append(each)
        table.add_row(
            each.what,
            each.kind,
            f"{each.measured_s * 1e3:,.1f}",
            f"{each.predicted_s * 1e3:,.1f}",
            f"{each.error:+.0%}",
            "yes" if each.kept else "NO",
        )
    _CONSOLE.print(table)
    for kind, found in by_kind.items():
        mean = sum(abs(each.error) for each in found) / len(found)
        kept = sum(each.kept for each in found)
        line = f"{kept} of {len(found)} within {LINES[kind]:.0%}"
        print(f"{kind}: {line}, mean absolute error {mean:.0%}")
    print()


def show_fit(data: dict[str, Any], measured: Path | None) -> None:
    """How the entries of calibration.yaml come about: fitted values, and what they leave."""
    legacy = [point for point in data["times"] if point["engine"] == "0.2"]
    for gpu in sorted({point["gpu"] for point in legacy}):
        values = legacy_fit([point for point in legacy if point["gpu"] == gpu])
        shown = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
        print(f"Llama-2-70B of 2023 on {gpu}: {shown}")
    if measured is not None:
        show_times("Runs with their own entries", fitted_results(data, measured))


def show_grid(cells: Sequence[Cell], memory: Sequence[MemoryResult]) -> None:
    """Rows are accelerators, columns families."""
    families = list(dict.fromkeys(cell.family for cell in cells))
    print("KAITO's rule and the planner: the fewest ranks that hold 2,048 tokens, KV budget")
    print(
        "  + fewer ranks, > as many and more KV cache, < as many and less, - more ranks, . neither"
    )
    for number, family in enumerate(families):
        print(f"  {chr(97 + number)} {family}", end="\n" if number % 4 == 3 else "")
    print()
    rows: dict[str, str] = defaultdict(str)
    for cell in cells:
        rows[cell.gpu] += cell.sign + " "
    print(" " * 32 + " ".join(chr(97 + number) for number in range(len(families))))
    for gpu, signs in rows.items():
        print(f"  {gpu:30s}{signs}")
    decided = [cell for cell in cells if cell.sign != "."]
    less = sum(cell.sign in "+>" for cell in decided)
    print(
        f"{len(cells)} cells; less pessimistic in {less} of the {len(decided)} that either accepts "
        f"({less / len(decided):.0%}, {less / len(cells):.0%} of all)"
    )
    optimistic = sum(cell.too_optimistic for cell in cells)
    print(
        f"more optimistic than measured overheads allow, where KAITO was safe: {optimistic} cells"
    )
    safe = [each for each in memory if each.kaito_gib <= each.reported_gib]
    beyond = [each for each in safe if not each.kept]
    print(f"published points where KAITO was safe: {len(safe)}; planner beyond the line there:")
    print(f"{len(beyond)}\n")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        numeric = column not in {"point", "number", "claim", "planned", "verdict", "kept"}
        table.add_column(column, justify="right" if numeric else "left")
    return table


if __name__ == "__main__":
    main()
