"""A trace of one replica, as its worker is asked for it: a lease that ends with whoever holds it.

`stoker_worker.profiling` tells what the stages mean. All the while the worker is asked how far it
is, which is also the sign of life; where that stops, the replica comes back by itself.
"""

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import aiohttp

from stoker.commands.exits import Exit
from stoker.commands.running import CommandError
from stoker.commands.statuses import mapping, mappings, text, whole
from stoker_worker import contract

# Stages of `stoker_worker.state.Stage`, as they are spoken.
RECORDING: Final = "Recording"
WRITTEN: Final = "Written"

_LOOK_S: Final = 1.0
_ASK_S: Final = 10.0
# How long the way may be broken: less than the worker's lease.
_AWAY_S: Final = 20.0
_MOST_BYTES: Final = 2 * 2**30
OLDER: Final = (
    "its worker is of a Stoker that cannot profile yet. Pods keep the worker that they began with: "
    "have the service's replicas replaced (change spec.engine.profiling) by an operator that has "
    "`stoker profile`, or profile a newer pod with --pod"
)
WITHOUT: Final = (
    "its engine was started before spec.engine.profiling was set; wait until the replicas are "
    "replaced (`stoker wait SERVICE --for settled`)"
)


@dataclass(frozen=True, slots=True)
class File:
    """One file of a trace."""

    number: int
    name: str
    size: int  # bytes


@dataclass(slots=True)
class Recorder:
    """The conversation with the worker of one pod."""

    session: aiohttp.ClientSession
    root: str
    pod: str
    # Said again and again; new for each trace.
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    page: Mapping[str, Any] = field(default_factory=dict)
    _watching: asyncio.Task[None] | None = None

    async def begin(self, steps: int) -> None:
        """Have the replica leave rotation; `CommandError` says why it does not."""
        status, body = await self._ask("POST", f"begin/{steps}")
        if status == 202:
            self._take(body)
            return
        said = " ".join(body.decode("utf-8", "replace").split())
        if status in {404, 405}:
            said = OLDER
        elif "without its profiler" in said:
            said = WITHOUT
        raise CommandError(f"pod {self.pod}: {said}", Exit.REFUSED)

    async def __aenter__(self) -> Self:
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        """The replica is given back, whatever happened."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError, CommandError):
                await self._watching
        with contextlib.suppress(CommandError, aiohttp.ClientError, OSError):
            await asyncio.shield(self._ask("POST", "end"))

    async def until(self, stage: str, limit_s: float, tell: Callable[[str], None]) -> None:
        """Wait for a stage; `CommandError` where there is a fault, or it takes too long."""
        begun = time.monotonic()
        while True:
            self.check()
            now = str(self.page.get("stage", ""))
            fault = text(self.page.get("fault"))
            if fault is not None:
                raise CommandError(f"pod {self.pod}: no trace was made: {fault}", Exit.UNHEALTHY)
            if now == stage:
                return
            if time.monotonic() - begun > limit_s:
                raise CommandError(
                    f"pod {self.pod}: still {now} after {limit_s:.0f} s", Exit.TIMED_OUT
                )
            tell(now)
            await asyncio.sleep(_LOOK_S / 2)

    def check(self) -> None:
        """Raise what broke the conversation, if anything has."""
        if self._watching is not None and self._watching.done():
            self._watching.result()

    async def enough(self) -> None:
        """What was to be recorded has happened."""
        status, body = await self._ask("POST", "stop")
        if status != 200:
            raise self._lost(body)

    def files(self) -> list[File]:
        """What the engine wrote."""
        return [
            File(number, text(each.get("name")) or "", whole(each.get("bytes")) or 0)
            for number, each in enumerate(mappings(self.page.get("files")))
        ]

    async def read(self, file: File) -> bytes:
        """A small file."""
        found = bytearray()
        await self._pieces(file, found.extend, lambda _: None)
        return bytes(found)

    async def save(self, file: File, path: Path, tell: Callable[[int], None]) -> None:
        """A large one, into a file that does not exist yet; `tell` is told bytes."""
        with path.open("xb") as target:
            try:
                await self._pieces(file, target.write, tell)
            except BaseException:
                _remove(path)  # half a trace is none
                raise

    async def _pieces(
        self, file: File, write: Callable[[bytes], object], tell: Callable[[int], None]
    ) -> None:
        if file.size > _MOST_BYTES:
            raise CommandError(
                f"pod {self.pod}: a trace of {file.size / 2**30:.1f} GiB; record fewer --steps",
                Exit.UNHEALTHY,
            )
        at = 0
        while at < file.size:
            status, piece = await self._ask("GET", f"file/{file.number}/{at}")
            if status != 200 or not piece:
                raise self._lost(piece)
            write(piece)
            at += len(piece)
            tell(at)

    async def _watch(self) -> None:
        while True:
            status, body = await self._ask("GET", "")
            if status != 200:
                raise self._lost(body)
            self._take(body)
            await asyncio.sleep(_LOOK_S)

    async def _ask(self, method: str, what: str) -> tuple[int, bytes]:
        """One exchange; while the way is broken again and again, since the lease outlives that."""
        url = f"{self.root}{contract.PATH_PROFILE}/{self.token}/{what}".rstrip("/")
        begun = time.monotonic()
        while True:
            try:
                async with self.session.request(
                    method, url, timeout=aiohttp.ClientTimeout(total=_ASK_S)
                ) as response:
                    return response.status, await response.read()
            except (aiohttp.ClientError, OSError) as error:
                if time.monotonic() - begun > _AWAY_S or not self._leased(what):
                    raise CommandError(
                        f"the connection to pod {self.pod} broke ({type(error).__name__}); the "
                        "replica comes back by itself",
                        Exit.UNREACHABLE,
                    ) from error
            await asyncio.sleep(_LOOK_S)

    def _leased(self, what: str) -> bool:
        """Whether there is a lease to keep: not before its beginning, and not at its end."""
        return bool(self.page) and what != "end"

    def _take(self, body: bytes) -> None:
        try:
            self.page = mapping(json.loads(body))
        except ValueError as error:
            raise self._lost(body) from error

    def _lost(self, body: bytes) -> CommandError:
        said = " ".join(body.decode("utf-8", "replace").split())[:200]
        return CommandError(f"pod {self.pod}: the trace is lost: {said}", Exit.UNHEALTHY)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
