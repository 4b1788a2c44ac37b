"""The operator's own metrics, in a registry of its own; `families` has their names and meanings.

A page is made in two steps: values are refreshed in the event loop, where the rest of the process
changes them, and text is made of them in a thread, as a thousand services are a tenth of a second
of text.
"""

import asyncio
import gzip
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import prometheus_client
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder, gzip_accepted

from stoker.model.observed import Key
from stoker.telemetry import families
from stoker.telemetry.servicemetrics import ServiceMetrics

# A cluster where nobody answers must not fill the metrics with names.
_NAMED: Final = 50
# OpenMetrics bounds the names and values of an exemplar to 128 characters in all.
_EXAMPLE_LIMIT: Final = 104
_END: Final = b"# EOF\n"
# The first levels take half of the text off for a tenth of the time that the last ones take.
_COMPRESSION: Final = 3

# When each series began is one more line for each of them, and nobody reads it.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Page:
    """What is sent to whoever scrapes."""

    body: bytes
    headers: Mapping[str, str]


class Metrics:
    """Everything that /metrics shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.passes = families.RECONCILE.histogram(self.registry)
        self.bugs = families.BUGS.counter(self.registry)
        self.queue_depth = families.QUEUE_DEPTH.gauge(self.registry)
        self.queue_wait = families.QUEUE_WAIT.histogram(self.registry)
        self.watch_age = families.WATCH_AGE.gauge(self.registry)
        self.calls = families.CALLS.histogram(self.registry)
        self.writes = families.WRITES.counter(self.registry)
        self.leader = families.LEADER.gauge(self.registry)
        self.sample_age = families.SAMPLE_AGE.gauge(self.registry)
        self.blind_services = families.BLIND_SERVICES.gauge(self.registry)
        self.blind_seconds = families.BLIND_SECONDS.gauge(self.registry)
        self.conditions = families.SERVICES.gauge(self.registry)
        families.BUILD.gauge(self.registry).labels(version=version("stoker")).set(1)
        self.services = ServiceMetrics()
        self._refreshers: list[Callable[[], None]] = []
        self._one_at_a_time = asyncio.Lock()

    def before_scrape(self, refresh: Callable[[], None]) -> None:
        """Have a value computed only when somebody asks for it."""
        self._refreshers.append(refresh)

    def observe_pass(
        self, kind: str, outcome: str, seconds: float, *, key: Key, number: int
    ) -> None:
        """Count one pass. The exemplar leads to its lines in the log."""
        example = {"object": str(key)[:_EXAMPLE_LIMIT], "pass_id": str(number)}
        self.passes.labels(kind=kind, outcome=outcome).observe(seconds, exemplar=example)

    def observe_wait(self, kind: str, seconds: float) -> None:
        """Count one turn in a queue."""
        self.queue_wait.labels(kind=kind).observe(seconds)

    def observe_call(self, verb: str, code: str, seconds: float) -> None:
        """Count one request to the API server."""
        self.calls.labels(verb=verb, code=code).observe(seconds)

    def tell_queues(self, depths: Mapping[str, int]) -> None:
        """Objects that wait, by kind."""
        for kind, depth in depths.items():
            self.queue_depth.labels(kind=kind).set(depth)

    def tell_watches(self, ages: Mapping[str, float]) -> None:
        """Seconds since each resource's watch was known to tell the truth."""
        for resource, age in ages.items():
            self.watch_age.labels(resource=resource).set(age)

    def count_conditions(self, statuses: Iterable[Mapping[str, Any]]) -> None:
        """Recount the services by condition."""
        self.conditions.clear()
        for status in statuses:
            for condition in status.get("conditions") or ():
                self.conditions.labels(
                    condition=condition.get("type"), status=condition.get("status")
                ).inc()

    def tell_blind(self, blind: Sequence[tuple[float, Key]]) -> None:
        """Services that nobody can scale, the longest first; only so many get a name."""
        self.blind_services.set(len(blind))
        self.blind_seconds.clear()
        for seconds, key in blind[:_NAMED]:
            self.blind_seconds.labels(namespace=key.namespace, service=key.name).set(seconds)

    async def page(self, accept: str = "", accept_encoding: str = "") -> Page:
        """The text in the format that is asked for, compressed where that is understood."""
        async with self._one_at_a_time:
            for refresh in self._refreshers:
                refresh()
            return await asyncio.to_thread(self._page, accept, accept_encoding)

    def expose(self) -> bytes:
        """The plain text, as it is now."""
        return self._page("", "").body

    def _page(self, accept: str, accept_encoding: str) -> Page:
        encode, content_type = choose_encoder(accept)
        open_metrics = content_type.startswith("application/openmetrics-text")
        # The end of a page is part of OpenMetrics.
        body = encode(self.registry).removesuffix(_END)
        body += self.services.text(open_metrics=open_metrics).encode()
        if open_metrics:
            body += _END
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if gzip_accepted(accept_encoding):
            body = gzip.compress(body, _COMPRESSION, mtime=0)
            headers["Content-Encoding"] = "gzip"
        return Page(body, headers)
