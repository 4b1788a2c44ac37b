"""`stoker why`: the chain from the signal to the number of replicas, by a service's status alone.

It reads one object, from the cluster (the right `get` on inferenceservices is enough) or from a
file, and asks nobody else. Exit statuses: `stoker.commands.exits`.
"""

import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from stoker.cluster.client import Client
from stoker.commands import answers, completing, inputs, statuses
from stoker.commands.exits import Exit
from stoker.commands.explanation import Explanation, Next, explain
from stoker.commands.findings import Finding
from stoker.commands.inputs import InputError
from stoker.commands.reach import (
    Context,
    Kubeconfig,
    Namespace,
    Output,
    Where,
    check_names,
    finish,
    print_data,
    with_service,
)
from stoker.commands.tables import safe, titled
from stoker.model.observed import Key

_STDIN = "-"


def why(  # noqa: PLR0917 - the options, as typer reads them
    service: Annotated[
        str | None,
        typer.Argument(
            help="Its name.",
            metavar="SERVICE",
            show_default=False,
            autocompletion=completing.services,
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "-f",
            "--file",
            help="Output of `kubectl get infer SERVICE -o yaml` (or json) instead of a cluster; - "
            "reads the standard input.",
        ),
    ] = None,
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Annotated[Output, typer.Option("-o", "--output", help="Form of the answer.")] = (
        Output.TABLE
    ),
) -> None:
    """Say why SERVICE has as many replicas as it has, and when that may change."""
    where = Where(namespace, kubeconfig, context)

    def answer() -> Exit:
        if file is not None:
            return _of_file(file, service, where, output)
        return with_service(_name(service, namespace), where, partial(_of_cluster, output=output))

    finish(answer)


def _name(service: str | None, namespace: str | None) -> str:
    if service is None:
        raise InputError("pass the name of a service, or -f with a file that holds one")
    check_names(service, namespace)
    return service


def _of_file(file: str, service: str | None, where: Where, output: Output) -> Exit:
    if where != Where(None, None, None):
        raise InputError(
            "--namespace, --kubeconfig and --context do not go with -f: a file asks no cluster"
        )
    text = sys.stdin.read() if file == _STDIN else inputs.read_text(Path(file))
    name = "standard input" if file == _STDIN else file
    body = inputs.read_object(text, name, service)
    metadata = statuses.mapping(body.get("metadata"))
    key = Key(str(metadata.get("namespace", "default")), str(metadata.get("name", "?")))
    return _answer(body, key, output)


async def _of_cluster(_: Client, key: Key, body: dict[str, Any], output: Output) -> Exit:
    return _answer(body, key, output)


def _answer(body: Mapping[str, Any], key: Key, output: Output) -> Exit:
    now = time.time()
    found = explain(body, key, now)
    if output is Output.TABLE:
        show(Console(), found)
    else:
        print_data(answers.as_data_of(found), output)
    return Exit.DONE if found.healthy else Exit.UNHEALTHY


def show(console: Console, found: Explanation) -> None:
    """The explanation for people."""
    _say(console, f"[bold]{safe(found.service)}[/]: {safe(found.summary)}.")
    for each in found.findings:
        _say(console, _finding(each))
    _grid(console, "From the signal to the replicas", _chain(found))
    if found.rules:
        rows = [(name, str(value)) for name, value in found.rules.items()]
        _grid(console, "Bounds and targets", rows)
    if found.decisions:
        table = titled("The last changes of the number", "when", "", "why")
        for change in found.decisions:
            said = safe(f"{change.reason}: {change.message}")
            table.add_row(safe(change.time), f"{change.before} to {change.after}", said)
        console.print(table)
    _grid(console, "What may change next", [(each.what, _when(each)) for each in found.next])
    rows = [(each.change, f"{each.gain}: {each.why}") for each in found.proposals]
    _grid(console, "What you may write, at the cost of a restart", rows)


def _when(each: Next) -> str:
    return each.words if each.at is None else f"{each.at}: {each.words}"


def _finding(each: Finding) -> str:
    style = "bold red" if each.problem else "bold yellow"
    message = safe(each.message.rstrip("."))
    remedy = f" {safe(each.remedy)}" if each.remedy else ""
    return f"[{style}]{safe(each.reason)}[/]: {message}.{remedy}"


def _chain(found: Explanation) -> list[tuple[str, str]]:
    """What there is of it, in its order."""
    rows: list[tuple[str, str]] = []
    if found.owner is not None:
        rows.append(("who decides", found.owner))
    if found.sample is not None:
        rows.append(("signal", _signal(found)))
    elif found.mode == "Scales":
        rows.append(("signal", "no complete sample yet"))
    if found.places is not None:
        pace = found.request_seconds
        takes = "" if pace is None else f"; a request takes {statuses.duration(pace)} of it"
        rows.append(("one replica", f"computes {found.places:,} requests at once{takes}"))
    rows.extend((each.name, f"{each.replicas:g}: {each.words}") for each in found.terms)
    if found.need is not None:
        rows.append(("need", f"{found.need}: the most of these, rounded up"))
    if found.reason is not None:
        rows.append(("verdict", f"{found.reason}: {found.message or ''}"))
    if found.limit is not None:
        rows.append(("limited by", f"{found.limit}: {found.limit_words}"))
    if found.desired is not None:
        rows.append(
            (
                "replicas",
                f"{found.desired} wanted, {found.exist or 0} there, {found.ready or 0} ready",
            )
        )
    if found.mode != "Unknown":
        rows.append(("a start takes", found.start))
    return rows


def _signal(found: Explanation) -> str:
    sample = found.sample
    if sample is None:
        return ""
    age = sample.age_seconds
    ago = "" if age is None or age < 0 else f" ({statuses.duration(age)} ago)"
    return (
        f"{sample.held} held, {sample.waiting} waiting, {sample.running} running at "
        f"{sample.time}{ago}; the last sample that was worth writing"
    )


def _grid(console: Console, title: str, rows: list[tuple[str, str]]) -> None:
    if not rows:
        return
    table = titled(title, "", "")
    for name, text in rows:
        table.add_row(safe(name), safe(text))
    console.print(table)


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False)
