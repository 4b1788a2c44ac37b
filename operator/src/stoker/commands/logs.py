"""`stoker logs SERVICE`: what all its pods write, as one stream that says whose each line is.

Engines (their workers write into the same log), frontends with their pickers, the pods that read
the model's facts, and the jobs of its ModelCache. Without --follow the lines are sorted by time.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

import aiohttp
import typer
from rich.console import Console
from rich.text import Text

from stoker import naming
from stoker.cluster.client import Client
from stoker.cluster.kinds import POD
from stoker.commands import loglines, running
from stoker.commands.exits import Exit
from stoker.commands.inputs import InputError
from stoker.commands.loglines import Source
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
    seconds_of,
    with_service,
)
from stoker.commands.running import CommandError, Subject, told
from stoker.commands.statuses import mapping, text
from stoker.errors import ClusterUnavailable, NotFound, Refused, StokerError
from stoker.model.observed import Key
from stoker.naming import Component

_LOOK_S: Final = 2.0
_T = TypeVar("_T")
# More than anybody reads of one container.
_BYTES: Final = 10 * 1024 * 1024
_LINE: Final = re.compile(rb"(\S+Z) ?(.*)", re.DOTALL)
_COLOURS: Final = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_magenta")
PODS: Final = Subject(
    POD,
    "pods",
    "Reading logs takes the rights `get` on inferenceservices.stoker.dev, `list` on pods and `get` "
    "on pods/log, which the role `view` of a namespace has",
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log."""

    source: Source
    time: str  # as the kubelet writes it
    text: str


@dataclass(frozen=True, slots=True)
class Ask:
    """What is wanted of each container."""

    previous: bool
    since_s: float | None
    tail: int

    def query(self, source: Source, *, follow: bool, after: str = "") -> dict[str, str]:
        """For one container; `after` goes on behind a line."""
        found = {"container": source.container, "timestamps": "true"}
        if follow:
            found["follow"] = "true"
        else:
            found["limitBytes"] = str(_BYTES)
        if after:
            return {**found, "sinceTime": after}
        if self.previous:
            found["previous"] = "true"
        if self.since_s is not None:
            found["sinceSeconds"] = str(max(1, round(self.since_s)))
        if self.tail >= 0:
            found["tailLines"] = str(self.tail)
        return found


def logs(  # noqa: PLR0917 - the options, as typer reads them
    service: Service,
    component: Annotated[
        list[Component] | None,
        typer.Option("-c", "--component", help="Of these pods alone; may be repeated."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Go on as lines come, of new pods too.")
    ] = False,
    previous: Annotated[
        bool,
        typer.Option("-p", "--previous", help="Of containers that were restarted: the one before."),
    ] = False,
    since: Annotated[
        str | None, typer.Option("--since", help="Not older than this: 90s, 10m, 2h.")
    ] = None,
    tail: Annotated[
        int, typer.Option("--tail", help="Last lines of each container; -1: all that is kept.")
    ] = 200,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="When each was written.")] = (
        False
    ),
    namespace: Namespace = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    output: Form = Output.TABLE,
) -> None:
    """Show what all pods of SERVICE write, without credentials; -o json: one object a line."""

    def answer() -> Exit:
        check_names(service, namespace)
        if output is Output.YAML:
            raise InputError("-o yaml: a log is lines; write -o json for one object a line")
        if follow and previous:
            raise InputError("--follow and --previous: a container that ended writes no more")
        if tail < -1:
            raise InputError(f"--tail {tail}: write a whole number, or -1 for all")
        ask = Ask(previous, None if since is None else seconds_of(since, "--since"), tail)
        wanted = loglines.components_of(each.value for each in component or ())

        async def act(client: Client, key: Key, body: dict[str, Any]) -> Exit:
            show = _shower(key.name, output, timestamps=timestamps)
            reader = Reader(client, key, _cache_of(body), wanted, ask)
            return await (reader.follow(show) if follow else reader.once(show))

        return with_service(service, Where(namespace, kubeconfig, context), act)

    finish(answer)


def _cache_of(body: dict[str, Any]) -> str | None:
    return text(mapping(mapping(body.get("status")).get("model")).get("cache"))


