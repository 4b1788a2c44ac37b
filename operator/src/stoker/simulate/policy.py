"""What a scaling policy is to the simulator: when it looks, through what, and what it answers.

A policy sees the service through a pipeline of its own, as it would in a cluster:

    the service ──scrape_s──► Snapshot ──lag_s──► visible ──tick_s──► decide(history, sample, now)

Every `scrape_s` seconds the service is read into a `Snapshot`, with noise where the pipeline has
some; `lag_s` later the policy can see it; every `tick_s` seconds it is asked. How many pods exist
and are ready comes from the API server and is never late. Counters only rise, as Prometheus's do,
so that rates and means of any window are differences of two snapshots.

How to add a policy:

1. In a module of `stoker.simulate.baselines`, write a frozen dataclass with `name`, `pipeline`,
   `begin` and `decide` (the protocol `Policy`). What it remembers is a value of its own, passed in
   and handed back; nothing may be kept in the object. Bounds need not be obeyed: the simulator does
   that, last and always.
2. Write a factory `(Setting, float | None) -> Policy`: the number is the policy's main parameter,
   which a comparison sweeps; None is the default of its own documentation.
3. Enter it in `stoker.simulate.baselines.BASELINES` under the name that `--policy` takes.
4. Test `decide` alone against a sequence computed by hand from the documentation of the original.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from stoker import autoscale
from stoker.model.timing import Buckets
from stoker.planner.batching import Arrival
from stoker.simulate.service import Service
from stoker.simulate.starts import Starts


@dataclass(frozen=True, slots=True)
class ReplicaSignal:
    """What one ready replica reports of itself."""

    pod: str
    running: int  # requests being computed
    waiting: int  # requests inside the engine that are not
    kv_share: float  # of its KV cache in use, 0 to 1
    kv_tokens: int  # the same in tokens
    # How many took how long since it began; empty where the pipeline does not read them.
    ttft: Buckets = ()
    itl: Buckets = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The service at one moment, as a pipeline read it. Totals are counters since the start."""

    time: float
    held: int  # requests that wait at the frontend
    replicas: tuple[ReplicaSignal, ...]  # ready ones that stay
    leaving: int  # requests that draining replicas still compute
    requests_total: int  # that came
    input_tokens_total: int  # of the requests that came
    first_total: int  # requests that got a first token
    ttft_s_total: float  # of these, from arrival
    finished_total: int
    output_tokens_total: int  # of the finished requests
    prompt_tokens_total: int  # of the finished requests
    itl_s_total: float  # of the finished requests: the mean between two tokens of each
    shed_total: int  # refused or given up by the frontend

    @property
    def running(self) -> int:
        """Requests being computed by replicas that stay."""
        return sum(each.running for each in self.replicas)

    @property
    def waiting(self) -> int:
        """Requests waiting inside engines."""
        return sum(each.waiting for each in self.replicas)

    @property
    def in_progress(self) -> int:
        """All requests in the system: held, waiting, being computed."""
        return self.held + self.waiting + self.running + self.leaving


@dataclass(frozen=True, slots=True)
class Sample:
    """What a policy looks at when it is asked."""

    wanted: int  # replicas after its last decision and the bounds
    created: int  # pods that exist and stay, ready or not
    ready: int  # pods that answer and stay
    snapshots: tuple[Snapshot, ...]  # that became visible since it was asked last, oldest first
    latest: Snapshot | None  # the newest visible one, also from before; None: nothing seen yet

    @property
    def pending(self) -> int:
        """Pods on their way up."""
        return self.created - self.ready


@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas, why, and what to remember."""

    replicas: int
    reason: str
    history: Any
    notice: str = ""  # what a user should know beside it, in a sentence; told once


@dataclass(frozen=True, slots=True)
class Pipeline:
    """How a policy learns of the world. Times in seconds."""

    tick_s: float  # between two decisions
    scrape_s: float  # between two readings of the service
    lag_s: float = 0.0  # from a reading to the moment that the policy can see it
    noise: float = 0.0  # relative standard deviation of counts and KV use, drawn per reading
    # From the first request that is held at zero replicas to an extra reading and decision, for
    # policies whose gateway tells them; None: they find out at the next tick.
    wake_s: float | None = None
    # Replicas that answer at the start, for policies that would have asked for them before; None:
    # as the bounds say, the same for all.
    begins_with: int | None = None
    timed: bool = False  # whether it reads the engines' histograms


@dataclass(frozen=True, slots=True)
class Bounds:
    """Replicas that are allowed, and how many there are at the start, all of them ready."""

    minimum: int = 0
    maximum: int = 20
    initial: int = 1

    def clamp(self, replicas: int) -> int:
        """The nearest allowed number."""
        return max(self.minimum, min(replicas, self.maximum))


@dataclass(frozen=True, slots=True)
class Targets:
    """What counts as served well: first token and mean time between tokens, in seconds."""

    ttft_s: float = 2.0
    itl_s: float = 0.1
    # Added to the first one per token of prompt, where long prompts are allowed to take longer.
    ttft_token_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What a policy may be built from. Only bounds of what is possible look at `arrivals`."""

    service: Service
    starts: Starts
    bounds: Bounds
    targets: Targets
    arrivals: tuple[Arrival, ...] = ()
    # What the operator would read from the service's spec; None: its defaults.
    rules: autoscale.Policy | None = None
    began: float = 0.0  # when the trace begins, in Unix seconds: only a schedule asks

    @property
    def allowed(self) -> Bounds:
        """The bounds that every policy is held to: those given, and what a budget pays for."""
        budget = None if self.rules is None else self.rules.budget
        if budget is None:
            return self.bounds
        # Nobody starts a service that its budget does not pay for, or whose price is not known.
        most = min(self.bounds.maximum, budget.allows or 0)
        return Bounds(min(self.bounds.minimum, most), most, min(self.bounds.initial, most))


class Policy(Protocol):
    """Any policy; the module's text says how to write one."""

    @property
    def name(self) -> str:
        """As results show it, with its parameter."""

    @property
    def pipeline(self) -> Pipeline:
        """Its own ticks and lags."""

    def begin(self) -> Any:  # noqa: ANN401 - each policy has a memory of its own type
        """What it remembers before it has seen anything."""

    def decide(self, history: Any, sample: Sample, now: float) -> Decision:  # noqa: ANN401
        """The number of replicas from `now` on, in seconds from the start. Pure."""


Factory = Callable[[Setting, float | None], Policy]
