"""`stoker doctor`: options in, a look, the walk along the chain, and the exit status."""

from functools import partial
from typing import Annotated

import typer
from rich.console import Console

from stoker.cluster.client import Client
from stoker.commands import completing
from stoker.commands.doctor import chain
from stoker.commands.doctor.links import walk
from stoker.commands.doctor.look import look, services
from stoker.commands.doctor.report import Report, line_of
from stoker.commands.doctor.seen import Denied, several
from stoker.commands.doctor.show import as_data, show
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
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Form = Output.TABLE,
) -> None:
    """Find the first broken link between SERVICE and its first token, and say how to mend it."""

    def answer() -> Exit:
        if everywhere and (namespace is not None or service is not None):
            raise InputError("-A goes without SERVICE and -n: it is for the services of all")
        check_names(service, namespace)
        where = Where(namespace, kubeconfig, context)
        act = partial(
            _examine, name=service, everywhere=everywhere, everything=everything, output=output
        )
        return with_cluster(where, act)

    finish(answer)


async def _examine(
    client: Client,
    namespace: str,
    *,
    name: str | None,
    everywhere: bool,
    everything: bool,
    output: Output,
) -> Exit:
    world = await look(client, namespace, name)
    checks = chain.PLATFORM if name is None else chain.ALL
    report = Report(
        "platform" if world.key is None else str(world.key),
        walk(world, checks, everything=everything),
    )
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
