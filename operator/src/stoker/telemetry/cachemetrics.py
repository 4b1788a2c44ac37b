"""What /metrics shows of model caches. A cache that is gone leaves no series behind."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter

from stoker.model.observed import Key
from stoker.telemetry import families


class CacheMetrics:
    """Gauges from the statuses, when somebody asks; counters from what is written into them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.bytes = families.CACHE_BYTES.gauge(registry)
        self.downloaded = families.CACHE_DOWNLOADED.gauge(registry)
        self.download = families.CACHE_DOWNLOAD.gauge(registry)
        self.phase = families.CACHE_PHASE.gauge(registry)
        self.condition = families.CACHE_CONDITION.gauge(registry)
        self.nodes_ready = families.CACHE_NODES_READY.gauge(registry)
        self.nodes_wanted = families.CACHE_NODES_WANTED.gauge(registry)
        self.last_verified = families.CACHE_VERIFIED.gauge(registry)
        self.verifications = families.CACHE_VERIFICATIONS.counter(registry)
        self._gauges = (
            self.bytes,
            self.downloaded,
            self.download,
            self.phase,
            self.condition,
            self.nodes_ready,
            self.nodes_wanted,
            self.last_verified,
        )

    def count(self, key: Key, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Count what a written status says anew."""
        verified = after.get("lastVerified")
        if verified and verified != before.get("lastVerified"):
            # Bytes that had to be mended were bad, though all is well now.
            self._verified(key, "bad" if after.get("repaired") else "good").inc()
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
        progress = status.get("progress") or {}
        percent = progress.get("percent")
        values = (
            (self.bytes, status.get("bytes")),
            (self.downloaded, progress.get("downloaded")),
            (self.download, None if percent is None else percent / 100),
            (self.nodes_ready, nodes.get("ready")),
            (self.nodes_wanted, nodes.get("wanted")),
            (self.last_verified, _unix(status.get("lastVerified"))),
        )
        for gauge, value in values:
            if value is not None:
                gauge.labels(*place).set(value)
        if status.get("phase"):
            self.phase.labels(*place, status["phase"]).set(1)
        for entry in status.get("conditions") or ():
            if entry.get("status") == "False":
                told = str(entry.get("type", "")), str(entry.get("reason", ""))
                self.condition.labels(*place, *told).set(1)


def _bad(status: Mapping[str, Any]) -> bool:
    return any(
        entry.get("type") == "Verified" and entry.get("status") == "False"
        for entry in status.get("conditions") or ()
    )


def _unix(text: object) -> float | None:
    return datetime.fromisoformat(text).timestamp() if isinstance(text, str) and text else None
