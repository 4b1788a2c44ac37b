"""Tables of a replay: every run, and the comparison at equal attainment."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.autoscale.cases import Character
from benchmarks.autoscale.frontier import (
    Best,
    Frontier,
    Point,
    best_at,
    cost_at,
    frontier_of,
    reached,
    unable,
)
from benchmarks.autoscale.sweep import BASELINES, STOKER, Run

FIXED = (0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Replay:
    """All runs of one trace."""

    trace: str
    character: Character
    runs: tuple[Run, ...]

    @property
    def default(self) -> Run:
        """Stoker as it is without a parameter."""
        return next(run for run in self.runs if run.policy == STOKER and run.parameter is None)

    @property
    def complete(self) -> bool:
        """Whether Stoker's default ran, and what it is compared with."""
        return {STOKER, "static-peak", "static-mean"} <= {run.label for run in self.runs}

    def frontier(self, policy: str) -> Frontier:
        return frontier_of(
            Point(run.attained, run.accelerator_h, run.label)
            for run in self.runs
            if run.policy == policy
        )

    @property
    def baselines(self) -> dict[str, Frontier]:
        """Frontiers of the published policies that ran."""
        return {name: found for name in BASELINES if (found := self.frontier(name))}

    def run(self, policy: str) -> Run:
        """Its run without a parameter."""
        return next(each for each in self.runs if each.policy == policy and each.parameter is None)


def merged(replays: Iterable[Replay]) -> list[Replay]:
    """One for each trace, with all its runs; of two with the same parameter, the later."""
    found: dict[str, Replay] = {}
    for replay in replays:
        before = found.get(replay.trace)
        runs = {run.label: run for run in (*(before.runs if before else ()), *replay.runs)}
        found[replay.trace] = Replay(replay.trace, replay.character, tuple(runs.values()))
    return list(found.values())


@dataclass(frozen=True)
class Comparison:
    """Stoker, the best baseline and the oracle at one attainment; None: not reached."""

    attained: float
    stoker: float | None  # accelerator-hours
    best: Best | None
    oracle: float | None

    @property
    def to_best(self) -> float | None:
        return None if self.stoker is None or self.best is None else self.stoker / self.best.cost

    @property
    def to_oracle(self) -> float | None:
        return None if self.stoker is None or self.oracle is None else self.stoker / self.oracle


def by_default(replay: Replay) -> Comparison:
    """At what Stoker attains by default, with what that run cost."""
    own = replay.default
    return Comparison(
        own.attained,
        own.accelerator_h,
        best_at(replay.baselines, own.attained),
        cost_at(replay.frontier("oracle"), own.attained),
    )


def at(replay: Replay, attained: float) -> Comparison:
    """At any attainment, by Stoker's sweep."""
    return Comparison(
        attained,
        cost_at(replay.frontier(STOKER), attained),
        best_at(replay.baselines, attained),
        cost_at(replay.frontier("oracle"), attained),
    )


