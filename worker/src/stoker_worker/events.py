"""What the state machine hears and what it asks for: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple, Union

from stoker_worker.contract import Termination

# What happened.


@dataclass(frozen=True)
class Tick:
    """Time passed."""


@dataclass(frozen=True)
class HealthAnswered:
    """The engine's health check was answered, well or not at all."""

    healthy: bool


@dataclass(frozen=True)
class ProbeAnswered:
    """The engine made tokens for us."""


@dataclass(frozen=True)
class ProbeFailed:
    """No tokens; `refused` when the engine's server answered that it will not make any."""

    message: str
    refused: bool = False


@dataclass(frozen=True)
class EngineCounters:
    """One engine at one moment."""

    name: str
    steps: float
    outstanding: float  # running and waiting requests
    cache: float = 0.0  # share of the KV cache in use


@dataclass(frozen=True)
class Sample:
    """The engine's metrics at one moment."""

    engines: Tuple[EngineCounters, ...]
    load: Optional[int] = None  # requests that the API server holds; None when it cannot tell


@dataclass(frozen=True)
class Sampled:
    """A look at the metrics came back; None when there was no answer."""

    sample: Optional[Sample]


@dataclass(frozen=True)
class TerminateRequested:
    """The kubelet asks the container to end."""


@dataclass(frozen=True)
class EngineExited:
    """The engine's process is gone; `cause` is what its log and the kernel say about it."""

    code: int
    cause: Termination


@dataclass(frozen=True)
class ModelJudged:
    """The model's files were read again: `fault` says which is bad, None that all are good."""

    fault: Optional[Termination]


@dataclass(frozen=True)
class MemberRestarted:
    """A follower of this group has begun a second life: what it computed is lost."""

    rank: int


@dataclass(frozen=True)
class MemberSilent:
    """A follower of this group has not reported for a while."""

    rank: int
    seconds: float


@dataclass(frozen=True)
class LeaderAnswered:
    """The leader of this group was heard; `same` says whether it is still in the same life."""

    same: bool


@dataclass(frozen=True)
class LeaderSilent:
    """The leader did not answer; `gone` when nobody listens at its address any more."""

    gone: bool


@dataclass(frozen=True)
class ProfileWanted:
    """Somebody asks for a trace of at most so many steps."""

    token: str
    steps: int


@dataclass(frozen=True)
class ProfileHeard:
    """Whoever asked for the trace is still there."""

    token: str


@dataclass(frozen=True)
class ProfileEnough:
    """What was to be recorded has happened."""

    token: str


@dataclass(frozen=True)
class ProfileDone:
    """Whoever asked for the trace needs it no more, whatever has become of it."""

    token: str


@dataclass(frozen=True)
class ProfilerStarted:
    """The engine answered that it records; `error` says why it does not."""

    error: str = ""


@dataclass(frozen=True)
class ProfilerStopped:
    """The engine answered that the trace is written; `error` says why it is not."""

    error: str = ""


Event = Union[
    Tick,
    HealthAnswered,
    ProbeAnswered,
    ProbeFailed,
    Sampled,
    TerminateRequested,
    EngineExited,
    ModelJudged,
    MemberRestarted,
    MemberSilent,
    LeaderAnswered,
    LeaderSilent,
    ProfileWanted,
    ProfileHeard,
    ProfileEnough,
    ProfileDone,
    ProfilerStarted,
    ProfilerStopped,
]

# What to do about it.


@dataclass(frozen=True)
class CheckHealth:
    """Ask for health; the answer is a HealthAnswered."""


@dataclass(frozen=True)
class Probe:
    """Ask for tokens; the answer is a ProbeAnswered or a ProbeFailed."""

    tokens: int
    timeout_s: float


@dataclass(frozen=True)
class TakeSample:
    """Read the metrics; the answer is a Sampled."""

    timeout_s: float


@dataclass(frozen=True)
class AskLeader:
    """Report to the leader; the answer is a LeaderAnswered or a LeaderSilent."""


@dataclass(frozen=True)
class StartProfiler:
    """Have the engine record at most so many steps; the answer is a ProfilerStarted."""

    steps: int
    timeout_s: float


@dataclass(frozen=True)
class StopProfiler:
    """Have the engine write what it recorded; the answer is a ProfilerStopped."""

    timeout_s: float


@dataclass(frozen=True)
class DropTraces:
    """Remove the files of traces."""


@dataclass(frozen=True)
class TerminateEngine:
    """Ask the engine to finish and leave."""


@dataclass(frozen=True)
class KillEngine:
    """Kill the engine and all that it started."""


@dataclass(frozen=True)
class Exit:
    """End the worker."""

    code: int
    termination: Optional[Termination]


Command = Union[
    CheckHealth,
    Probe,
    TakeSample,
    AskLeader,
    StartProfiler,
    StopProfiler,
    DropTraces,
    TerminateEngine,
    KillEngine,
    Exit,
]
