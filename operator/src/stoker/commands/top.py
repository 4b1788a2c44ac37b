"""`stoker top`: services as they are now, again and again on a terminal.

It needs no Prometheus: replicas, price and the queue behind the last decision are in each status,
and where the user may, the rest comes from the pods' small pages, as rates between looks. With
--prometheus it reads the series that the chart's rules record instead, for clusters with many pods.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Protocol

import aiohttp
import typer
from rich.console import Console
from rich.live import Live

from stoker import naming
from stoker.cluster.client import Client
from stoker.cluster.kinds import POD, SERVICE
from stoker.commands import answers, podpages, rates, running, toptable
from stoker.commands.completing import services
from stoker.commands.exits import Exit
from stoker.commands.inputs import InputError
from stoker.commands.podpages import Key, PodPages
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
from stoker.commands.statuses import mapping, unix
from stoker.errors import ClusterUnavailable, Refused, StokerError
from stoker.model import observed

# Rates are over the looks of this time: a rate of one second jumps.
WINDOW_S: Final = 30.0
_PROMETHEUS_S: Final = 10.0


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
    prometheus: Annotated[
        str | None,
        typer.Option(
            "--prometheus",
            help="Address of a Prometheus with the chart's rules, instead of asking pods: "
            "http://127.0.0.1:9090.",
        ),
    ] = None,
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
        if prometheus is not None and not prometheus.startswith(("http://", "https://")):
            raise InputError(f"--prometheus {prometheus}: write http://HOST:PORT")
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
        values = await self._values()
        rows = [rates.of_series(_row(body), values.get(key, {})) for key, body in listed]
        notes = []
        if listed and not values:
            notes.append(
                f"{self.address} has none of Stoker's recorded series: see that it loads the "
                "chart's rules (prometheusRules.enabled) and scrapes the pods (podMonitor.enabled)"
            )
        return rates.sorted_rows(rows), notes

    async def _values(self) -> dict[Key, dict[str, float]]:
        names = "|".join(rates.SERIES)
        within = f',namespace="{self.scope.namespace}"' if self.scope.namespace else ""
        query = {"query": f'{{__name__=~"{names}"{within}}}'}
        url = f"{self.address.rstrip('/')}/api/v1/query"
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_PROMETHEUS_S)) as session,
                session.get(url, params=query) as response,
            ):
                status, raw = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._failed(" ".join(str(error).split()) or type(error).__name__) from error
        try:
            document = json.loads(raw)
        except ValueError as error:
            raise self._failed(f"HTTP {status}, and no answer of Prometheus' API") from error
        try:
            return rates.series_of(document)
        except ValueError as error:
            raise self._failed(str(error)) from error

    def _failed(self, said: str) -> CommandError:
        return CommandError(
            f"--prometheus {self.address}: {said}; without the option the pods are asked",
            Exit.UNREACHABLE,
        )


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
    everywhere = scope.namespace is None
    if looks:
        for _ in range(looks - 1):
            await source.look()
            await asyncio.sleep(pause)
        rows, notes = await source.look()
        _print(console, rows, notes, scope, form)
        return Exit.DONE
    if not console.is_terminal:
        # One table after the other, for whoever keeps them.
        while True:
            rows, notes = await _patiently(source)
            typer.echo(time.strftime("# %Y-%m-%dT%H:%M:%S%z"))
            _print(console, rows, notes, scope, form)
            await asyncio.sleep(pause)
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            rows, notes = await _patiently(source)
            head = f"{len(rows)} services, every {pause:g} s; Ctrl-C ends"
            view = toptable.screen(rows, console.width, [*notes, head], everywhere=everywhere)
            live.update(view, refresh=True)
            await asyncio.sleep(pause)


async def _patiently(source: Source) -> tuple[list[Row], list[str]]:
    """An API server that is away for a moment ends no live screen."""
    try:
        return await source.look()
    except (ClusterUnavailable, CommandError) as error:
        if isinstance(error, CommandError) and error.exit is not Exit.UNREACHABLE:
            raise
        return [], [str(error)]


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
