"""The operator's own metrics, in a registry of its own."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest

from stoker.model.observed import Key

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# A cluster where nobody answers must not fill the metrics with names.
_NAMED: Final = 50


class Metrics:
    """Everything that /metrics shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.passes = Histogram(
            "stoker_reconcile_duration_seconds",
            "Duration of one pass over one service, by how it ended.",
            ["outcome"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.bugs = Counter(
            "stoker_reconcile_bugs",
            "Passes that ended in an error nobody foresaw.",
            registry=self.registry,
        )
        self.queue_depth = Gauge(
            "stoker_queue_depth", "Services that wait for a pass.", registry=self.registry
        )
        self.calls = Histogram(
            "stoker_api_call_duration_seconds",
            "Requests to the API server.",
            ["verb", "code"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.writes = Counter(
            "stoker_object_writes", "Applied and deleted objects.", registry=self.registry
        )
        self.leader = Gauge("stoker_leader", "1 while this process leads.", registry=self.registry)
        self.sample_age = Gauge(
            "stoker_load_sample_age_seconds",
            "Age of the newest load sample of the service that waits longest for one.",
            registry=self.registry,
        )
        self.blind_services = Gauge(
            "stoker_scaling_blind_services",
            "Services that scale by load and had no complete sample for 15 seconds.",
            registry=self.registry,
        )
        self.blind_seconds = Gauge(
            "stoker_scaling_blind_seconds",
            "Seconds without a complete sample, of the services that have been blind longest.",
            ["namespace", "service"],
            registry=self.registry,
        )
        self.services = Gauge(
            "stoker_services",
            "Services by condition and its status.",
            ["condition", "status"],
            registry=self.registry,
        )
        build = Gauge(
            "stoker_build_info", "Version of the operator.", ["version"], registry=self.registry
        )
        build.labels(version=version("stoker")).set(1)
        self._refreshers: list[Callable[[], None]] = []

    def before_scrape(self, refresh: Callable[[], None]) -> None:
        """Have a value computed only when somebody asks for it."""
        self._refreshers.append(refresh)

    def observe_call(self, verb: str, code: str, seconds: float) -> None:
        """Count one request to the API server."""
        self.calls.labels(verb=verb, code=code).observe(seconds)

    def count_conditions(self, statuses: Iterable[tuple[Key, Mapping[str, Any]]]) -> None:
        """Recount the services by condition."""
        self.services.clear()
        for _, status in statuses:
            for condition in status.get("conditions") or ():
                self.services.labels(
                    condition=condition.get("type"), status=condition.get("status")
                ).inc()

    def tell_blind(self, blind: Sequence[tuple[float, Key]]) -> None:
        """Services that nobody can scale, the longest first; only so many get a name."""
        self.blind_services.set(len(blind))
        self.blind_seconds.clear()
        for seconds, key in blind[:_NAMED]:
            self.blind_seconds.labels(namespace=key.namespace, service=key.name).set(seconds)

    def expose(self) -> bytes:
        """The text that Prometheus reads."""
        for refresh in self._refreshers:
            refresh()
        return generate_latest(self.registry)
