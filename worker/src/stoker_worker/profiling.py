"""A trace of the engine's profiler, as a lease on the replica: pure, like lifecycle.py.

    (none) ─wanted─► Leaving ─nothing runs─► Starting ─► Recording ─enough─► Stopping ─► Written
                        │                                    │                             │
                        │ its client is gone, or             │ its client is gone,         │ fetched
                        │ requests run for too long          │ or it takes too long        │ or left
                        ▼                                    ▼                             ▼
                  Written, with a fault                  Stopping                       (none)

From Leaving to Stopping the phase is Profiling: `/readyz` says no, so pickers send nothing, as
while draining. What runs then finishes before anything is recorded, so no request of a client is
slowed down, and the trace holds the load of whoever asked alone. From Starting to Stopping nobody
judges the engine by its progress: a recorded engine is several times slower, and one that writes
its trace makes no step for many seconds. What bounds these stages instead is time: an engine that
does not answer its profiler for `ANSWER_S` is killed like one that hangs.

Nothing here needs its client to come to an end. A client that was not heard for `LEASE_S` has died
or lost its connection, and then the trace is stopped and dropped. `done` is the same, said aloud.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Optional, Union

from stoker_worker.contract import Termination, TerminationReason, WorkerConfig
from stoker_worker.events import (
    DropTraces,
    Event,
    ProfileDone,
    ProfileEnough,
    ProfileHeard,
    ProfilerStarted,
    ProfilerStopped,
    ProfileWanted,
    StartProfiler,
    StopProfiler,
)
from stoker_worker.state import Decision, Phase, Profile, Stage, State, back_in_rotation

LEASE_S = 30.0  # clients ask every second
RECORD_S = 600.0
ANSWER_S = 600.0  # the largest traces were seen to take 18 s to write


def refusal(state: State) -> str:
    """Why nobody can have a trace now; empty where somebody can."""
    if state.profile is not None:
        return "somebody else has a trace made of this replica: wait until it is fetched"
    if state.phase is not Phase.READY:
        return f"the replica is {state.phase.value}: only one that is Ready can be profiled"
    return ""


def take(state: State, event: Event, now: float) -> Decision:
    """Take in what a client wants, or what the engine's profiler answered."""
    if isinstance(event, ProfileWanted):
        if refusal(state):
            return state, ()
        profile = Profile(event.token, event.steps, Stage.LEAVING, now, now)
        return replace(state, phase=Phase.PROFILING, profile=profile), (DropTraces(),)
    if state.profile is None:
        return state, ()
    if isinstance(event, (ProfilerStarted, ProfilerStopped)):
        return _take_answer(state, state.profile, event, now), ()
    if isinstance(event, (ProfileHeard, ProfileEnough, ProfileDone)):
        return _take_client(state, state.profile, event, now)
    return state, ()


def _take_answer(
    state: State, profile: Profile, event: Union[ProfilerStarted, ProfilerStopped], now: float
) -> State:
    started = isinstance(event, ProfilerStarted)
    if profile.stage is not (Stage.STARTING if started else Stage.STOPPING):
        return state
    if started and not event.error:
        return _at(state, profile, Stage.RECORDING, now)
    return _end(state, profile, now, event.error)


def _take_client(
    state: State,
    profile: Profile,
    event: Union[ProfileHeard, ProfileEnough, ProfileDone],
    now: float,
) -> Decision:
    if event.token != profile.token:
        return state, ()
    if isinstance(event, ProfileDone):
        return replace(state, profile=replace(profile, heard_at=now - LEASE_S)), ()
    profile = replace(profile, heard_at=now)
    state = replace(state, profile=profile)
    if isinstance(event, ProfileEnough) and profile.stage is Stage.RECORDING:
        return _stop(state, profile, now)
    return state, ()


def is_leaving(state: State) -> bool:
    """Whether the engine still does what it always does, and is judged by that."""
    return state.profile is not None and state.profile.stage is Stage.LEAVING


def overdue(state: State, now: float) -> Optional[Termination]:
    """Return what is wrong with an engine that does not answer its profiler."""
    profile = state.profile
    if profile is None or profile.stage not in (Stage.STARTING, Stage.STOPPING):
        return None
    if now - profile.since < ANSWER_S:
        return None
    doing = "start" if profile.stage is Stage.STARTING else "write its trace"
    text = f"the engine's profiler did not {doing} within {ANSWER_S:.0f} s"
    return Termination(TerminationReason.ENGINE_HUNG, text)


def advance(state: State, now: float, config: WorkerConfig) -> Decision:
    """Do what time asks for while the replica is out of rotation."""
    profile = state.profile
    if profile is None:  # nobody is left to come back for
        return back_in_rotation(state, now), ()
    age = now - profile.since
    if profile.stage is Stage.LEAVING:
        if _is_gone(profile, now):
            return _end(state, profile, now, "whoever asked for the trace is gone"), ()
        if state.sampled_at >= profile.since + config.settle_s and not state.busy:
            state = _at(state, profile, Stage.STARTING, now)
            return state, (StartProfiler(profile.steps, 2 * ANSWER_S),)
        if age >= config.settle_s + config.drain_s:
            return _end(state, profile, now, f"requests still run after {age:.0f} s"), ()
    elif profile.stage is Stage.RECORDING and (_is_gone(profile, now) or age >= RECORD_S):
        return _stop(state, profile, now)
    return state, ()


def forget(state: State, now: float) -> Decision:
    """Drop a trace that nobody fetches any more."""
    profile = state.profile
    if profile is None or profile.stage is not Stage.WRITTEN or not _is_gone(profile, now):
        return state, ()
    return replace(state, profile=None), (DropTraces(),)


def forgive(profile: Optional[Profile], gap_s: float) -> Optional[Profile]:
    """Leave time out in which the worker did not run."""
    if profile is None:
        return None
    return replace(profile, since=profile.since + gap_s, heard_at=profile.heard_at + gap_s)


def _is_gone(profile: Profile, now: float) -> bool:
    return now - profile.heard_at >= LEASE_S


def _stop(state: State, profile: Profile, now: float) -> Decision:
    return _at(state, profile, Stage.STOPPING, now), (StopProfiler(2 * ANSWER_S),)


def _at(state: State, profile: Profile, stage: Stage, now: float) -> State:
    return replace(state, profile=replace(profile, stage=stage, since=now))


def _end(state: State, profile: Profile, now: float, fault: str) -> State:
    state = _at(state, replace(profile, fault=fault), Stage.WRITTEN, now)
    return back_in_rotation(state, now)
