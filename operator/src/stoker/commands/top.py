"""`stoker top`: services as they are now, again and again on a terminal.

It needs no Prometheus: replicas, price and the queue behind the last decision are in each status,
and where the user may, the rest comes from the pods' small pages, as rates between looks. With
--prometheus it reads the series that the chart's rules record instead, for clusters with many pods.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Protocol

import typer
from rich.console import Console

from stoker import naming
from stoker.cluster.client import Client
from stoker.cluster.kinds import POD, SERVICE
from stoker.commands import answers, live, podpages, rates, running, toptable
from stoker.commands.completing import services
from stoker.commands.exits import Exit
from stoker.commands.inputs import InputError
from stoker.commands.podpages import Key, PodPages
from stoker.commands.prometheus import Option, ask, check, shown, too_old
from stoker.commands.rates import Look, Row
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
from stoker.commands.running import SERVICES, CommandError, told
from stoker.commands.statuses import duration, mapping, unix
from stoker.commands.tables import plain
from stoker.errors import ClusterUnavailable, Refused, StokerError
from stoker.model import observed

# Rates are over the looks of this time: a rate of one second jumps.
WINDOW_S: Final = 30.0
_INSTEAD: Final = "without the option the pods are asked"


def top(  # noqa: PLR0917 - the options, as typer reads them
    service: Annotated[
        str | None,
        typer.Argument(help="This one alone.", metavar="SERVICE", autocompletion=services),
    ] = None,
    namespace: Namespace = None,
    everywhere: Annotated[
        bool, typer.Option("-A", "--all-namespaces", help="Those of every namespace.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Look for one interval, print, and end.")
    ] = False,
    interval: Annotated[str, typer.Option("--interval", help="Between two looks.")] = "2s",
    prometheus: Option = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Form = Output.TABLE,
) -> None:
    """Show requests, queue, first token, tokens, KV cache, replicas and price of services, live."""

    def answer() -> Exit:
        if everywhere and (namespace, service) != (None, None):
            raise InputError("pass one of -A, and -n or SERVICE")
        check_names(service, namespace)
        pause = seconds_of(interval, "--interval")
        if not 1 <= pause <= 3600:
            raise InputError(f"--interval {interval}: write 1s to 1h")
        check(prometheus)
        still = once or output is not Output.TABLE

        async def act(client: Client, there: str) -> Exit:
            scope = Scope(None if everywhere else there, service)
            if prometheus is not None:
                source: Source = Recorded(client, scope, prometheus)
                return await _show(source, scope, pause=pause, looks=1 if still else 0, form=output)
            async with PodPages(client) as pages:
                source = Asked(client, scope, pages)
                return await _show(source, scope, pause=pause, looks=2 if still else 0, form=output)

        return with_cluster(Where(namespace, kubeconfig, context), act)

    finish(answer)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which services: of a namespace or of all, and by name."""

    namespace: str | None
    name: str | None


class Source(Protocol):
    """Where rows come from."""

    async def look(self) -> tuple[list[Row], list[str]]:
        """Rows, and what is missing in words."""


@dataclass(slots=True)
class Asked:
    """Pods are asked."""

    client: Client
    scope: Scope
    pages: PodPages
    looks: dict[Key, deque[Look]] = field(default_factory=dict)

    async def look(self) -> tuple[list[Row], list[str]]:
        """Rates between the oldest look of the window and this one."""
        listed = await _services(self.client, self.scope)
        wanted = {key for key, _ in listed}
        notes: list[str] = []
        try:
            pods = await running.read_all(
                self.client, POD.path(self.scope.namespace), {"labelSelector": naming.LABEL_SERVICE}
            )
        except Refused:
            pods = []
            notes.append("you may not list pods, so only what services' statuses tell is shown")
        answering = {key: each for key, each in podpages.answering(pods).items() if key in wanted}
        asked = podpages.chosen(answering)
        if len(asked) < len(answering):
            notes.append(
                f"pods of {len(answering) - len(asked)} services are not asked, as there are more "
                f"than {podpages.MOST_PODS}: name one service, or pass --prometheus"
            )
        for key, look in (await self.pages.look(asked)).items():
            kept = self.looks.setdefault(key, deque())
            kept.append(look)
            while look.time - kept[0].time > WINDOW_S:
                kept.popleft()
        rows = []
        for key, body in listed:
            kept = self.looks.get(key, deque()) if key in asked else deque()
            whole = [each for each in kept if not each.problems]
            first, last = (whole[0] if whole else None), (kept[-1] if kept else None)
            rows.append(rates.of_pods(_row(body), first, last))
        told_of = {row.note: row for row in rows if row.note}
        notes += [f"{row.namespace}/{row.name}: {note}" for note, row in told_of.items()]
        return rates.sorted_rows(rows), notes


