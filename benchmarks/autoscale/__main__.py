"""Scaling policies on request traces: what is served in time, and what that costs.

    python -m benchmarks.autoscale TRACE[=TIMES][@[FROM-]HOURS]… [--quick] [--plots DIR] [-o FILE]

A TRACE is a file as `stoker simulate` reads it, or one of step, ramp, spike and on-off; with TIMES
as many requests (copies within the same ten seconds), of its first HOURS alone or between two
hours (`@24-48`). Each policy runs with several values of its main parameter; then costs are
compared at equal attainment.
`--policy NAME:VALUE` runs this alone and may be repeated. `--read FILE` prints the tables and draws
the plots of an earlier `-o FILE` again; runs of one trace from several files are put together.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.autoscale.cases import TTFT_TOKEN_S, Character, case_of, character_of, setting_of
from benchmarks.autoscale.report import Replay, merged, show, show_verdicts
from benchmarks.autoscale.sweep import as_data, of_data, policies_of, runs_of
from stoker.errors import StokerError


def main() -> None:
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 150)
    replays = merged(each for file in options.read for each in _read(file))
    for case in options.cases:
        setting = setting_of(case)
        character = character_of(setting)
        runs = []
        for run in runs_of(case, options.policies, options.jobs):
            runs.append(run)
            print(f"{case.name}: {run.label} {run.took_s:.1f} s", file=sys.stderr, flush=True)
            replays = merged([*replays, Replay(case.name, character, tuple(runs))])
            if options.output is not None:
                _write(options.output, replays)
    for replay in replays:
        show(console, replay)
    show_verdicts(console, replays)
    if options.plots is not None:
        from benchmarks.autoscale.plot import draw  # noqa: PLC0415 - of a group of its own

        options.plots.mkdir(parents=True, exist_ok=True)
        for replay in replays:
            print(draw(replay, options.plots))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("traces", nargs="*", metavar="TRACE[=TIMES][@[FROM-]HOURS]")
    parser.add_argument("--quick", action="store_true", help="fewer policies and parameters")
    parser.add_argument("--policy", action="append", help="NAME or NAME:VALUE instead of all")
    parser.add_argument("--plots", type=Path, help="draw a plot per trace into this folder")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once")
    parser.add_argument("--seeds", type=int, default=1, help="runs with other chance; means count")
    parser.add_argument(
        "--ttft-per-token",
        type=float,
        default=TTFT_TOKEN_S,
        help="added to the target of 2 s per token of prompt, in seconds (1/8000)",
    )
    parser.add_argument("--read", type=Path, action="append", default=[], help="an earlier -o FILE")
    parser.add_argument("-o", "--output", type=Path, help="write the numbers as JSON")
    options = parser.parse_args()
    if not options.traces and not options.read:
        parser.error("name a trace, or an earlier result with --read")
    if options.plots is not None and find_spec("matplotlib") is None:
        parser.error("--plots needs matplotlib; run: uv sync --all-extras --group benchmarks")
    if options.jobs < 1 or options.seeds < 1:
        parser.error("--jobs and --seeds must be 1 or more")
    try:
        options.cases = [
            replace(case_of(each), ttft_token_s=options.ttft_per_token, seeds=options.seeds)
            for each in options.traces
        ]
    except StokerError as error:
        parser.error(str(error))
    given = [each.partition(":") for each in options.policy or ()]
    options.policies = [(name, float(value) if value else None) for name, _, value in given]
    options.policies = options.policies or policies_of(quick=options.quick)
    return options


def _write(path: Path, replays: list[Replay]) -> None:
    found = [
        {
            "trace": each.trace,
            "character": asdict(each.character),
            "runs": [as_data(run) for run in each.runs],
        }
        for each in replays
    ]
    path.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _read(path: Path) -> list[Replay]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return [
        Replay(
            each["trace"],
            Character(**each["character"]),
            tuple(of_data(run) for run in each["runs"]),
        )
        for each in found
    ]


if __name__ == "__main__":
    main()
