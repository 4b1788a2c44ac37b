"""Every metric of the operator: name, type, labels and what it means.

/metrics and its reference (docs/metrics.md) are made from this table, so the two cannot differ.
Names follow Prometheus: base units, `_total` for counters, `_info` for what is only labels. Series
of a service or a cache are shown by the process that leads, so that two replicas of the operator
never tell of one thing twice, and end with it. A label's values are few: kinds, reasons of
`model.reasons`, names of services and caches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.utils import floatToGoString

Type = Literal["gauge", "counter", "histogram"]
Group = Literal["process", "service", "cache"]

_SERVICE: Final = ("namespace", "service")
_CACHE: Final = ("namespace", "cache")
# From a pass that has nothing to do to one that waits for a slow API server, in seconds.
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# Of what should take next to no time, and what it takes when something is wrong.
WAIT_BUCKETS: Final = (0.001, 0.01, 0.1, 0.5, 1, 5, 15, 60)


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. Counters are named without `_total`, as the client library wants them."""

    name: str
    type: Type
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    leader: bool = False  # only the process that leads shows it

    @property
    def shown(self) -> str:
        """The name in queries; a histogram's has suffixes."""
        return f"{self.name}_total" if self.type == "counter" else self.name

    def gauge(self, registry: CollectorRegistry) -> Gauge:
        """As a gauge that is set."""
        return Gauge(self.name, self.help, self.labels, registry=registry)

    def counter(self, registry: CollectorRegistry) -> Counter:
        """As a counter that is incremented."""
        return Counter(self.name, self.help, self.labels, registry=registry)

    def histogram(self, registry: CollectorRegistry) -> Histogram:
        """As a histogram that observes."""
        return Histogram(self.name, self.help, self.labels, buckets=self.buckets, registry=registry)

    def head(self, *, open_metrics: bool) -> str:
        """What stands above its samples on a page; OpenMetrics names counters without a suffix."""
        name = self.name if open_metrics else self.shown
        return f"# HELP {name} {self.help}\n# TYPE {name} {self.type}\n"

    def line(self, labels: Sequence[str], value: float) -> str:
        """One sample on a page, with the values of its labels in their order."""
        pairs = ",".join(
            f'{name}="{_escaped(each)}"' for name, each in zip(self.labels, labels, strict=True)
        )
        number = floatToGoString(value)  # type: ignore[no-untyped-call]
        return f"{self.shown}{{{pairs}}} {number}\n"

    def told(
        self, samples: Iterator[tuple[Sequence[str], float]]
    ) -> GaugeMetricFamily | CounterMetricFamily:
        """As values that were read at the moment of the scrape, each after its labels."""
        kind = CounterMetricFamily if self.type == "counter" else GaugeMetricFamily
        family = kind(self.name, self.help, labels=self.labels)
        for labels, value in samples:
            family.add_metric(labels, value)
        return family


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


RECONCILE: Final = Family(
    "stoker_reconcile_duration_seconds",
    "histogram",
    "How long one pass over one object took, by the object's kind and how the pass ended: ok, "
    "not_ready (tried again), refused (by the API server), not_leading, bug.",
    ("kind", "outcome"),
    BUCKETS,
)
BUGS: Final = Family(
    "stoker_reconcile_bugs",
    "counter",
    "Passes that ended in an error nobody foresaw; the log has the traceback.",
)
QUEUE_DEPTH: Final = Family(
    "stoker_queue_depth", "gauge", "Objects that wait for a pass, by kind.", ("kind",)
)
QUEUE_WAIT: Final = Family(
    "stoker_queue_wait_seconds",
    "histogram",
    "How long an object waited from the moment there was something to do until its pass began.",
    ("kind",),
    WAIT_BUCKETS,
)
WATCH_AGE: Final = Family(
    "stoker_watch_age_seconds",
    "gauge",
    "Seconds since this resource's watch was last known to tell the truth: an event came, or the "
    "comparison with a list, made once a minute, found nothing missing.",
    ("resource",),
)
CALLS: Final = Family(
    "stoker_api_call_duration_seconds",
    "histogram",
    "How long requests to the API server took, by HTTP verb and status code; the code is none "
    "where no answer came.",
    ("verb", "code"),
    BUCKETS,
)
WRITES: Final = Family(
    "stoker_object_writes", "counter", "Objects that were applied or deleted in the cluster."
)
LEADER: Final = Family("stoker_leader", "gauge", "1 while this process leads, 0 on a standby.")
SAMPLE_AGE: Final = Family(
    "stoker_load_sample_age_seconds",
    "gauge",
    "Age of the newest load sample of the service that waits longest for one.",
)
BLIND_SERVICES: Final = Family(
    "stoker_scaling_blind_services",
    "gauge",
    "Services that scale by load and had no complete sample for 15 seconds.",
)
BLIND_SECONDS: Final = Family(
    "stoker_scaling_blind_seconds",
    "gauge",
    "Seconds without a complete sample, of the 50 services that have been blind longest.",
    _SERVICE,
)
SERVICES: Final = Family(
    "stoker_services",
    "gauge",
    "Number of services by condition and its status.",
    ("condition", "status"),
    leader=True,
)
BUILD: Final = Family("stoker_build_info", "gauge", "1; the operator's version.", ("version",))

