"""The process: what runs beside what, what starts when, and what ends it.

    servers ─────────────────────────────────────────────────────── always
    kinds served? ── watches ── store complete? ── ready            every replica
                                     └── lead: renew | passes       the one that holds the Lease
                                     ├── audit, once a minute       every replica
                                     └── nodes, now and then        every replica

A standby keeps its watches warm and its store complete, so taking over costs no list. Whatever ends
one of these ends the process: a lost Lease, a dead watch, a bug in the loop. The kubelet starts it
again within a second, with nothing remembered that could be wrong. A clean stop ends the passes,
gives the Lease back, then closes the watches.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from stoker.clock import Clock, SystemClock
from stoker.cluster.apply import Applier
from stoker.cluster.audit import Audit
from stoker.cluster.claims import Claims
from stoker.cluster.client import Client, connect
from stoker.cluster.events import EventPoster
from stoker.cluster.freshness import Freshness
from stoker.cluster.kinds import CACHE, SERVICE, watched
from stoker.cluster.lease import Leadership
from stoker.cluster.nodes import Nodes
from stoker.cluster.observe import Observer
from stoker.cluster.status import StatusWriter
from stoker.cluster.store import Feed, Store
from stoker.errors import ClusterUnavailable, StokerError
from stoker.external.servers import ExternalServers
from stoker.external.source import Interest, Source, Views
from stoker.handlers.watch import register, watch
from stoker.model.load import Load
from stoker.model.observed import Key
from stoker.reconcile.cache import CacheReconciler
from stoker.reconcile.figures import Figures
from stoker.reconcile.platform import caches_of, platform_of
from stoker.reconcile.preloads import PreloadLists
from stoker.reconcile.queue import KeyedQueue
from stoker.reconcile.refresh import Refresh
from stoker.reconcile.service import ServiceReconciler
from stoker.settings import Pod, Settings
from stoker.telemetry.cachemetrics import CacheMetrics
from stoker.telemetry.costmetrics import CostMetrics
from stoker.telemetry.hints import Hints
from stoker.telemetry.metrics import Metrics
from stoker.telemetry.sampler import Samplers
from stoker.telemetry.scrape import Scraper
from stoker.telemetry.server import Server

_log = logging.getLogger(__name__)

_CONCURRENT_PASSES: Final = 8
_CONCURRENT_CACHES: Final = 4
_KINDS_RETRY_S: Final = 2.0
_SYNC_RETRY_S: Final = 0.1
_AUDIT_INTERVAL_S: Final = 60.0
_STOP_S: Final = 5.0
# The loop turns every second; this long without a turn, and somebody blocks it.
_BEAT_LIMIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    settings: Settings
    pod: Pod
    kubeconfig: Path | None
    host: str | None
    port: int
    api_server: tuple[str, ...] = ()  # its addresses, where no job of a cache may go


class Operator:
    """Everything that one process consists of."""

    def __init__(self, options: Options, client: Client, metrics: Metrics) -> None:
        settings, pod = options.settings, options.pod
        self._options = options
        self._clock: Clock = SystemClock()
        self._metrics = metrics
        self._client = client
        self._leadership = Leadership(self._client, self._clock, settings.lease, pod, options.port)
        self._client.fence = self._leadership
        self._queue: KeyedQueue[Key] = KeyedQueue(
            self._clock, _CONCURRENT_PASSES, partial(metrics.observe_wait, SERVICE.name)
        )
        self._store = Store()
        # Caches have a queue of their own: a hundred downloads that are looked at every few
        # seconds keep no service waiting.
        self._caches: KeyedQueue[Key] = KeyedQueue(
            self._clock, _CONCURRENT_CACHES, partial(metrics.observe_wait, CACHE.name)
        )
        kinds = watched(groups=settings.leader_worker_set.enabled)
        freshness = Freshness(self._clock, kinds)
        self._feed = Feed(self._store, self._queue.add, self._wake_cache, freshness.heard)
        self._registry = register(self._feed, client, kinds)
        self._audit = Audit(
            self._client,
            self._store,
            self._feed.concern,
            namespaces=settings.watch_namespaces,
            kinds=kinds,
            heard=freshness.heard,
        )
        claims = {m.claim for engine in settings.engines.values() for m in engine.mounts}
        platform = platform_of(settings, pod.namespace)
        self._nodes = Nodes(self._client, platform.accelerators) if settings.nodes.read else None
        known_claims = Claims(self._client, self._clock)
        observer = Observer(self._store, known_claims, self._nodes, claims)
        self._scraper = Scraper()
        self._samplers = Samplers(self._scraper, self._clock, observer.pods, self._on_sample)
        self._interest = Interest(self._clock)
        self._source = Source(self._clock, self._interest, self._views(observer))
        self._external = ExternalServers(settings.external_scalers, self._source, client.get)
        applier = Applier(self._client, self._store)
        status = StatusWriter(self._client, self._store)
        events = EventPoster(self._client, self._clock, pod.name)
        cache_metrics = CacheMetrics(self._metrics.registry)
        self._cache_reconciler = CacheReconciler(
            clock=self._clock,
            caches=caches_of(settings, pod.namespace, options.api_server),
            platform=platform,
            client=self._client,
            store=self._store,
            claims=known_claims,
            nodes=self._nodes,
            applier=applier,
            status=status,
            events=events,
            scraper=self._scraper,
            metrics=self._metrics,
            cache_metrics=cache_metrics,
        )
        self._reconciler = ServiceReconciler(
            clock=self._clock,
            platform=platform,
            observer=observer,
            applier=applier,
            status=status,
            events=events,
            samplers=self._samplers,
            metrics=self._metrics,
            costs=CostMetrics(self._metrics.registry, self._clock, platform),
            interest=self._interest,
        )
        self._preloads = PreloadLists(
            client,
            self._store,
            events,
            self._clock,
            settings.watch_namespaces,
        )
        self._hints = Hints(
            self._samplers.hint, self._store.service, lambda: self._leadership.leader_address
        )
        self._server = Server(
            self._metrics, self._health, self._readiness, self._hints, self._external.routes()
        )
        self._metrics.before_scrape(
            Refresh(
                clock=self._clock,
                leadership=self._leadership,
                store=self._store,
                queues={SERVICE.name: self._queue, CACHE.name: self._caches},
                freshness=freshness,
                samplers=self._samplers,
                figures=Figures(platform, observer.pods),
                metrics=self._metrics,
                caches=cache_metrics,
            )
        )
        self._synced = False
        self._watch_ended = False
        self._stop_watching = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; raise whatever else ended the work."""
        await self._server.start(self._options.host, self._options.port)
        tasks: list[asyncio.Task[Any]] = []
        try:
            await self._external.start(self._options.host)
            if not await _before(stop, self._wait_for_kinds()):
                return
            watching = asyncio.create_task(self._watch(stop), name="watches")
            tasks = [
                asyncio.create_task(stop.wait(), name="stop"),
                asyncio.create_task(self._work(), name="work"),
                watching,
            ]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task  # raises what ended it
        finally:
            await self._shut_down(tasks)

    async def _watch(self, stop: asyncio.Event) -> None:
        ready = asyncio.Event()
        adopting = asyncio.create_task(_adopt_signals(ready, stop), name="signals")
        try:
            await watch(
                self._registry,
                self._options.settings.watch_namespaces,
                ready,
                self._stop_watching,
            )
        finally:
            self._watch_ended = True
            adopting.cancel()
        if not self._stop_watching.is_set():
            raise StokerError("the watches ended by themselves")

    async def _work(self) -> None:
        while True:
            if await self._complete():
                break
            await asyncio.sleep(_SYNC_RETRY_S)
        if self._nodes is not None:
            await self._nodes.refresh()
        self._synced = True
        _log.info("knows the cluster", extra={"reason": "Synced"})
        async with asyncio.TaskGroup() as group:
            group.create_task(self._audit_regularly(), name="audit")
            if self._nodes is not None:
                group.create_task(self._list_regularly(self._nodes), name="nodes")
            group.create_task(self._lead(), name="lead")

    async def _lead(self) -> None:
        await self._leadership.acquire()
        _log.info("leads as %s", self._leadership.identity, extra={"reason": "Leading"})
        self._wake_all()
        async with asyncio.TaskGroup() as group:
            if self._options.settings.models.preload:
                group.create_task(self._preloads.keep_up(), name="preloads")
            group.create_task(self._leadership.keep(), name="lease")
            group.create_task(self._queue.run(self._reconciler.reconcile), name="passes")
            caches = self._caches.run(self._cache_reconciler.reconcile)
            group.create_task(caches, name="caches")

    async def _audit_regularly(self) -> None:
        while True:
            await asyncio.sleep(_AUDIT_INTERVAL_S)
            try:
                missed = await self._audit.compare()
            except StokerError as error:
                _log.warning("no audit: %s", error, extra={"reason": "AuditFailed"})
                continue
            if missed:
                raise StokerError(f"the watches have not reported {', '.join(missed[:5])}")

    async def _list_regularly(self, nodes: Nodes) -> None:
        while True:
            await asyncio.sleep(nodes.pause_s)
            if await nodes.refresh():
                self._wake_all()

    def _wake_cache(self, key: Key) -> None:
        self._caches.add(key)
        self._preloads.heard_of(key)

    def _wake_all(self) -> None:
        for key in self._store.services():
            self._queue.add(key)
        for key in self._store.caches():
            self._caches.add(key)

    async def _wait_for_kinds(self) -> None:
        while True:
            try:
                missing = await self._audit.missing_kinds()
            except StokerError as error:
                _log.warning("waiting: %s", error, extra={"reason": "WaitingForCluster"})
            else:
                if not missing:
                    return
                _log.warning(
                    "waiting for kinds that the API server does not serve: %s; "
                    "install the chart's CRDs",
                    ", ".join(missing),
                    extra={"reason": "WaitingForKinds"},
                )
            await asyncio.sleep(_KINDS_RETRY_S)

    async def _complete(self) -> bool:
        try:
            return await self._audit.complete()
        except ClusterUnavailable as error:
            _log.warning("waiting: %s", error, extra={"reason": "WaitingForCluster"})
            await asyncio.sleep(_KINDS_RETRY_S)
            return False

    async def _shut_down(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Passes first, then the Lease, then the watches."""
        for task in tasks:
            if task.get_name() != "watches":
                task.cancel()
        rest = [task for task in tasks if task.get_name() != "watches"]
        await asyncio.gather(*rest, return_exceptions=True)
        await self._samplers.close()
        await self._leadership.release()
        # Kopf ends every task of the loop that began after it, those of a server included.
        await self._external.close()
        self._stop_watching.set()
        watching = [task for task in tasks if task.get_name() == "watches"]
        if watching:
            await asyncio.wait(watching, timeout=_STOP_S)
        await self._server.close()
        await self._hints.close()
        await self._scraper.close()
        await self._client.close()

    def _views(self, observer: Observer) -> Views:
        def latest(key: Key) -> Load | None:
            load = self._samplers.latest(key)
            return load and load.of_pods({pod.name: pod.uid for pod in observer.pods(key)})

        return Views(
            synced=lambda: self._synced,
            exists=lambda key: self._store.service(key) is not None,
            leads=lambda: self._leadership.leads,
            leader=lambda: self._leadership.leader_address,
            latest=latest,
            wake=self._queue.add,
        )

    def _on_sample(self, key: Key) -> None:
        self._queue.add(key)
        self._source.news(key)

    def _health(self) -> str | None:
        if self._watch_ended:
            return "the watches have ended"
        silent = self._clock.monotonic() - min(self._queue.beat, self._caches.beat)
        if self._leadership.leads and silent > _BEAT_LIMIT_S:
            return f"no pass could begin for {silent:.0f} s"
        return None

    def _readiness(self) -> str | None:
        return None if self._synced else "does not know the cluster yet"


async def run_operator(options: Options) -> int:
    """Run until a signal (0) or until something ends the work (1)."""
    metrics = Metrics()
    client = await connect(options.kubeconfig, metrics.observe_call)
    stop = asyncio.Event()
    _take_signals(stop)
    try:
        await Operator(options, client, metrics).run(stop)
    except Exception as error:  # noqa: BLE001 (whatever it was, it is told and ends the process)
        first = _first(error)
        if isinstance(first, StokerError):
            _log.error("ends: %s", first, extra={"reason": type(first).__name__})
        else:
            _log.exception("ends: %s", first, extra={"reason": "Fatal"})
        return 1
    return 0


def _take_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def _adopt_signals(ready: asyncio.Event, stop: asyncio.Event) -> None:
    """Kopf takes the signals when it starts; take them back, the Lease goes before the watches."""
    await ready.wait()
    _take_signals(stop)


async def _before(stop: asyncio.Event, work: Awaitable[None]) -> bool:
    """Whether the work was done before the stop."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        await working
        return True
    working.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    return False


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
