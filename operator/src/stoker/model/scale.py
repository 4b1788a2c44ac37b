"""What the autoscaler remembers, sees and answers.

`stoker.autoscale.decide_service(observed, load, history, platform, now) -> ScaleDecision` makes the
answer, `stoker.plan.service.plan_service(observed, scale, platform, now) -> Plan` carries it out.
The control shell keeps `ScaleDecision.history` in memory for the next pass; a fresh `History()`
after a restart means that no window is full, so nothing scales down for a while.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from stoker.model.learned import Forecast, Kind, Learned
from stoker.model.load import Load
from stoker.model.plan import Verdict
from stoker.model.timing import Buckets

# (monotonic seconds, requests since the observation began), oldest first
Arrivals = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Fading sums over the requests that ended; means are quotients."""

    requests: float = 0.0
    prompt_tokens: float = 0.0
    output_tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class Promise:
    """What is known of one latency target. Times in monotonic seconds.

    The window in progress: seconds, the integral of the requests in progress per replica, how many
    were measured and how many of them were in time.
    """

    seconds: float = 0.0
    busy_s: float = 0.0
    measured: float = 0.0
    in_time: float = 0.0
    # Requests in progress per replica that keep the target; None: it was never broken.
    cap: float | None = None
    # Requests in progress per replica, and the share in time, when it was first broken.
    broken: tuple[float, float] | None = None
    hopeless_until: float | None = None
    words: str = ""  # what the last window told


@dataclass(frozen=True, slots=True)
class Latencies:
    """How the latency targets are kept."""

    time: float | None = None  # of the last look
    busy: float = 0.0  # requests in progress per replica, then
    # Buckets of each engine pod at the last look, by term.
    buckets: Mapping[str, Mapping[str, Buckets]] = field(default_factory=dict)
    promises: Mapping[str, Promise] = field(default_factory=dict)  # by the target's name


@dataclass(frozen=True, slots=True)
class History:
    """What one service's autoscaler knows of the past. Times in monotonic seconds."""

    # Start of the unbroken observation that the windows are made of; None: nothing seen yet.
    since: float | None = None
    # Time of the last complete sample.
    seen: float | None = None
    # Sliding-window maximum of the need: times rise, needs fall, the first entry is the largest.
    needs: tuple[tuple[float, int], ...] = ()
    # Since when there is no sample that may move anything; None: there is.
    blind_since: float | None = None
    # When a request was last seen, or the start of the observation.
    active_at: float | None = None
    # Request counter of each frontend pod at the last complete sample.
    counters: Mapping[str, float] = field(default_factory=dict)
    # When replicas were last added: those are still warming and credited for a while.
    raised_at: float | None = None
    # When replicas were last added after they had been taken away, or for the first time.
    turned_up_at: float | None = None
    falling: bool = False  # the last change took replicas away
    # Since when all replicas answer and more waits than they should leave; None: it does not.
    queued_since: float | None = None
    arrivals: Arrivals = ()
    lengths: Lengths = field(default_factory=Lengths)
    # Requests ended, tokens of their prompts and answers, by engine pod, at the last look.
    engines: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    changes: tuple[tuple[float, int], ...] = ()  # of the number: when, and by how much
    latencies: Latencies = field(default_factory=Latencies)
    # US dollars per hour for one replica of each revision that runs, where a budget is set.
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    learned: Learned = field(default_factory=Learned)
    outlook: Forecast | None = None  # what was expected when it was learned from last
    # When what was learned was written down last, or first seen; and what that said.
    kept_at: float | None = None
    kept: tuple[tuple[Kind, tuple[float, ...]], ...] = ()


class Term(StrEnum):
    """What asks for replicas; the most that one of them asks for is the number."""

    PLACES = "places"  # what is there, over what a replica computes and may keep waiting
    QUEUE = "queue"  # what waits, over what may wait at one replica
    ARRIVALS = "arrivals"  # what comes
    BACKLOG = "backlog"  # what comes and what waits, worked off soon
    CONCURRENCY = "concurrency"  # what is in progress, over target.concurrency
    TTFT = "ttft"  # what is in progress, over what a replica may have to keep target.ttft
    ITL = "itl"  # the same for target.itl
    KV_CACHE = "kvCache"  # the KV cache in use, over target.kvCache
    PROGRESS = "progress"  # one replica for any request at all
    FORECAST = "forecast"  # what such moments were followed by; no part of the need


class Limit(StrEnum):
    """Why the number is another one than the load asks for."""

    FLOOR = "Floor"  # the least that is allowed: minReplicas, or what the verdict names
    CEILING = "Ceiling"  # the most that is allowed: maxReplicas, or what the verdict names
    ADDED_STAYS = "AddedStays"  # what was added stays for a while
    OBSERVING = "Observing"  # too little was seen yet for anything to go
    STABILIZATION = "Stabilization"  # the user's own window
    STARTING = "Starting"  # replicas that start will take from the queue, so it adds none


@dataclass(frozen=True, slots=True)
class Reckoning:
    """The numbers of one decision. Replicas as real numbers where they are no whole ones."""

    need: int  # what the load needs
    terms: Mapping[Term, float]
    places: int  # requests that one replica computes at once
    request_s: float  # seconds of one replica for one request; 0 where that is not known
    limit: Limit | None = None
    fewer_at: float | None = None  # monotonic; before it nothing goes. None: nothing may go


@dataclass(frozen=True, slots=True)
class ScaleDecision:
    """How many replicas are wanted in all, over every revision, and why."""

    replicas: int
    verdict: Verdict  # why this number; it varies with the load, so it is for logs and lastScale
    active: bool = False  # whether Stoker scales by load at this moment: condition ScalingActive
    activity: Verdict | None = None  # the steady words of that condition
    load: Load | None = None  # the complete sample behind the decision
    queue_target: int | None = None  # waiting requests per replica that are fine
    reckoning: Reckoning | None = None  # the numbers behind it, where it was made from a load
    history: History = field(default_factory=History)
    wake_at: float | None = None  # monotonic; when the answer may change without new data
    keep: str | None = None  # what was learned, to be written down now
