"""Where figures come from: this process's samples where it leads, else the leader's.

Only the leader samples, so a standby asks it, once and briefly, at the address that the leader
wrote into the Lease; what a standby was asked by another replica it does not pass on. Unknown names
end before anything is remembered or sent: the store of every replica knows all services.

A service with a fixed number of replicas is sampled only as long as its own plan needs that. Being
asked for it changes that (`Interest`): for two minutes after each question it is sampled at the
normal pace. The first question waits a moment for the first sample.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import aiohttp

from stoker import naming
from stoker.autoscale.belief import STALE_AFTER
from stoker.clock import Clock
from stoker.errors import NotFound
from stoker.external.figures import Figures, NoFigures, figures_of, from_json
from stoker.model.load import Load
from stoker.model.observed import Key

PATH_FIGURES: Final = "/figures"
ASKED_FOR_S: Final = 120.0
_FIRST_SAMPLE_S: Final = 3.0
_LEADER_TIMEOUT_S: Final = _FIRST_SAMPLE_S + 1.0
_CONNECTIONS: Final = 8
# Nothing wakes who waits for news on a standby, so it looks itself.
_STANDBY_PAUSE_S: Final = 1.0
_PAUSE_S: Final = 5.0


class Interest:
    """Which services were asked for in the last two minutes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[Key, float] = {}

    def ask(self, key: Key) -> bool:
        """Note a question; whether it is the first one for a while."""
        first = self.until(key) is None
        self._until[key] = self._clock.monotonic() + ASKED_FOR_S
        return first

    def until(self, key: Key) -> float | None:
        """Until when (clock time) a service counts as asked for; None: nobody asks."""
        until = self._until.get(key)
        if until is not None and until <= self._clock.monotonic():
            del self._until[key]
            return None
        return until

    def forget(self, key: Key) -> None:
        """That service is gone."""
        self._until.pop(key, None)


@dataclass(frozen=True, slots=True)
class Views:
    """What a source looks at."""

    synced: Callable[[], bool]  # whether the store is complete
    exists: Callable[[Key], bool]
    leads: Callable[[], bool]
    leader: Callable[[], str]  # host:port of another process that leads, or empty
    latest: Callable[[Key], Load | None]
    wake: Callable[[Key], None]  # have the service looked at


class Source:
    """Answers for every service, in every replica of the operator."""

    def __init__(self, clock: Clock, interest: Interest, views: Views) -> None:
        self._clock = clock
        self._interest = interest
        self._views = views
        self._news: dict[Key, asyncio.Event] = {}
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def news(self, key: Key) -> None:
        """There is a new sample that may say something else."""
        event = self._news.pop(key, None)
        if event is not None:
            event.set()

    async def figures(self, key: Key, *, forwarded: bool = False) -> Figures:
        """The newest figures; `NotFound` for an unknown service, `NoFigures` where none tells."""
        views = self._views
        if not views.synced():
            raise NoFigures("the operator has just started and does not know the cluster yet")
        if not views.exists(key):
            raise NotFound(
                f"there is no InferenceService {key.name!r} in the namespace {key.namespace!r}, or "
                "Stoker does not watch that namespace"
            )
        if views.leads():
            return await self._own(key)
        leader = views.leader()
        if forwarded or not leader:
            raise NoFigures("no replica of the operator leads at the moment")
        return await self._ask(leader, key)

    async def wait(self, key: Key) -> None:
        """Until there may be news of a service; some seconds at most."""
        await self._wait(key, _PAUSE_S if self._views.leads() else _STANDBY_PAUSE_S)

    async def _own(self, key: Key) -> Figures:
        if self._interest.ask(key):
            self._views.wake(key)
        load = self._views.latest(key)
        if load is None or self._clock.monotonic() - load.time > STALE_AFTER:
            await self._wait(key, _FIRST_SAMPLE_S)
        return figures_of(self._views.latest(key), self._clock.monotonic())

    async def _wait(self, key: Key, seconds: float) -> None:
        event = self._news.setdefault(key, asyncio.Event())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    async def _ask(self, leader: str, key: Key) -> Figures:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
                timeout=aiohttp.ClientTimeout(total=_LEADER_TIMEOUT_S),
                headers={"User-Agent": naming.USER_AGENT},
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        url = f"http://{leader}{PATH_FIGURES}/{key.namespace}/{key.name}"
        try:
            async with self._session.get(url, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise NoFigures(f"the operator's leader answers HTTP {answer.status}")
                return from_json(await answer.json())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise NoFigures(
                f"the operator's leader at {leader} does not answer ({type(error).__name__})"
            ) from error
