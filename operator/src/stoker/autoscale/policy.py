"""The rules of one service's scaling, read from its spec once."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from stoker import quantity
from stoker.api import scaling as scalings
from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.autoscale.rates import Behavior, behavior_of
from stoker.model.budget import Budget, budget_of
from stoker.model.platform import EnginePlatform
from stoker.model.scale import Term
from stoker.model.schedule import Entry, entries_of
from stoker.model.work import Work

# Engines serve this many requests at once when neither the user nor the catalogue says so.
DEFAULT_CONCURRENCY: Final = 256
_CONCURRENCY_ARG: Final = "max-num-seqs"
# A start in a cloud: a node, an image, weights, compilation (docs/simulator.md has the sources).
DEFAULT_LEAD_S: Final = 200.0
# Chosen on nine traces: surer is much dearer on steady ones (benchmarks/README.md).
DEFAULT_QUANTILE: Final = 0.75
# How sure, by what matters to the user.
_SURE: Final = {"latency": 0.9, "throughput": 0.6, "cost": 0.5}


def utilization_of(quantile: float) -> float:
    """How busy a replica may be: the surer one wants to be, the more room chance is left.

    0.92 at a quantile of 0.5, 0.85 at 0.75, 0.76 at 0.9. A replica keeps its targets up to 0.95 and
    more where arrivals are even; the largest demand within a start's time, which is what a forecast
    is made of, has the room for chance already.
    """
    return float((1 - quantile) ** 0.12)


DEFAULT_UTILIZATION: Final = utilization_of(DEFAULT_QUANTILE)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one replica; None: nothing."""

    places: int | None = None  # requests that it computes at once
    work: Work | None = None
    lead_s: float | None = None  # of its starts so far, in seconds
    price: Decimal | None = None  # US dollars per hour


@dataclass(frozen=True, slots=True)
class LatencyTarget:
    """So large a share may take so many seconds at most."""

    term: Term
    share: float
    seconds: float

    @property
    def name(self) -> str:
        """As in the spec: ttft p90."""
        return f"{self.term.value} p{self.share * 100:.0f}"


@dataclass(frozen=True, slots=True)
class Policy:
    """Bounds, target and windows. Durations in seconds."""

    min_replicas: int
    max_replicas: int
    queue_target: int  # waiting requests per replica that are fine
    concurrency: int  # requests that one replica computes at once
    # Windows that the user has set; None: learned from the service's own past.
    idle_before_zero: float | None = None
    stabilization: float | None = None
    # From a replica being asked for to its first answer.
    lead_s: float = DEFAULT_LEAD_S
    # How sure a forecast has to be: the share of moments after which no more was needed.
    quantile: float = DEFAULT_QUANTILE
    utilization: float = DEFAULT_UTILIZATION  # how busy a replica may be by arrivals alone
    work: Work | None = None  # None: nobody knows a replica's pace
    # Targets beside the queue; None: not set.
    concurrency_target: int | None = None  # requests in progress per replica
    kv_target: float | None = None  # share of the KV cache in use
    latency: tuple[LatencyTarget, ...] = ()
    schedule: tuple[Entry, ...] = ()
    budget: Budget | None = None
    behavior: Behavior = field(default_factory=Behavior)

    @property
    def learns(self) -> bool:
        """Whether anything is decided by what was learned."""
        return self.idle_before_zero is None or self.stabilization is None

    def clamp(self, replicas: int) -> int:
        """The nearest allowed number."""
        return max(self.min_replicas, min(replicas, self.max_replicas))


def policy_of(
    spec: InferenceServiceSpec, engine: EnginePlatform | None, known: Known | None = None
) -> Policy | None:
    """Rules of a service that scales by load; None when its replicas are fixed.

    `engine` is the administrator's entry of the service's engine, asked where no places are known.
    """
    scaling = spec.scaling
    if scaling is None:
        return None
    known = known or Known()
    quantile = _SURE.get(str(spec.optimization.objective), DEFAULT_QUANTILE)
    return Policy(
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        queue_target=scaling.target.queue_depth,
        concurrency=known.places or _concurrency(spec, engine),
        idle_before_zero=quantity.parse_optional_duration(scaling.scale_to_zero_after),
        stabilization=quantity.parse_optional_duration(scaling.scale_down_stabilization),
        lead_s=known.lead_s or DEFAULT_LEAD_S,
        quantile=quantile,
        utilization=utilization_of(quantile),
        work=known.work,
        concurrency_target=scaling.target.concurrency,
        kv_target=scaling.target.kv_cache,
        latency=(
            *_latency(Term.TTFT, scaling.target.ttft),
            *_latency(Term.ITL, scaling.target.itl),
        ),
        schedule=entries_of(scaling),
        budget=budget_of(scaling, known.price),
        behavior=behavior_of(scaling),
    )


def _latency(term: Term, given: scalings.LatencyTarget | None) -> Iterator[LatencyTarget]:
    if given is None:
        return
    for share, limit in ((0.5, given.p50), (0.9, given.p90), (0.99, given.p99)):
        if limit is not None:
            yield LatencyTarget(term, share, quantity.parse_duration(limit))


def _concurrency(spec: InferenceServiceSpec, engine: EnginePlatform | None) -> int:
    given = spec.engine.args.get(_CONCURRENCY_ARG)
    if given is None and engine is not None:
        given = engine.args.get(_CONCURRENCY_ARG)
    if given is not None and given.isdecimal() and int(given) > 0:
        return int(given)
    return engine.concurrency if engine is not None else DEFAULT_CONCURRENCY