INFO: Final = Family(
    "stoker_service_info",
    "gauge",
    "1; what a service runs: the model's name as clients send it, accelerator type, engine and "
    "objective.",
    (*_SERVICE, "model", "accelerator", "engine", "objective"),
    leader=True,
)
REPLICAS: Final = Family(
    "stoker_service_replicas",
    "gauge",
    "Engine replicas: desired by the last decision, ready to answer, and pending: there, but not "
    "answering yet.",
    (*_SERVICE, "state"),
    leader=True,
)
LIMITS: Final = Family(
    "stoker_service_replicas_limit",
    "gauge",
    "The fewest and the most replicas that the spec allows (min, max); both the number itself "
    "where it is fixed.",
    (*_SERVICE, "bound"),
    leader=True,
)
CONDITION: Final = Family(
    "stoker_service_condition",
    "gauge",
    "1 for each condition that says something is not as it should be, with its reason; absent "
    "while all is well.",
    (*_SERVICE, "condition", "reason"),
    leader=True,
)
TARGET: Final = Family(
    "stoker_service_target_seconds",
    "gauge",
    "Latency target: ttft (first token) or itl (between two tokens), from scaling.target at its "
    "highest percentile, else from optimization.targets; absent where none is set.",
    (*_SERVICE, "target"),
    leader=True,
)
TARGET_RATIO: Final = Family(
    "stoker_service_target_ratio",
    "gauge",
    "Share of requests that the latency target is for: 0.9 for p90; absent where the target has "
    "no percentile.",
    (*_SERVICE, "target"),
    leader=True,
)
ACCELERATORS: Final = Family(
    "stoker_service_accelerators",
    "gauge",
    "Accelerators of one replica, by the plan; absent without one.",
    _SERVICE,
    leader=True,
)
FLOPS: Final = Family(
    "stoker_service_accelerator_flops",
    "gauge",
    "Operations per second that the accelerators of one replica do at most, dense, in the type "
    "that the planned weights compute in; absent without a plan or for unknown hardware.",
    _SERVICE,
    leader=True,
)
BANDWIDTH: Final = Family(
    "stoker_service_accelerator_bytes_per_second",
    "gauge",
    "Bytes per second that the memory of one replica's accelerators moves at most; absent without "
    "a plan or for unknown hardware.",
    _SERVICE,
    leader=True,
)
STARTUP: Final = Family(
    "stoker_service_startup_seconds",
    "gauge",
    "How long the last few starts took, on average: node (until a node was found), image (until "
    "the engine's container ran), load (until the first answer).",
    (*_SERVICE, "phase"),
    leader=True,
)
PENDING: Final = Family(
    "stoker_service_pending_seconds",
    "gauge",
    "For how long the oldest replica that no node can take has waited; absent where none waits.",
    _SERVICE,
    leader=True,
)
DEADLINE: Final = Family(
    "stoker_service_startup_deadline_seconds",
    "gauge",
    "How long a node may take, learned from earlier starts; then the replica is withdrawn. Absent "
    "where none waits for a node.",
    _SERVICE,
    leader=True,
)
DECISIONS: Final = Family(
    "stoker_scaling_decisions",
    "counter",
    "Changes of the desired number of replicas, by reason and direction (up, down).",
    (*_SERVICE, "reason", "direction"),
    leader=True,
)
RESIDUAL: Final = Family(
    "stoker_plan_residual_ratio",
    "gauge",
    "Measured over planned, of what runs: kv_tokens (size of the KV cache), ttft, itl. 1 is a "
    "plan that was right.",
    (*_SERVICE, "quantity"),
    leader=True,
)
REPLACEMENTS: Final = Family(
    "stoker_engine_replacements",
    "counter",
    "Engines that ended and were started anew, by reason: hung, crashed, out_of_memory, "
    "start_failed, group_broken.",
    (*_SERVICE, "reason"),
    leader=True,
)
BUDGET: Final = Family(
    "stoker_budget_reached",
    "gauge",
    "1 while the budget keeps more replicas from coming, 0 while it does not; absent without a "
    "budget.",
    _SERVICE,
    leader=True,
)

