"""Waiting for an object before a progress bar, or line by line where nobody looks at a terminal.

The status is read every two seconds, which is more often than the operator writes it. Every request
has its own time-out, and an API server that is away for a while ends nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars

from stoker.clock import Clock
from stoker.cluster.client import Client
from stoker.commands.caches import Ending
from stoker.commands.exits import Exit
from stoker.commands.running import CommandError, Subject, told
from stoker.commands.statuses import duration
from stoker.commands.tables import plain, safe
from stoker.errors import ClusterUnavailable, StokerError
from stoker.model.observed import Key

LOOK_S: Final = 2.0
# Between two lines that say the same.
BEAT_S: Final = 15.0
# How long the API server may be away.
_AWAY_S: Final = 60.0

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an object is. `mark` is what has to differ for another line of a log."""

    name: str
    line: str
    percent: int | None = None
    mark: object = None


class Screen(Protocol):
    """Where people see how far it is."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""

    def tell(self, progress: Progress) -> None:
        """What is known now."""


class Bar:
    """A progress bar on a terminal."""

    def __init__(self, console: Console) -> None:
        self._progress = Bars(
            TextColumn("{task.fields[name]}"),
            BarColumn(bar_width=20),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, name="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def tell(self, progress: Progress) -> None:
        """Move the bar; without a percentage it swings."""
        self._progress.update(
            self._task,
            description=safe(progress.line),
            name=safe(progress.name.rpartition("/")[2]),
            total=None if progress.percent is None else 100,
            completed=progress.percent or 0,
        )


class Beats:
    """Lines for a log: each change of phase or of five per cent, and a sign of life between."""

    def __init__(self, write: Callable[[str], None], clock: Clock) -> None:
        self._write = write
        self._clock = clock
        self._said: object = None
        self._said_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def tell(self, progress: Progress) -> None:
        """A line, if it is time for one."""
        mark = (progress.mark, (progress.percent or 0) // 5)
        now = self._clock.monotonic()
        if mark == self._said and now - self._said_at < BEAT_S:
            return
        self._said, self._said_at = mark, now
        self._write(f"{progress.name}: {plain(progress.line)}")


def screen_of(console: Console, clock: Clock) -> Screen:
    """The one that suits where the words go."""
    if console.is_terminal and not console.is_dumb_terminal:
        return Bar(console)

    def write(line: str) -> None:
        console.file.write(f"{line}\n")
        console.file.flush()

    return Beats(write, clock)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, by which clock."""

    timeout_s: float
    clock: Clock
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class Matter:
    """What is waited for, and how it is told."""

    look: Callable[[], Awaitable[Body]]
    judge: Callable[[Body], Ending | None]
    show: Callable[[Body], Progress]
    hint: str  # where to look once nobody waits any more


async def follow(matter: Matter, screen: Screen, patience: Patience) -> tuple[Body, Ending]:
    """The last look and how it ended; `CommandError` where the time ran out, or nobody answers."""
    clock = patience.clock
    begun = heard = clock.monotonic()
    known: Progress | None = None
    with screen:
        while True:
            try:
                body = await matter.look()
            except ClusterUnavailable:
                if clock.monotonic() - heard > _AWAY_S:
                    raise
            except CommandError as error:
                if known is None or error.exit is not Exit.NOT_FOUND:
                    raise
                raise CommandError(f"{known.name} was deleted meanwhile", error.exit) from error
            else:
                heard = clock.monotonic()
                ending = matter.judge(body)
                if ending is not None:
                    return body, ending
                known = matter.show(body)
                screen.tell(known)
            left = begun + patience.timeout_s - clock.monotonic()
            if left <= 0:
                raise CommandError(_late(known, patience.timeout_s, matter.hint), Exit.TIMED_OUT)
            await patience.pause(min(LOOK_S, left))


def _late(known: Progress | None, timeout_s: float, hint: str) -> str:
    now = "nothing was heard of it" if known is None else known.line
    return (
        f"not within {duration(timeout_s)} (--timeout): {now}. It goes on without this command; "
        f"{hint}"
    )


def looking(client: Client, key: Key, subject: Subject) -> Callable[[], Awaitable[Body]]:
    """Looks at one object; what the API server refuses is told, what passes is raised as it is."""

    async def look() -> Body:
        try:
            return await client.get(subject.kind.path(key.namespace, key.name))
        except ClusterUnavailable:
            raise
        except StokerError as error:
            raise told(error, key, subject) from error

    return look
