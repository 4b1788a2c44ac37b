"""`stoker wait SERVICE --for …`: until a service is as it is to be, or never will be."""

from functools import partial
from typing import Annotated

import typer
from rich.console import Console

from stoker.clock import SystemClock
from stoker.cluster.client import Client
from stoker.commands import waits
from stoker.commands.caches import Ending
from stoker.commands.exits import Exit
from stoker.commands.following import Body, Matter, Patience, follow, looking, screen_of
from stoker.commands.reach import (
    Context,
    Form,
    Kubeconfig,
    Namespace,
    Output,
    Service,
    Where,
    check_names,
    finish,
    print_data,
    seconds_of,
    with_cluster,
)
from stoker.commands.running import SERVICES, CommandError, told
from stoker.commands.tables import plain
from stoker.errors import ClusterUnavailable
from stoker.model.observed import Key

_FOR = (
    "ready: a replica answers; zero: none is left; planned: there is a plan; settled: what runs is "
    "what is wanted; deleted; or condition=TYPE[=STATUS]."
)


def wait(  # noqa: PLR0917 - the options, as typer reads them
    service: Service,
    wanted: Annotated[str, typer.Option("--for", help=_FOR)] = "ready",
    timeout: Annotated[
        str, typer.Option("--timeout", help="How long to wait: 90s, 10m, 2h. 0s looks once.")
    ] = "15m",
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Form = Output.TABLE,
) -> None:
    """Wait until SERVICE is ready, planned, settled, at zero or gone; say meanwhile where it is."""

    def answer() -> Exit:
        check_names(service, namespace)
        goal, seconds = waits.goal_of(wanted), seconds_of(timeout)

        async def act(client: Client, there: str) -> Exit:
            return await _wait(client, Key(there, service), goal, seconds, output)

        return with_cluster(Where(namespace, kubeconfig, context), act)

    finish(answer)


async def _wait(client: Client, key: Key, goal: waits.Goal, seconds: float, output: Output) -> Exit:
    clock = SystemClock()
    screen = screen_of(Console(stderr=True, highlight=False), clock)
    matter = Matter(
        looking(client, key, SERVICES),
        partial(waits.judge, goal=goal),
        waits.progress,
        f"`stoker why {key.name} -n {key.namespace}` says what it waits for",
    )
    body: Body | None = None
    try:
        body, ending = await follow(matter, screen, Patience(seconds, clock))
    except ClusterUnavailable as error:
        raise told(error, key, SERVICES) from error
    except CommandError as error:
        # Without the kind itself nobody knows whether it was ever there.
        gone = error.exit is Exit.NOT_FOUND and not str(error).startswith("the cluster knows no")
        if goal.word != waits.DELETED or not gone:
            raise
        ending = Ending(Exit.DONE, f"{key} {goal.words}")
    if output is Output.TABLE:
        typer.echo(plain(f"{ending.words}."))
    else:
        print_data(waits.as_data(body, goal, ending), output)
    return Exit.DONE if ending.exit is None else ending.exit
