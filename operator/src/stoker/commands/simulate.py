"""`stoker simulate`: what scaling policies would make of a trace; without a cluster.

Exit status: 0 for a result, 2 for input that cannot be used.
"""

import dataclasses
import json
import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from stoker.commands import answers, inputs, situations
from stoker.errors import StokerError
from stoker.planner import words
from stoker.quantity import format_duration
from stoker.simulate.frontend import Frontend
from stoker.simulate.policy import Bounds, Setting, Targets
from stoker.simulate.registry import policy_of
from stoker.simulate.result import Result
from stoker.simulate.run import Conditions, simulate
from stoker.simulate.trace import multiply

BAD_INPUT = 2


class Form(StrEnum):
    """How the answer is printed."""

    TABLE = "table"
    JSON = "json"


def simulate_command(  # noqa: PLR0917 - the options, as typer reads them
    trace: Annotated[
        Path,
        typer.Argument(
            help="CSV, plain or gzip: arrival_s,input_tokens,output_tokens or Azure's columns."
        ),
    ],
    policy: Annotated[
        list[str] | None,
        typer.Option(help="stoker, static:N, static-peak, static-mean, oracle, …; repeatable."),
    ] = None,
    times: Annotated[float, typer.Option(help="This many times the requests.")] = 1.0,
    service: Annotated[
        Path | None, typer.Option(help="An InferenceService as YAML, to plan a replica from.")
    ] = None,
    coefficients: Annotated[
        Path | None, typer.Option(help="Measured coefficients of a replica as YAML, instead.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="With --service: the model's folder.")] = None,
    facts: Annotated[
        Path | None, typer.Option(help="With --service: facts of the model, as JSON.")
    ] = None,
    gpu: Annotated[
        list[str] | None, typer.Option(help="With --service: accelerator to plan for.")
    ] = None,
    catalogue: Annotated[
        Path | None, typer.Option(help="The administrator's accelerators (Helm values).")
    ] = None,
    start: Annotated[
        list[str] | None,
        typer.Option(help="How replicas start: node=100~0.2, weights=16, notGranted=0.1, …"),
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option(help="With a schedule: when the trace begins, as 2026-03-02T07:00+08:00."),
    ] = None,
    minimum: Annotated[int | None, typer.Option("--min", min=0, help="Fewest replicas.")] = None,
    maximum: Annotated[int | None, typer.Option("--max", min=1, help="Most replicas.")] = None,
    initial: Annotated[
        int | None, typer.Option(min=0, help="Replicas that answer at the start.")
    ] = None,
    ttft: Annotated[float, typer.Option(min=0.001, help="Target, seconds to a first token.")] = 2.0,
    ttft_per_token: Annotated[
        float, typer.Option(min=0, help="Added to it per token of prompt, in seconds.")
    ] = 0.0,
    itl: Annotated[
        float, typer.Option(min=0.0001, help="Target, seconds between two tokens.")
    ] = 0.1,
    hold: Annotated[float, typer.Option(min=1, help="Seconds a request may be held.")] = 600.0,
    max_held: Annotated[int, typer.Option(min=1, help="Requests that may be held.")] = 500,
    seed: Annotated[int, typer.Option(help="Of everything that chance decides.")] = 0,
    output: Annotated[Form, typer.Option("-o", "--output", help="Form of the answer.")] = (
        Form.TABLE
    ),
) -> None:
    """Replay TRACE against scaling policies: what is served in time, and what it costs."""
    try:
        read = _setting(service, coefficients, facts, model, gpu, catalogue)
        bounds = _bounds(read.bounds, minimum, maximum, initial)
        setting = dataclasses.replace(
            read,
            starts=situations.read_starts(start or ()),
            bounds=bounds,
            began=situations.began(read.rules, begin),
            targets=Targets(ttft, itl, ttft_per_token),
            arrivals=multiply(situations.read_trace(trace), times, seed),
        )
        policies = [policy_of(each, setting) for each in policy or ("stoker",)]
    except StokerError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(BAD_INPUT) from error
    conditions = Conditions(Frontend(hold_s=hold, max_held=max_held), seed)
    results = [simulate(setting, each, conditions) for each in policies]
    if output is Form.JSON:
        found = [_finite(answers.as_data_of(each)) for each in results]
        typer.echo(json.dumps(found, indent=2, allow_nan=False))
    else:
        _show(Console(), results)


def _setting(  # noqa: PLR0917 - the options that say what a replica is
    service: Path | None,
    coefficients: Path | None,
    facts: Path | None,
    model: Path | None,
    gpu: list[str] | None,
    catalogue: Path | None,
) -> Setting:
    """Service, bounds and wishes; the rest is filled in by the caller."""
    if (service is None) == (coefficients is None):
        raise inputs.InputError(
            "pass either --service with an InferenceService or --coefficients with measured ones"
        )
    starts = situations.read_starts(())
    if service is None:
        assert coefficients is not None  # noqa: S101 - one of the two is there
        replica = situations.read_coefficients(coefficients)
        return Setting(replica, starts, Bounds(), Targets())
    wanted = inputs.read_service(service)
    known = inputs.read_facts(model, facts)
    replica, planned = situations.plan_service(wanted, known, tuple(gpu or ()), catalogue)
    rules = situations.rules_of(wanted, planned)
    return Setting(replica, starts, situations.bounds_of(rules), Targets(), rules=rules)


def _bounds(given: Bounds, minimum: int | None, maximum: int | None, initial: int | None) -> Bounds:
    low = given.minimum if minimum is None else minimum
    high = given.maximum if maximum is None else maximum
    if low > high:
        raise inputs.InputError(f"--min {low} is above --max {high}; write bounds in order")
    first = given.initial if initial is None else initial
    return Bounds(low, high, max(low, min(first, high)))


def _finite(value: Any) -> Any:  # noqa: ANN401 - JSON
    """JSON has no NaN: a percentile of nothing is null."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _show(console: Console, results: list[Result]) -> None:
    first = results[0]
    console.print(f"{first.arrivals:,} requests in {first.end_s / 3600:.2f} h")
    table = Table()
    table.add_column("policy", no_wrap=True)
    for name in (
        *("in time", "TTFT p50/p90/p99", "ITL p50/p99", "shed", "cut", "open"),
        *("accel. h", "mean", "peak", "changes/h", "turns", "short"),
    ):
        table.add_column(name, justify="right")
    for each in results:
        table.add_row(
            each.policy,
            f"{each.attained:.1%}",
            " / ".join(map(_time, (each.ttft.p50, each.ttft.p90, each.ttft.p99))),
            " / ".join(map(_time, (each.itl.p50, each.itl.p99))),
            f"{each.shed:,}",
            f"{each.cut:,}",
            f"{each.in_flight:,}",
            f"{each.accelerator_s / 3600:.2f}",
            f"{each.replicas_mean:.2f}",
            str(each.replicas_peak),
            f"{each.changes_per_hour:.1f}",
            f"{each.direction_changes} ({each.direction_changes_in_10_min})",
            f"{each.short_spells} x {_time(each.enough_after.p50)}" if each.short_spells else "0",
        )
    console.print(table)
    console.print(
        "in time: both targets kept. open: not answered at the end. turns: changes of direction, "
        "in brackets within the worst ten minutes. short: times that fewer replicas answered than "
        "the trace needs, and how long the middle one lasted."
    )
    for each in results:
        for notice in each.notices:
            at = format_duration(round(notice.time))
            console.print(f"{each.policy}, after {at}: {notice.words}", soft_wrap=True)


def _time(value: float) -> str:
    return "-" if math.isnan(value) else words.seconds(value)
