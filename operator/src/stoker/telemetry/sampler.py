"""One small task per service that scales: scrape its pods, keep the newest `Load`, wake the pass.

Which pods are asked is read from the watches at every sweep, so a pod that is gone never lingers in
a sample, and a sample is joined to live pods by construction. How often, `pace` says: busy services
every two seconds, idle ones rarely, and at zero, where nothing but the frontend can have news, its
one small statistics page many times a second, so that the first request that is held wakes the
service at once. A frontend that pushes a hint is looked at immediately at zero, and soon where
replicas are idle; a lost hint costs one pause. A service whose number of replicas is fixed has
nothing to decide by its load; it is looked at calmly, twice a minute, for its cost alone: idle or
not.

Who has to answer: every frontend that is ready, and every engine that is ready and stays. Draining
frontends are asked too, as they may hold requests, but may be silent. Whoever must answer and does
not is a problem in words, and the sample is not complete; nothing is ever counted as zero.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from stoker.clock import Clock
from stoker.model.load import NO_FRONTEND, EngineSample, FrontendSample, Load
from stoker.model.observed import Key, ObservedPod
from stoker.naming import Component
from stoker.telemetry import pace
from stoker.telemetry.pages import Lack, Pages
from stoker.telemetry.scrape import Scraper

_log = logging.getLogger(__name__)

# Steady numbers wake a pass this often, so that windows fill; changed ones at once.
_HEARTBEAT_S: Final = 5.0
_CALM_S: Final = 30.0
# Hints come from pods; between two sweeps they cannot ask for more than this.
_HINT_PAUSE_S: Final = 0.05
# Requests that have just come are with the picker, which looks like a queue. Only at zero is it
# one; elsewhere a hint is followed after a moment.
_PICKED_S: Final = 0.3
# So long after the last complete look nobody knows what goes on.
_BLIND_S: Final = 15.0

Pods = Callable[[Key], Sequence[ObservedPod]]


@dataclass(slots=True)
class _Watch:
    task: asyncio.Task[None]
    hint: asyncio.Event = field(default_factory=asyncio.Event)
    load: Load | None = None
    calm: bool = False
    histograms: bool = False
    seen: float = 0.0  # when the last complete look began, or the first one was due
    busy: float = 0.0  # when something went on last
    pages: int = 0  # frontends that are asked at zero
    hurry: asyncio.Event = field(default_factory=asyncio.Event)  # it is calm no more


class Samplers:
    """The sampling tasks of all services."""

    def __init__(
        self, scraper: Scraper, clock: Clock, pods: Pods, wake: Callable[[Key], None]
    ) -> None:
        self._ask = Pages(scraper)
        self._clock = clock
        self._pods = pods
        self._wake = wake
        self._watches: dict[Key, _Watch] = {}
        self._at_zero = 0  # frontends of all services without a replica

    def ensure(
        self, key: Key, *, wanted: bool, calm: bool = False, histograms: bool = False
    ) -> None:
        """Start or stop sampling a service.

        `calm` where nothing has to be decided soon; `histograms` where a target needs those of the
        engines' times, which cost as much as the rest of a page several times over.
        """
        if wanted and key not in self._watches:
            task = asyncio.create_task(self._run(key), name=f"sampler {key}")
            now = self._clock.monotonic()
            self._watches[key] = _Watch(task, calm=calm, seen=now, busy=now, histograms=histograms)
        elif wanted:
            watch = self._watches[key]
            if watch.calm and not calm:
                watch.hurry.set()
            watch.calm, watch.histograms = calm, histograms
        elif not wanted and key in self._watches:
            watch = self._watches.pop(key)
            self._at_zero -= watch.pages
            watch.task.cancel()

    def latest(self, key: Key) -> Load | None:
        """The newest sample."""
        watch = self._watches.get(key)
        return watch.load if watch is not None else None

    def hint(self, key: Key) -> bool:
        """Somebody says that there is news; False when nobody watches that service."""
        watch = self._watches.get(key)
        if watch is None:
            return False
        watch.hint.set()
        return True

    def blind(self) -> list[tuple[float, Key]]:
        """Services that nobody can scale: seconds without a complete look, the longest first."""
        now = self._clock.monotonic()
        found = [(now - watch.seen, key) for key, watch in self._watches.items() if not watch.calm]
        return sorted(((age, key) for age, key in found if age > _BLIND_S), reverse=True)

    def oldest_age(self) -> float:
        """Seconds since the newest sample of the service that waits longest for one.

        Those that are looked at calmly wait for none.
        """
        now = self._clock.monotonic()
        watches = [watch for watch in self._watches.values() if not watch.calm]
        ages = [now - watch.load.time for watch in watches if watch.load]
        return max(ages, default=0.0)

    async def close(self) -> None:
        """Stop all tasks."""
        tasks = [watch.task for watch in self._watches.values()]
        self._watches.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: Key) -> None:
        watch = self._watches[key]
        woken: Load | None = None
        while True:
            try:
                pods = self._pods(key)
                load = await self._sweep(pods, histograms=watch.histograms)
            except Exception:  # noqa: BLE001 (any bug)
                # A sampler that died would leave its service without numbers until a restart.
                _log.exception("a bug", extra={"key": str(key), "reason": "Bug"})
                await asyncio.sleep(pace.BUSY_S)
                continue
            self._note(watch, load, pods)
            if woken is None or _differs(woken, load) or load.time - woken.time >= _HEARTBEAT_S:
                woken = load
                self._wake(key)
            if watch.calm:
                watch.hurry.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(watch.hurry.wait(), _CALM_S)
                continue
            await self._wait(watch, at_zero=not any(_is_engine(pod) for pod in pods))

    def _note(self, watch: _Watch, load: Load, pods: Sequence[ObservedPod]) -> None:
        """Keep a load, and what it says of how often to look."""
        if load.complete:
            watch.seen = load.time
        first = watch.load is None or load.complete != watch.load.complete
        if first or watch.load is None or _goes_on(watch.load, load):
            watch.busy = load.time
        at_zero = not any(_is_engine(pod) for pod in pods)
        pages = len(load.frontends) if at_zero else 0
        self._at_zero += pages - watch.pages
        watch.load, watch.pages = load, pages

    async def _wait(self, watch: _Watch, *, at_zero: bool) -> None:
        await asyncio.sleep(_HINT_PAUSE_S)
        now = self._clock.monotonic()
        pause = pace.pause_at_zero(self._at_zero) if at_zero else pace.pause_of(now - watch.busy)
        deaf = not at_zero and pause <= pace.BUSY_S
        # Services that began together, as after a restart, must not go on being asked together.
        pause *= 1 - pace.SPREAD * random.random()  # noqa: S311 - no secret
        if deaf:
            await asyncio.sleep(pause - _HINT_PAUSE_S)
        else:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(watch.hint.wait(), max(0.01, pause - _HINT_PAUSE_S))
                if not at_zero:
                    watch.busy = now
                    await asyncio.sleep(_PICKED_S)
        watch.hint.clear()

    async def _sweep(self, pods: Sequence[ObservedPod], *, histograms: bool) -> Load:
        time = self._clock.monotonic()
        frontends = [pod for pod in pods if pod.component is Component.FRONTEND and pod.ip]
        engines = [pod for pod in pods if _is_engine(pod) and pod.ready and not pod.deleting]
        work: list[Coroutine[Any, Any, FrontendSample | EngineSample | Lack | str | None]] = []
        work += [self._ask.frontend(pod) for pod in frontends]
        work += [self._ask.engine(pod, histograms=histograms) for pod in engines]
        answers = await asyncio.gather(*work)
        problems = [str(answer) for answer in answers if isinstance(answer, str | Lack)]
        if not any(pod.ready and not pod.deleting for pod in frontends):
            problems.append(NO_FRONTEND)
        return Load(
            time=time,
            frontends=tuple(a for a in answers if isinstance(a, FrontendSample)),
            engines=tuple(a for a in answers if isinstance(a, EngineSample)),
            problems=tuple(problems),
            lacks=Lack.told(answer for answer in answers if isinstance(answer, Lack)),
        )


def _is_engine(pod: ObservedPod) -> bool:
    return pod.component is Component.ENGINE


def _goes_on(before: Load, after: Load) -> bool:
    """Whether a request is in progress, or came and went since."""
    active = sum(sample.active for sample in after.frontends)
    return (
        active + after.queue_depth + after.running > 0
        or before.requests_total != after.requests_total
    )


def _differs(before: Load, after: Load) -> bool:
    """Whether a decision could come out differently."""
    return _summary(before) != _summary(after)


def _summary(load: Load) -> tuple[object, ...]:
    active = sum(sample.active for sample in load.frontends)
    return (
        load.held,
        load.waiting,
        load.running,
        active > 0,
        load.complete,
        len(load.engines),
        load.requests_total,
    )
