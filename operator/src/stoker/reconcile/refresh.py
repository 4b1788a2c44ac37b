"""What /metrics reads at the moment that somebody asks, from all parts of the process.

Whoever leads tells of services and caches: a standby's numbers would be the same ones a second
time, and every sum over them twice as large as the world.
"""

from collections.abc import Mapping, Sized
from dataclasses import dataclass

from stoker.clock import Clock
from stoker.cluster.freshness import Freshness
from stoker.cluster.lease import Leadership
from stoker.cluster.store import Store
from stoker.reconcile.figures import Figures
from stoker.telemetry.cachemetrics import CacheMetrics
from stoker.telemetry.metrics import Metrics
from stoker.telemetry.sampler import Samplers


@dataclass(frozen=True, slots=True)
class Refresh:
    """Called before each scrape."""

    clock: Clock
    leadership: Leadership
    store: Store
    queues: Mapping[str, Sized]  # by kind
    freshness: Freshness
    samplers: Samplers
    figures: Figures
    metrics: Metrics
    caches: CacheMetrics

    def __call__(self) -> None:
        """Read everything anew."""
        leads = self.leadership.leads
        self.metrics.leader.set(1 if leads else 0)
        self.metrics.tell_queues({kind: len(queue) for kind, queue in self.queues.items()})
        self.metrics.tell_watches(self.freshness.ages())
        self.metrics.sample_age.set(self.samplers.oldest_age())
        self.metrics.tell_blind(self.samplers.blind())
        self._tell_services(leads=leads)
        self._tell_caches(leads=leads)

    def _tell_services(self, *, leads: bool) -> None:
        keys = list(self.store.services()) if leads else []
        bodies = [(key, self.store.service(key) or {}) for key in keys]
        self.metrics.count_conditions(body.get("status") or {} for _, body in bodies)
        self.metrics.services.show(self.figures.of(bodies), self.clock.unix())

    def _tell_caches(self, *, leads: bool) -> None:
        keys = self.store.caches() if leads else ()
        bodies = ((key, self.store.cache(key) or {}) for key in keys)
        self.caches.tell((key, body.get("status") or {}) for key, body in bodies)