def show(console: Console, replay: Replay) -> None:
    """Every run, and what Stoker's cost is compared with."""
    of = replay.character
    title = (
        f"{replay.trace}: {of.requests:,} requests in {of.hours:.1f} h, needs {of.need_mean:.2f} "
        f"replicas on the mean and {of.need_peak:.1f} at the peak, begins with {of.begins_with}, "
        f"{of.idle:.0%} idle minutes, busiest minute {of.bursts:.1f} x the mean"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("policy", no_wrap=True)
    for name in (
        *("in time", "TTFT", "ITL", "TTFT p50/p90/p99, s", "ITL p50/p99, ms", "accel. h"),
        *("shed", "changes/h", "turns in 10 min", "enough after p50/p99, s"),
    ):
        table.add_column(name, justify="right")
    for run in replay.runs:
        table.add_row(
            run.label,
            f"{run.attained:.2%}",
            f"{run.ttft_attained:.1%}",
            f"{run.itl_attained:.1%}",
            f"{run.ttft_p50:.2f} / {run.ttft_p90:.2f} / {run.ttft_p99:.2f}",
            f"{run.itl_p50 * 1e3:.0f} / {run.itl_p99 * 1e3:.0f}",
            f"{run.accelerator_h:.2f}",
            f"{run.shed:,}",
            f"{run.changes_per_hour:.1f}",
            str(run.turns_in_10_min),
            f"{_number(run.enough_p50)} / {_number(run.enough_p99)}",
        )
    console.print(table)
    if not replay.complete:
        return
    default = by_default(replay)
    console.print(f"by default: {words(default)}")
    for run in replay.runs:
        if run.policy == STOKER and run.parameter is not None:
            console.print(f"{run.label}: {words(_at_run(replay, run))}")
    for attained in FIXED:
        console.print(f"at {attained:.0%}: {words(at(replay, attained))}")
    cannot = unable(replay.baselines, default.attained)
    if cannot:
        named = ", ".join(f"{name} ({most:.1%})" for name, most in cannot)
        console.print(f"cannot reach {default.attained:.2%} with any parameter: {named}")


def words(comparison: Comparison) -> str:
    """One comparison in a line."""
    if comparison.stoker is None:
        own = "Stoker does not reach it"
    else:
        own = f"{comparison.attained:.2%} for {comparison.stoker:.2f} h"
    best = comparison.best
    if best is None:
        other = "no baseline reaches it"
    else:
        runs = " and ".join(point.label for point in best.runs)
        own_ratio = f" Stoker {comparison.to_best:.2f} x" if comparison.to_best else ""
        other = f"best baseline {best.cost:.2f} h ({runs}){own_ratio}"
    ratio = comparison.to_oracle
    bound = "" if ratio is None else f"; oracle {comparison.oracle:.2f} h, Stoker {ratio:.2f} x"
    return f"{own}; {other}{bound}"


def show_verdicts(console: Console, replays: Sequence[Replay]) -> None:
    """One row per trace where all ran that a row needs."""
    replays = [each for each in replays if each.complete]
    if not replays:
        return
    table = Table(title="Stoker's default against the best baseline", title_justify="left")
    for name in ("trace", "kind", "in time", "accel. h", "best baseline at that", "ratio"):
        table.add_column(name)
    for name in ("oracle", "ratio", "static peak, mean", "turns in 10 min"):
        table.add_column(name)
    for replay in replays:
        table.add_row(*verdict(replay))
    console.print(table)


def verdict(replay: Replay) -> tuple[str, ...]:
    """The cells of one trace."""
    own, found = replay.default, by_default(replay)
    kind = "bursty" if replay.character.bursty else "steady"
    if found.best is None:
        most = max(replay.baselines.items(), key=lambda each: reached(each[1]))
        best = f"none; most: {most[1][-1].label} {reached(most[1]):.2%}, {most[1][-1].cost:.1f} h"
    else:
        best = f"{found.best.cost:.1f} ({', '.join(run.label for run in found.best.runs)})"
    peak, mean = replay.run("static-peak"), replay.run("static-mean")
    return (
        replay.trace,
        f"{kind}, {replay.character.idle:.0%} idle",
        f"{own.attained:.2%}",
        f"{own.accelerator_h:.1f}",
        best,
        _ratio(found.to_best),
        "-" if found.oracle is None else f"{found.oracle:.1f}",
        _ratio(found.to_oracle),
        f"{_bound(peak)}, {_bound(mean)}",
        str(own.turns_in_10_min),
    )


def _at_run(replay: Replay, run: Run) -> Comparison:
    return Comparison(
        run.attained,
        run.accelerator_h,
        best_at(replay.baselines, run.attained),
        cost_at(replay.frontier("oracle"), run.attained),
    )


def _bound(run: Run) -> str:
    return f"{run.accelerator_h:.1f} h {run.attained:.1%}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0f}"