@dataclass(slots=True)
class Reader:
    """Reads the logs of one service."""

    client: Client
    key: Key
    cache: str | None
    wanted: frozenset[str]
    ask: Ask
    seen: dict[Source, str] = field(default_factory=dict)  # the time of the last line
    away: bool = False  # the API server does not answer

    async def once(self, show: Callable[[Line], None]) -> Exit:
        """What is there now, sorted by time."""
        found = await self._sources()
        if not found:
            what = "was restarted" if self.ask.previous else "has written anything yet"
            typer.echo(
                f"no container of {self.key} {what}; `stoker why {self.key.name} -n "
                f"{self.key.namespace}` says what runs",
                err=True,
            )
        lines: list[Line] = []
        for each in await asyncio.gather(*(self._collect(source) for source in found)):
            lines.extend(each)
        for line in sorted(lines, key=lambda each: each.time):
            show(line)
        return Exit.DONE

    async def follow(self, show: Callable[[Line], None]) -> Exit:
        """What is there and what comes, until the user ends it or the service is gone."""
        tasks: dict[Source, asyncio.Task[None]] = {}
        first = True
        try:
            while True:
                sources = await self._patiently(self._sources)
                for source in sources or ():
                    ended = source not in tasks or tasks[source].done()
                    if ended and (source not in self.seen or source.running):
                        tasks[source] = asyncio.create_task(self._follow(source, show))
                if first and not tasks:
                    typer.echo(f"waiting for a pod of {self.key}", err=True)
                first = False
                await _pause(tasks.values(), _LOOK_S)
                if sources == () and await self._patiently(self._is_gone):
                    typer.echo(f"{self.key} was deleted, and its pods are gone", err=True)
                    return Exit.NOT_FOUND
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _patiently(self, look: Callable[[], Awaitable[_T]]) -> _T | None:
        """None while the API server is away, which is said once."""
        try:
            found = await look()
        except CommandError as error:
            if error.exit is not Exit.UNREACHABLE:
                raise
            if not self.away:
                typer.echo(f"{error}; it is asked again", err=True)
            self.away = True
            return None
        self.away = False
        return found

    async def _is_gone(self) -> bool:
        try:
            await running.read_service(self.client, self.key)
        except CommandError as error:
            if error.exit is not Exit.NOT_FOUND:
                raise
            return True
        return False

    async def _sources(self) -> tuple[Source, ...]:
        """Of all pods: the service's own, and those of its cache."""
        selectors = [f"{naming.LABEL_SERVICE}={self.key.name}"]
        if self.cache is not None:
            selectors.append(f"{naming.LABEL_CACHE}={self.cache}")
        path = POD.path(self.key.namespace)
        pods: list[dict[str, Any]] = []
        try:
            for selector in selectors:
                pods += await running.read_all(self.client, path, {"labelSelector": selector})
        except StokerError as error:
            raise told(error, Key(self.key.namespace, ""), PODS) from error
        return tuple(
            source
            for source in loglines.sources(pods, previous=self.ask.previous)
            if source.component in self.wanted
        )

    async def _collect(self, source: Source) -> list[Line]:
        return [line async for line in self._lines(source, follow=False)]

    async def _follow(self, source: Source, show: Callable[[Line], None]) -> None:
        self.seen.setdefault(source, "")
        try:
            async for line in self._lines(source, follow=True):
                show(line)
        except ClusterUnavailable:
            return  # asked again with the next look

    async def _lines(self, source: Source, *, follow: bool) -> AsyncIterator[Line]:
        path = POD.path(self.key.namespace, source.pod, "log")
        after = self.seen.get(source, "")
        query = self.ask.query(source, follow=follow, after=after)
        try:
            async with self.client.stream(path, query) as content:
                async for raw in _split(content):
                    found = _LINE.fullmatch(raw)
                    time = found[1].decode() if found else ""
                    if after and time <= after:
                        continue  # the API server counts whole seconds
                    self.seen[source] = time or after
                    yield Line(source, time, loglines.clean(found[2] if found else raw))
        except NotFound:
            return  # gone meanwhile
        except Refused as error:
            if "forbidden" in str(error):
                raise told(error, Key(self.key.namespace, ""), PODS) from error
            return  # it has not begun, or its log is kept no more
        except ClusterUnavailable as error:
            if follow:
                raise
            raise told(error, Key(self.key.namespace, ""), PODS) from error


async def _pause(tasks: Collection[asyncio.Task[None]], seconds: float) -> None:
    """Wait so long; what ended a task is raised at once: a right, or a pipe that nobody reads."""
    sleeper = asyncio.create_task(asyncio.sleep(seconds))
    try:
        # The sleeper has it wait so long where all tasks have ended, the limit where none has.
        await asyncio.wait({sleeper, *tasks}, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        sleeper.cancel()
    for each in tasks:
        if each.done():
            each.result()


async def _split(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length; one that never ends is cut."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
        if len(rest) > _BYTES:
            yield rest
            rest = b""
    if rest:
        yield rest


def _shower(service: str, output: Output, *, timestamps: bool) -> Callable[[Line], None]:
    """Writes lines to the standard output, each at once."""
    console = Console(highlight=False, soft_wrap=True)
    colours: dict[str, str] = {}

    def show(line: Line) -> None:
        if output is Output.JSON:
            typer.echo(json.dumps(as_data(line)))
            return
        whose = loglines.prefix(line.source, service)
        colour = colours.setdefault(line.source.pod, _COLOURS[len(colours) % len(_COLOURS)])
        when = f"{line.time} " if timestamps else ""
        console.print(Text.assemble((f"{whose} | ", colour), when, line.text))

    return show


def as_data(line: Line) -> dict[str, Any]:
    """A line for programs."""
    return {
        "time": line.time or datetime.now(UTC).isoformat(),
        "pod": line.source.pod,
        "component": line.source.component,
        "container": line.source.container,
        "line": line.text,
    }
