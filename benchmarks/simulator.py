"""How near the simulator is to real engines, and how fast it is.

    python -m benchmarks.simulator FILE… [--speed] [-o FILE]

A FILE is a measured run, `<name>.csv.gz` with `<name>.series.csv.gz` beside it, as LLMServingSim's
examples have them; its GPU, model and limits are in `planner/points.yaml`. The whole simulator
runs, with one replica and a frontend that holds nothing back. Twice: as for a replica that runs,
with the planner's calibration, of which these runs are a part, and at least the KV cache that was
seen in use; and as for a GPU that nobody has measured, with the run's own entry left out and the KV
cache that a plan counts on. `--speed` times synthetic days.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.planner.times import length, read_trace, setup_of
from stoker.planner.batching import Arrival
from stoker.planner.calibration import builtin_entries, calibration_of
from stoker.planner.memory import memory_of
from stoker.planner.steps import PlannedSteps
from stoker.planner.time import pace_of
from stoker.simulate import synthetic
from stoker.simulate.frontend import Frontend
from stoker.simulate.policy import Bounds, Setting, Targets
from stoker.simulate.registry import policy_of
from stoker.simulate.run import Conditions, simulate, simulate_each
from stoker.simulate.service import Linear, Service, measured_service
from stoker.simulate.starts import Starts

ENGINE = "0.19"
# Requests go to the engine as they come, as they did in the runs.
OPEN = Frontend(hold_s=1e9, max_held=10**9, queue_per_replica=10**9, kv_full=2.0)
POINTS = Path(__file__).parent / "planner" / "points.yaml"


@dataclass(frozen=True)
class Statistic:
    """One number of one run."""

    run: str
    what: str
    measured: float
    fitted: float  # simulated as for a replica that runs
    left_out: float  # and as for one that nobody has measured

    @property
    def errors(self) -> tuple[float, float]:
        return self.fitted / self.measured - 1, self.left_out / self.measured - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("files", type=Path, nargs="*", help="measured runs, <name>.csv.gz")
    parser.add_argument("--speed", action="store_true", help="time synthetic days")
    parser.add_argument("-o", "--output", type=Path, help="write the numbers as JSON")
    options = parser.parse_args()
    known = {each["name"]: each for each in yaml.safe_load(POINTS.read_text())["traces"]}
    for file in options.files:
        name = file.name.removesuffix(".csv.gz")
        if name not in known:
            parser.error(f"{file}: {name} is not among the runs of {POINTS}: {', '.join(known)}")
    console = Console(width=None if sys.stdout.isatty() else 110)
    found = [
        statistic
        for file in options.files
        for statistic in statistics(file, known[file.name.removesuffix(".csv.gz")])
    ]
    if found:
        show(console, found)
    speeds = measure_speed() if options.speed else []
    if speeds:
        show_speed(console, speeds)
    if options.output is not None:
        numbers = {"runs": [asdict(each) for each in found], "speed": speeds}
        options.output.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


def statistics(file: Path, trace: Mapping[str, Any]) -> Iterable[Statistic]:
    """All statistics of one run, measured and simulated."""
    rows = read_trace(file.parent, trace["name"])
    arrivals = tuple(
        Arrival(row["arrival_s"], int(row["input_tokens"]), int(row["output_tokens"]))
        for row in rows
    )
    measured = numbers(arrivals, [(row["ttft_s"], row["e2e_s"]) for row in rows])
    fitted = numbers(
        arrivals, simulated(trace, arrivals, in_use(file.parent, trace["name"]), left_out=False)
    )
    left_out = numbers(arrivals, simulated(trace, arrivals, 0, left_out=True))
    for what, value in measured.items():
        yield Statistic(trace["name"], what, value, fitted[what], left_out[what])


def simulated(
    trace: Mapping[str, Any], arrivals: tuple[Arrival, ...], seen_tokens: int, *, left_out: bool
) -> list[tuple[float, float]]:
    """Time to first token and to the end of each request."""
    facts, gpu, configuration = setup_of(trace)
    entries = [each for each in builtin_entries() if not left_out or each.source != trace["entry"]]
    calibration = calibration_of(gpu, facts, ENGINE, entries)
    pace = pace_of(facts, gpu, configuration, calibration)
    tokens = memory_of(facts, gpu, configuration, calibration).kv_tokens
    service = Service(PlannedSteps(pace), max(tokens, seen_tokens), configuration.max_num_seqs)
    setting = Setting(service, Starts(), Bounds(1, 1, 1), Targets(), arrivals)
    _, seen = simulate_each(setting, policy_of("static:1", setting), Conditions(OPEN, tail_s=1e5))
    found = [
        (first, first + each * max(0, request.output_tokens - 1))
        for first, each, request in zip(seen.ttft, seen.itl, arrivals, strict=True)
    ]
    if any(math.isnan(value) for pair in found for value in pair):
        raise RuntimeError(f"{trace['name']}: not every request was served")
    return found


def in_use(folder: Path, name: str) -> int:
    """The most tokens that requests being computed had at the end of a second: the cache held them.

    Between its first and its last token a request grows evenly. Only seconds count in which the
    engine says that it computes all who have begun: the others have been put off, without a cache.
    """
    rows = read_trace(folder, name)
    most = 0.0
    for second in read_trace(folder, f"{name}.series"):
        lengths = [length(row, second["t"]) for row in rows]
        if sum(each > 0 for each in lengths) <= second["running"] + 1:
            most = max(most, sum(lengths))
    return int(most)


def numbers(arrivals: Sequence[Arrival], times: Sequence[tuple[float, float]]) -> dict[str, float]:
    """What a run is summed up by."""
    firsts = sorted(first for first, _ in times)
    itl = [
        (whole - first) / (request.output_tokens - 1)
        for (first, whole), request in zip(times, arrivals, strict=True)
        if request.output_tokens > 1
    ]
    end = max(request.at_s + whole for (_, whole), request in zip(times, arrivals, strict=True))
    return {
        "TTFT mean, s": mean(firsts),
        "TTFT median, s": median(firsts),
        "TTFT p90, s": firsts[math.ceil(0.9 * len(firsts)) - 1],
        "ITL mean, ms": mean(itl) * 1e3,
        "ITL median, ms": median(itl) * 1e3,
        "end to end mean, s": mean(whole for _, whole in times),
        "makespan, s": end,
        "output tokens/s": sum(each.output_tokens for each in arrivals) / end,
    }


def measure_speed() -> list[dict[str, Any]]:
    """Days of ten requests per second, and one with a quiet night; on one core."""
    service = measured_service(Linear(0.008, 5e-5, 2.5e-8, 4e-5, 1e-9), 400_000, 256)
    day = 86_400.0
    shapes = {
        "a day of 10 requests/s": synthetic.step(10, 10, 0, day),
        "a day, 12 h of 10 requests/s and 12 h of none": synthetic.on_off(
            10, day / 2, day / 2, day
        ),
        "a quiet day, one request a minute": synthetic.step(1 / 60, 1 / 60, 0, day),
    }
    found = []
    for what, shape in shapes.items():
        arrivals = synthetic.draw(shape, 1000, 200)
        setting = Setting(service, Starts(), Bounds(0, 20, 1), Targets(), arrivals)
        for name in ("static-peak", "stoker"):
            policy = policy_of(name, setting)
            begin = time.process_time()
            result = simulate(setting, policy)
            took = time.process_time() - begin
            found.append(
                {
                    "what": what,
                    "policy": name,
                    "requests": result.arrivals,
                    "events": result.events,
                    "seconds": took,
                    "events_per_s": result.events / took,
                    "times_real_time": result.end_s / took,
                }
            )
    return found


def show(console: Console, found: Sequence[Statistic]) -> None:
    for name in dict.fromkeys(each.run for each in found):
        table = Table(title=name, title_justify="left")
        table.add_column("statistic")
        for column in ("measured", "simulated", "error", "unmeasured", "error"):
            table.add_column(column, justify="right")
        for each in found:
            if each.run == name:
                fitted, left_out = each.errors
                table.add_row(
                    each.what,
                    f"{each.measured:,.2f}",
                    f"{each.fitted:,.2f}",
                    f"{fitted:+.1%}",
                    f"{each.left_out:,.2f}",
                    f"{left_out:+.1%}",
                )
        console.print(table)


def show_speed(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    table = Table(title="Speed, processor time on one core", title_justify="left")
    for column in ("what", "policy", "requests", "seconds", "events/s", "x real time"):
        table.add_column(column, justify="left" if column in {"what", "policy"} else "right")
    for each in found:
        table.add_row(
            each["what"],
            each["policy"],
            f"{each['requests']:,}",
            f"{each['seconds']:.1f}",
            f"{each['events_per_s']:,.0f}",
            f"{each['times_real_time']:,.0f}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
