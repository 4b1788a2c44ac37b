"""What /metrics shows of model caches. A cache that is gone leaves no series behind."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from stoker.model.observed import Key

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LABELS: Final = ("namespace", "cache")


class CacheMetrics:
    """Gauges from the statuses, when somebody asks; counters from what is written into them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.passes = Histogram(
            "stoker_cache_reconcile_duration_seconds",
            "Duration of one pass over one cache, by how it ended.",
            ["outcome"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.bytes = Gauge(
            "stoker_cache_bytes", "Size of the cached model.", _LABELS, registry=registry
        )
        self.downloaded = Gauge(
            "stoker_cache_downloaded_bytes",
            "How much of a model that is being fetched is on the volume and good.",
            _LABELS,
            registry=registry,
        )
        self.phase = Gauge(
            "stoker_cache_phase",
            "1 for the phase that the cache is in.",
            [*_LABELS, "phase"],
            registry=registry,
        )
        self.nodes_ready = Gauge(
            "stoker_cache_nodes_ready", "Nodes that hold the model.", _LABELS, registry=registry
        )
        self.nodes_wanted = Gauge(
            "stoker_cache_nodes_wanted", "Nodes that are to hold it.", _LABELS, registry=registry
        )
        self.last_verified = Gauge(
            "stoker_cache_last_verified_timestamp_seconds",
            "When every byte was last compared with its digest, in Unix seconds.",
            _LABELS,
            registry=registry,
        )
        self.verifications = Counter(
            "stoker_cache_verifications",
            "Verifications that ended, by result: good or bad.",
            [*_LABELS, "result"],
            registry=registry,
        )
        self._gauges = (
            self.bytes,
            self.downloaded,
            self.phase,
            self.nodes_ready,
            self.nodes_wanted,
            self.last_verified,
        )

    def count(self, key: Key, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Count what a written status says anew."""
        verified = after.get("lastVerified")
        if verified and verified != before.get("lastVerified"):
            self._verified(key, "good").inc()
        if _bad(after) and not _bad(before):
            self._verified(key, "bad").inc()

    def tell(self, statuses: Iterable[tuple[Key, Mapping[str, Any]]]) -> None:
        """Take every gauge from the statuses as they are now."""
        for gauge in self._gauges:
            gauge.clear()
        for key, status in statuses:
            self._tell(key, status)

    def forget(self, key: Key) -> None:
        """Drop the counters of a cache that is gone."""
        for result in ("good", "bad"):
            try:
                self.verifications.remove(key.namespace, key.name, result)
            except KeyError:
                continue

    def _verified(self, key: Key, result: str) -> Counter:
        return self.verifications.labels(key.namespace, key.name, result)

    def _tell(self, key: Key, status: Mapping[str, Any]) -> None:
        place = (key.namespace, key.name)
        nodes = status.get("nodes") or {}
        values = (
            (self.bytes, status.get("bytes")),
            (self.downloaded, (status.get("progress") or {}).get("downloaded")),
            (self.nodes_ready, nodes.get("ready")),
            (self.nodes_wanted, nodes.get("wanted")),
            (self.last_verified, _unix(status.get("lastVerified"))),
        )
        for gauge, value in values:
            if value is not None:
                gauge.labels(*place).set(value)
        if status.get("phase"):
            self.phase.labels(*place, status["phase"]).set(1)


def _bad(status: Mapping[str, Any]) -> bool:
    return any(
        entry.get("type") == "Verified" and entry.get("status") == "False"
        for entry in status.get("conditions") or ()
    )


def _unix(text: object) -> float | None:
    return datetime.fromisoformat(text).timestamp() if isinstance(text, str) and text else None
