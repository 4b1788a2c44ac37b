"""`stoker doctor`: options in, a look, the walk along the chain, and the exit status."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Console

from stoker.cluster.client import Client
from stoker.commands import completing, statuses
from stoker.commands.doctor import chain
from stoker.commands.doctor.advice import Case, advice_of
from stoker.commands.doctor.bounds import UNKNOWN, Bound, bound_of
from stoker.commands.doctor.figures import Figures
from stoker.commands.doctor.links import first_broken, walk
from stoker.commands.doctor.look import look, services
from stoker.commands.doctor.measure import ask_once, engine_version, measure
from stoker.commands.doctor.report import Report, line_of
from stoker.commands.doctor.seen import Denied, World, known, several
from stoker.commands.doctor.show import as_data, show
from stoker.commands.doctor.theory import theory_of
from stoker.commands.exits import Exit
from stoker.commands.inputs import InputError
from stoker.commands.reach import (
    Context,
    Form,
    Kubeconfig,
    Namespace,
    Output,
    Where,
    check_names,
    finish,
    print_data,
    seconds_of,
    with_cluster,
)


def doctor(  # noqa: PLR0917 - the options, as typer reads them
    service: Annotated[
        str | None,
        typer.Argument(
            help="Its name. Without one: the platform, and a line for each service.",
            metavar="SERVICE",
            show_default=False,
            autocompletion=completing.services,
        ),
    ] = None,
    namespace: Namespace = None,
    everywhere: Annotated[
        bool, typer.Option("-A", "--all-namespaces", help="Without SERVICE: those of all.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Judge and show every link, not only up to the cause.")
    ] = False,
    ask: Annotated[
        bool,
        typer.Option("--ask", help="Send one tiny request too. A service at zero is woken by it."),
    ] = False,
    timeout: Annotated[
        str, typer.Option("--timeout", help="With --ask: how long to wait: 60s, 10m.")
    ] = "60s",
    seconds: Annotated[
        float,
        typer.Option(
            min=0, max=600, help="How long the engines are measured for advice; 0: not at all."
        ),
    ] = 5.0,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Form = Output.TABLE,
) -> None:
    """Find the first broken link between SERVICE and its first token, and say how to mend it."""

    def answer() -> Exit:
        if everywhere and (namespace is not None or service is not None):
            raise InputError("-A goes without SERVICE and -n: it is for the services of all")
        if ask and service is None:
            raise InputError("--ask goes with SERVICE: it is the one that is asked")
        check_names(service, namespace)
        patience = Patience(seconds_of(timeout) if ask else None, seconds)
        where = Where(namespace, kubeconfig, context)
        act = partial(
            _examine,
            name=service,
            everywhere=everywhere,
            everything=everything,
            patience=patience,
            output=output,
        )
        return with_cluster(where, act)

    finish(answer)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long it may take, in seconds."""

    answer_s: float | None  # for a first token; None: none is asked for
    measure_s: float


async def _advised(client: Client, world: World, report: Report, seconds: float) -> Report:
    """With what the engines show in that time."""
    found = await measure(client, world, seconds)
    figures = found if isinstance(found, Figures) else None
    status = _status(world)
    config = known(world.operator.config)
    theory = theory_of(status, config, engine_version(world))
    bound = bound_of(figures, theory)
    if isinstance(found, Denied):
        why = f"the engines' own numbers are not read: that takes {found.right}"
        bound = Bound(UNKNOWN, why, basis="")
    advice = advice_of(Case(status, figures, theory, bound))
    return replace(report, bound=bound, advice=advice)


def _status(world: World) -> Mapping[str, Any]:
    return statuses.mapping(world.body.get("status"))


async def _examine(
    client: Client,
    namespace: str,
    *,
    name: str | None,
    everywhere: bool,
    everything: bool,
    patience: Patience,
    output: Output,
) -> Exit:
    world = await look(client, namespace, name)
    checks = chain.PLATFORM if name is None else chain.ALL
    sound = first_broken(walk(world, checks)) is None
    if sound and patience.answer_s is not None:
        world = replace(world, answer=await ask_once(client, world, patience.answer_s))
        sound = first_broken(walk(world, checks)) is None
    report = Report(
        "platform" if world.key is None else str(world.key),
        walk(world, checks, everything=everything),
    )
    if sound and patience.measure_s > 0 and statuses.whole(_status(world).get("readyReplicas")):
        report = await _advised(client, world, report, patience.measure_s)
    if name is None and report.cause is None:
        found = await services(client, None if everywhere else namespace)
        lines = tuple(line_of(body, world.now) for body in several(found))
        note = ""
        if isinstance(found, Denied):
            note = f"services are not listed: that takes {found.right}"
        if not lines and not note:
            note = "no services" + ("" if everywhere else f" in namespace {namespace}; try -A")
        report = Report(report.subject, report.links, lines, note)
    if output is Output.TABLE:
        show(Console(), report, everything=everything)
    else:
        print_data(as_data(report), output)
    return report.exit
