"""One small task per service that scales: scrape its pods, keep the newest `Load`, wake the pass.

Which pods are asked is read from the watches at every sweep, so a pod that is gone never lingers in
a sample, and a sample is joined to live pods by construction. Two cadences: with replicas, every
two seconds; at zero, where nothing but the frontend can have news, its one small statistics page
five times a second, so that the first request that is held wakes the service at once. A frontend
that pushes a hint is looked at immediately, at zero only; a lost hint costs one interval. A service
whose number of replicas is fixed has nothing to decide by its load; it is looked at calmly, twice a
minute, until its engines' times are known.

Who has to answer: every frontend that is ready, and every engine that is ready and stays. Draining
frontends are asked too, as they may hold requests, but may be silent. Whoever must answer and does
not is a problem in words, and the sample is not complete; nothing is ever counted as zero.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from stoker.clock import Clock
from stoker.model.load import EngineSample, FrontendSample, Load
from stoker.model.observed import Key, ObservedPod
from stoker.naming import Component
from stoker.render.addresses import engine_metrics_url, pod_url
from stoker.render.frontend_input import PATH_LOAD, FrontendPorts
from stoker.telemetry.parse import SampleError, engine_sample, frontend_sample
from stoker.telemetry.scrape import Scraper

_log = logging.getLogger(__name__)

INTERVAL_S: Final = 2.0
INTERVAL_AT_ZERO_S: Final = 0.2
# Steady numbers wake a pass this often, so that windows fill; changed ones at once.
_HEARTBEAT_S: Final = 5.0
_CALM_S: Final = 30.0
# Hints come from pods; between two sweeps they cannot ask for more than this.
_HINT_PAUSE_S: Final = 0.05

Pods = Callable[[Key], Sequence[ObservedPod]]


@dataclass(slots=True)
class _Watch:
    task: asyncio.Task[None]
    hint: asyncio.Event = field(default_factory=asyncio.Event)
    load: Load | None = None
    calm: bool = False
    hurry: asyncio.Event = field(default_factory=asyncio.Event)  # it is calm no more


class Samplers:
    """The sampling tasks of all services."""

    def __init__(
        self, scraper: Scraper, clock: Clock, pods: Pods, wake: Callable[[Key], None]
    ) -> None:
        self._scraper = scraper
        self._clock = clock
        self._pods = pods
        self._wake = wake
        self._watches: dict[Key, _Watch] = {}

    def ensure(self, key: Key, *, wanted: bool, calm: bool = False) -> None:
        """Start or stop sampling a service; `calm` where nothing has to be decided soon."""
        if wanted and key not in self._watches:
            task = asyncio.create_task(self._run(key), name=f"sampler {key}")
            self._watches[key] = _Watch(task, calm=calm)
        elif wanted:
            watch = self._watches[key]
            if watch.calm and not calm:
                watch.hurry.set()
            watch.calm = calm
        elif not wanted and key in self._watches:
            self._watches.pop(key).task.cancel()

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
        woken: Load | None = None
        while True:
            watch = self._watches[key]
            try:
                pods = self._pods(key)
                load = await self._sweep(pods)
            except Exception:  # noqa: BLE001 (any bug)
                # A sampler that died would leave its service without numbers until a restart.
                _log.exception("a bug", extra={"key": str(key), "reason": "Bug"})
                await asyncio.sleep(INTERVAL_S)
                continue
            watch.load = load
            if woken is None or _differs(woken, load) or load.time - woken.time >= _HEARTBEAT_S:
                woken = load
                self._wake(key)
            if watch.calm:
                watch.hurry.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(watch.hurry.wait(), _CALM_S)
                continue
            await asyncio.sleep(_HINT_PAUSE_S)
            at_zero = not any(_is_engine(pod) for pod in pods)
            pause = INTERVAL_AT_ZERO_S if at_zero else INTERVAL_S
            pause = max(0.01, pause - _HINT_PAUSE_S)
            if at_zero:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(watch.hint.wait(), pause)
            else:
                # Requests that have just come are with the picker, which looks like a queue. Only
                # at zero is it one, so only there is a hint worth more than the next sweep.
                await asyncio.sleep(pause)
            watch.hint.clear()

    async def _sweep(self, pods: Sequence[ObservedPod]) -> Load:
        time = self._clock.monotonic()
        frontends = [pod for pod in pods if pod.component is Component.FRONTEND and pod.ip]
        engines = [pod for pod in pods if _is_engine(pod) and pod.ready and not pod.deleting]
        work: list[Coroutine[Any, Any, FrontendSample | EngineSample | str | None]] = []
        work += [self._ask_frontend(pod) for pod in frontends]
        work += [self._ask_engine(pod) for pod in engines]
        answers = await asyncio.gather(*work)
        problems = [answer for answer in answers if isinstance(answer, str)]
        if not any(pod.ready and not pod.deleting for pod in frontends):
            problems.append("no frontend pod is ready")
        return Load(
            time=time,
            frontends=tuple(a for a in answers if isinstance(a, FrontendSample)),
            engines=tuple(a for a in answers if isinstance(a, EngineSample)),
            problems=tuple(problems),
        )

    async def _ask_frontend(self, pod: ObservedPod) -> FrontendSample | str | None:
        root = pod_url(pod, FrontendPorts().ops)
        try:
            return frontend_sample(pod.name, await self._scraper.get(f"{root}{PATH_LOAD}"))
        except SampleError as error:
            must_answer = pod.ready and not pod.deleting
            return f"frontend pod {pod.name}: {error}" if must_answer else None

    async def _ask_engine(self, pod: ObservedPod) -> EngineSample | str:
        url = engine_metrics_url(pod)
        if url is None:
            return f"engine pod {pod.name}: has no address yet"
        try:
            return engine_sample(pod.name, await self._scraper.get(url))
        except SampleError as error:
            return f"engine pod {pod.name}: {error}"


def _is_engine(pod: ObservedPod) -> bool:
    return pod.component is Component.ENGINE


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