@dataclass(slots=True)
class Recorded:
    """Prometheus is asked."""

    client: Client
    scope: Scope
    address: str

    async def look(self) -> tuple[list[Row], list[str]]:
        """What the rules recorded last."""
        listed = await _services(self.client, self.scope)
        names = "|".join(rates.SERIES)
        within = f',namespace="{self.scope.namespace}"' if self.scope.namespace else ""
        query = f'{{__name__=~"{names}"{within}}}'
        values = rates.series_of(await ask(self.address, query, _INSTEAD))
        rows = [rates.of_series(_row(body), values.get(key, {})) for key, body in listed]
        notes = []
        if listed and not values:
            why = await too_old(self.address) or (
                "see that it loads the chart's rules (prometheusRules.enabled) and scrapes the "
                "pods (podMonitor.enabled)"
            )
            notes.append(f"{shown(self.address)} has none of Stoker's recorded series: {why}")
        return rates.sorted_rows(rows), notes


async def _services(client: Client, scope: Scope) -> list[tuple[Key, dict[str, Any]]]:
    where = observed.Key(scope.namespace or "", scope.name or "")
    try:
        if scope.name is not None:
            found = [await client.get(SERVICE.path(scope.namespace, scope.name))]
        else:
            found = await running.read_all(client, SERVICE.path(scope.namespace))
    except StokerError as error:
        raise told(error, where, SERVICES) from error
    return [
        ((str(each["metadata"]["namespace"]), str(each["metadata"]["name"])), each)
        for each in found
    ]


def _row(body: Mapping[str, Any]) -> Row:
    taken = unix(mapping(mapping(body.get("status")).get("load")).get("time"))
    return rates.of_status(body, time.time(), taken)


async def _show(source: Source, scope: Scope, *, pause: float, looks: int, form: Output) -> Exit:
    """Look so often, or for ever where it is 0, and show the last look or every one."""
    console = Console(highlight=False)
    if looks:
        for _ in range(looks - 1):
            await source.look()
            await asyncio.sleep(pause)
        rows, notes = await source.look()
        _print(console, rows, notes, scope, form)
        return Exit.DONE
    watch = Watch(source, scope)
    if live.can_live(console):
        return await _draw(console, watch, pause)
    # One table after the other, for whoever keeps them.
    while True:
        await watch.look()
        typer.echo(time.strftime("# %Y-%m-%dT%H:%M:%S%z"))
        if watch.trouble:
            typer.echo(plain(watch.trouble), err=True)
        else:
            _print(console, watch.rows, watch.notes, scope, form)
        await asyncio.sleep(pause)


async def _draw(console: Console, watch: "Watch", pause: float) -> Exit:
    """The live screen, until the user ends it."""
    loop = asyncio.get_running_loop()
    # The first look may end with a sentence, which is for the screen that was there before.
    await watch.look()
    with live.Screen(console) as screen:
        while True:
            due = loop.time() + pause
            while True:
                head = f"{len(watch.rows)} services, every {pause:g} s; q ends"
                said = [*watch.notes, head]
                if watch.trouble:
                    said = [watch.trouble, watch.age(loop.time())]
                everywhere = watch.scope.namespace is None
                screen.draw(toptable.fitted(console, watch.rows, said, everywhere=everywhere))
                if not await screen.wait(due - loop.time()):
                    break
                if screen.ended:
                    return Exit.DONE
            await watch.look()


@dataclass(slots=True)
class Watch:
    """What was seen last, and why it could not be seen again."""

    source: Source
    scope: Scope
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    trouble: str = ""
    _seen: float | None = None

    async def look(self) -> None:
        """Look again; an API server or a Prometheus that is away for a moment ends nothing."""
        try:
            self.rows, self.notes = await self.source.look()
        except CommandError as error:
            if error.exit is Exit.NOT_FOUND and self._seen is not None and self.scope.name:
                where = f"{self.scope.namespace}/{self.scope.name}"
                raise CommandError(f"{where} was deleted meanwhile", Exit.NOT_FOUND) from error
            if error.exit is not Exit.UNREACHABLE:
                raise
            self.trouble = str(error)
        except ClusterUnavailable as error:
            self.trouble = str(error)
        else:
            self.trouble, self._seen = "", asyncio.get_running_loop().time()

    def age(self, now: float) -> str:
        """How old the rows are."""
        if self._seen is None:
            return "nothing was seen yet; q ends"
        return f"what is shown is {duration(now - self._seen)} old; q ends"


def _print(console: Console, rows: list[Row], notes: list[str], scope: Scope, form: Output) -> None:
    if form is not Output.TABLE:
        data = {"services": [answers.as_data_of(row) for row in rows], "notes": notes}
        print_data(data, form)
        return
    if not rows:
        where = "any namespace" if scope.namespace is None else f"namespace {scope.namespace}"
        typer.echo(f"there are no services in {where}", err=True)
        return
    everywhere = scope.namespace is None
    if console.is_terminal:
        console.print(toptable.screen(rows, console.width, notes, everywhere=everywhere))
    else:
        toptable.print_lines(console, rows, notes, everywhere=everywhere)
