"""What the life of an engine depends on; `lifecycle` and `follower` decide what it does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Optional, Tuple

from stoker_worker.contract import Termination
from stoker_worker.events import Command, Exit


class Phase(Enum):
    """Where the engine is in its life."""

    STARTING = "Starting"
    WARMING_UP = "WarmingUp"
    VERIFYING = "Verifying"  # an engine that could serve waits until its model is read again
    READY = "Ready"
    STALLED = "Stalled"
    PROFILING = "Profiling"  # out of rotation until a trace is written: see profiling.py
    FOLLOWING = "Following"  # a follower's only time of work: see follower.py
    DRAINING = "Draining"
    KILLING = "Killing"
    STOPPED = "Stopped"


@dataclass(frozen=True)
class Ask:
    """A question to the engine that is never asked twice at a time."""

    due: float = 0.0
    pending: bool = False


@dataclass(frozen=True)
class Clock:
    """When an engine last made progress, or had nothing to do."""

    name: str
    steps: float
    cache: float
    at: float


class Stage(Enum):
    """How far a trace is."""

    LEAVING = "Leaving"  # out of rotation; what runs finishes
    STARTING = "Starting"
    RECORDING = "Recording"
    STOPPING = "Stopping"
    WRITTEN = "Written"  # in rotation again; the files wait to be fetched


@dataclass(frozen=True)
class Profile:
    """A trace for somebody, for as long as that somebody is there."""

    token: str
    steps: int
    stage: Stage
    since: float  # when the stage began
    heard_at: float
    fault: str = ""  # why there is none


@dataclass(frozen=True)
class State:
    """All that the next decision depends on."""

    phase: Phase
    started_at: float
    seen_at: float
    health: Ask = field(default_factory=Ask)
    probe: Ask = field(default_factory=Ask)
    sample: Ask = field(default_factory=Ask)
    healthy_at: Optional[float] = None
    first_token_at: Optional[float] = None
    accepted: bool = False  # it was ready once, so requests may have come
    refusals: int = 0
    clocks: Tuple[Clock, ...] = ()
    moved_at: float = 0.0  # the API server's clock
    sampled_at: float = 0.0  # when the metrics were last read
    load: int = 0
    # Requests that the server counts though the engine proved that it holds none: vLLM loses count
    # when a client leaves in the middle of a stream.
    phantom: int = 0
    relearn: bool = False
    term_at: Optional[float] = None
    term_sent: bool = False
    kill_at: Optional[float] = None
    outcome: Optional[Termination] = None
    unproven: bool = False  # the model's files are being hashed
    proven_at: Optional[float] = None
    left: Optional[Exit] = None  # how the engine ended before the verdict
    busy: bool = True  # at the last look at the metrics
    profile: Optional[Profile] = None

    @property
    def ready(self) -> bool:
        """Whether requests may come; of a follower, whether it does its part."""
        return self.phase in (Phase.READY, Phase.FOLLOWING)

    def quiet_s(self, now: float) -> float:
        """Age of the oldest sign of progress."""
        return now - min([self.moved_at, *(clock.at for clock in self.clocks)])


Decision = Tuple[State, Tuple[Command, ...]]


def back_in_rotation(state: State, now: float) -> State:
    """Ready, and judged from now on alone."""
    return replace(state, phase=Phase.READY, accepted=True, moved_at=now, clocks=())
