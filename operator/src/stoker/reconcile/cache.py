"""One pass over one cache: observe → progress → decide → apply → status → events → wake.

How a pass may end is said in `ending`.
"""

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any, Final

from stoker.api.modelcache import ModelCacheSpec
from stoker.caching.cache import plan_cache
from stoker.caching.storage import named_claim
from stoker.clock import Clock
from stoker.cluster.apply import Applier
from stoker.cluster.cacheobserve import CacheObserver
from stoker.cluster.claims import Claims
from stoker.cluster.client import Client
from stoker.cluster.events import EventPoster
from stoker.cluster.imagevolumes import ImageVolumes
from stoker.cluster.kinds import CACHE
from stoker.cluster.nodelabels import NodeLabels
from stoker.cluster.nodes import Nodes
from stoker.cluster.status import StatusWriter
from stoker.cluster.store import Store
from stoker.errors import (
    Refused,
)
from stoker.model import reasons
from stoker.model.cache import CachePlan, CachePlatform, ObservedCache
from stoker.model.moment import Moment, earliest
from stoker.model.observed import Key
from stoker.model.plan import Event
from stoker.model.platform import Platform
from stoker.reconcile.ending import Passes, tags
from stoker.telemetry.cachemetrics import CacheMetrics
from stoker.telemetry.metrics import Metrics
from stoker.telemetry.progress import read_progress
from stoker.telemetry.scrape import Scraper

_log = logging.getLogger(__name__)

# What the API server refused, it may accept after a change of quota or policy.
_REFUSED_RETRY_S: Final = 30.0
# A stranger's object may go away without our being told.
_TAKEN_RETRY_S: Final = 10.0


class CacheReconciler:
    """The worker of the queue for ModelCaches."""

    def __init__(
        self,
        *,
        clock: Clock,
        caches: CachePlatform,
        platform: Platform,
        client: Client,
        store: Store,
        claims: Claims,
        nodes: Nodes | None,
        applier: Applier,
        status: StatusWriter,
        events: EventPoster,
        scraper: Scraper,
        metrics: Metrics,
        cache_metrics: CacheMetrics,
    ) -> None:
        self._clock = clock
        self._caches = caches
        self._platform = platform
        labels = {key for each in platform.accelerators.values() for key in each.node_selector}
        self._observer = CacheObserver(
            client=client,
            store=store,
            claims=claims,
            nodes=nodes,
            place=self._place,
            node_labels=labels,
            label_nodes=caches.label_nodes,
            image_volumes=ImageVolumes(client, clock),
        )
        self._applier = applier
        self._status = status
        self._events = events
        self._scraper = scraper
        self._metrics = metrics
        self._cache_metrics = cache_metrics
        self._labels = NodeLabels(client, clock)
        self._passes = Passes(clock, _log, CACHE.name, metrics)

    async def reconcile(self, key: Key) -> float | None:
        """Look at a cache once; when to look again."""
        return await self._passes.run(key, self._pass)

    def _place(self, name: str, spec: ModelCacheSpec) -> tuple[str, bool]:
        return named_claim(name, spec, self._caches)

    async def _pass(self, key: Key, number: int) -> float | None:
        observed = await self._observer.observe(key)
        if observed is None or observed.cache.deleting:
            self._forget(key)
            return None
        pages = await read_progress(self._scraper, observed.pods)
        observed = dataclasses.replace(observed, progress=pages)
        now = Moment(self._clock.monotonic(), self._clock.unix())
        plan = plan_cache(observed, self._caches, self._platform, now)
        taken = await self._applier.find_taken(observed.cache, plan.actions)
        if taken:
            observed = dataclasses.replace(observed, taken=taken)
            plan = plan_cache(observed, self._caches, self._platform, now)
        retry = await self._carry_out(observed, plan, now, number)
        await self._labels.write(plan.labels)
        if taken:
            retry = earliest(retry, now.monotonic + _TAKEN_RETRY_S)
        return earliest(plan.wake_at, retry)

    async def _carry_out(
        self, observed: ObservedCache, plan: CachePlan, now: Moment, number: int
    ) -> float | None:
        cache, status, retry = observed.cache, plan.status, None
        events: tuple[Event, ...] = plan.events
        try:
            self._metrics.writes.inc(await self._applier.carry_out(cache, plan.actions))
        except Refused as error:
            _log.warning("refused: %s", error, extra=tags(cache.key, number, reasons.WRITE_REFUSED))
            status = _with_refusal(status, str(error))
            if _refused_before(cache.status) != str(error):
                events = (*events, Event("Warning", reasons.WRITE_REFUSED, str(error)))
            retry = now.monotonic + _REFUSED_RETRY_S
        if await self._status.write(cache, status, now):
            self._cache_metrics.count(cache.key, cache.status, status)
            await self._events.post(cache, events)
        return retry

    def _forget(self, key: Key) -> None:
        self._passes.forget(key)
        self._observer.forget(key)
        self._events.forget(key, CACHE.name)
        self._cache_metrics.forget(key)


def _with_refusal(status: Mapping[str, Any], message: str) -> dict[str, Any]:
    """The status, saying what the API server does not accept; what is cached stays in use."""
    usable = bool(status.get("folder"))
    conditions = [entry for entry in status.get("conditions") or () if entry["type"] != "Ready"]
    refusal = {
        "type": "Ready",
        "status": "True" if usable else "False",
        "reason": reasons.WRITE_REFUSED,
        "message": message,
    }
    phase = "Degraded" if usable else "Failed"
    return {**status, "phase": phase, "conditions": [refusal, *conditions]}


def _refused_before(status: Mapping[str, Any]) -> str | None:
    for entry in status.get("conditions") or ():
        if entry.get("type") == "Ready" and entry.get("reason") == reasons.WRITE_REFUSED:
            return str(entry.get("message"))
    return None