CACHE_BYTES: Final = Family(
    "stoker_cache_bytes", "gauge", "Size of the cached model.", _CACHE, leader=True
)
CACHE_DOWNLOADED: Final = Family(
    "stoker_cache_downloaded_bytes",
    "gauge",
    "How much of a model that is being fetched is on the volume and good.",
    _CACHE,
    leader=True,
)
CACHE_DOWNLOAD: Final = Family(
    "stoker_cache_download_ratio",
    "gauge",
    "How much of a model that is being fetched is there, of the whole model, 0 to 1.",
    _CACHE,
    leader=True,
)
CACHE_PHASE: Final = Family(
    "stoker_cache_phase",
    "gauge",
    "1 for the phase that the cache is in.",
    (*_CACHE, "phase"),
    leader=True,
)
CACHE_CONDITION: Final = Family(
    "stoker_cache_condition",
    "gauge",
    "1 for each condition that says something is not as it should be, with its reason; absent "
    "while all is well.",
    (*_CACHE, "condition", "reason"),
    leader=True,
)
CACHE_NODES_READY: Final = Family(
    "stoker_cache_nodes_ready", "gauge", "Nodes that hold the model.", _CACHE, leader=True
)
CACHE_NODES_WANTED: Final = Family(
    "stoker_cache_nodes_wanted", "gauge", "Nodes that are to hold it.", _CACHE, leader=True
)
CACHE_VERIFIED: Final = Family(
    "stoker_cache_last_verified_timestamp_seconds",
    "gauge",
    "When every byte was last compared with its digest, in Unix seconds.",
    _CACHE,
    leader=True,
)
CACHE_VERIFICATIONS: Final = Family(
    "stoker_cache_verifications",
    "counter",
    "Verifications that ended, by result: good, or bad, also where the bad bytes were mended.",
    (*_CACHE, "result"),
    leader=True,
)

PRICE: Final = Family(
    "stoker_service_price_dollars_per_hour",
    "gauge",
    "What all replicas of a service that are on a node cost now, by the catalogue, spot and on "
    "demand apart; 0 without any.",
    (*_SERVICE, "revision", "capacity"),
    leader=True,
)
COST: Final = Family(
    "stoker_service_cost_dollars",
    "counter",
    "What replicas have cost since this operator began to look, by what their time was for: "
    "serving, idle, starting, ending, or unknown where requests could not be counted.",
    (*_SERVICE, "revision", "share"),
    leader=True,
)
UNPRICED: Final = Family(
    "stoker_service_unpriced_accelerators",
    "gauge",
    "Accelerators in use that the catalogue has no price for; price and cost are without them.",
    (*_SERVICE, "revision"),
    leader=True,
)
STATIC_PRICE: Final = Family(
    "stoker_service_static_price_dollars_per_hour",
    "gauge",
    "What the most replicas of the last 24 hours would cost if they ran all the time.",
    _SERVICE,
    leader=True,
)
TOKEN_RATIO: Final = Family(
    "stoker_service_token_cost_ratio",
    "gauge",
    "What a token of output costs of a replica, over what one of input costs; by the plan.",
    _SERVICE,
    leader=True,
)
PUBLIC_PRICE: Final = Family(
    "stoker_service_public_price_dollars",
    "gauge",
    "What a public API takes for a million tokens of input or output, as the service's spec says.",
    (*_SERVICE, "direction"),
    leader=True,
)

OF_PROCESS: Final = (
    BUILD, LEADER, RECONCILE, BUGS, QUEUE_DEPTH, QUEUE_WAIT, WATCH_AGE, CALLS, WRITES,
    SAMPLE_AGE, BLIND_SERVICES, BLIND_SECONDS, SERVICES,
)  # fmt: skip
OF_SERVICES: Final = (
    INFO, REPLICAS, LIMITS, CONDITION, TARGET, TARGET_RATIO, ACCELERATORS, FLOPS, BANDWIDTH,
    STARTUP, PENDING, DEADLINE, DECISIONS, RESIDUAL, REPLACEMENTS, BUDGET,
)  # fmt: skip
OF_CACHES: Final = (
    CACHE_BYTES, CACHE_DOWNLOADED, CACHE_DOWNLOAD, CACHE_PHASE, CACHE_CONDITION, CACHE_NODES_READY,
    CACHE_NODES_WANTED, CACHE_VERIFIED, CACHE_VERIFICATIONS,
)  # fmt: skip
OF_COST: Final = (PRICE, COST, UNPRICED, STATIC_PRICE, TOKEN_RATIO, PUBLIC_PRICE)
FAMILIES: Final = (*OF_PROCESS, *OF_SERVICES, *OF_COST, *OF_CACHES)
