"""The life of a follower: the pod of a group that computes but does not serve.

    Following ──asked to end──► Draining: the leader is gone, SIGTERM, wait ──► Stopped
        │                           └── it overstays ──► Killing ──────────────────┘
        ├── the engine exits: Exit with its code
        └── the leader began anew, or is not heard of ──► Killing ──► Stopped

The group is one replica, so its pods share one fate and only the leader judges progress and
serves. Two things are a follower's own:

* It outlives its leader's drain. All pods of a group are asked to end at nearly the same time, but
  the answers that the leader still owes need every rank. So a follower that is asked to end keeps
  its engine until nobody answers at the leader's address, or until its own, longer grace is over.
* It does not outlive its leader otherwise. An engine whose leader began anew waits for a rank that
  will never come back; it ends with `GroupBroken`, and the group is made again.

The state is the leader's own (`state.State`), of which only a few fields move: `health` is the
question to the leader, `moved_at` when it was last heard, `refusals` how often nobody was there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Tuple

from stoker_worker.contract import GROUP_MARGIN_S, Termination, TerminationReason, WorkerConfig
from stoker_worker.events import (
    AskLeader,
    Command,
    EngineExited,
    Event,
    Exit,
    KillEngine,
    LeaderAnswered,
    LeaderSilent,
    TerminateEngine,
    TerminateRequested,
)
from stoker_worker.lifecycle import BLACKOUT_S, UNKILLABLE_S
from stoker_worker.state import Ask, Decision, Phase, State

LOOK_EVERY_S = 1.0
GONE_AFTER = 2  # looks in a row that found nobody: a leader that ends does not come back
GONE_AFTER_S = 30.0  # the same for an address that does not answer at all: it may be a busy one


def begin(now: float) -> State:
    """Start with the state of a follower whose engine has just been started."""
    return State(Phase.FOLLOWING, started_at=now, seen_at=now, moved_at=now)


def step(state: State, event: Event, now: float, config: WorkerConfig) -> Decision:
    """Take one event in, then do what time asks for."""
    if state.phase is Phase.STOPPED:
        return state, ()
    gap = now - state.seen_at
    if gap > BLACKOUT_S:  # time in which we did not run is no silence of the leader's
        state = replace(state, moved_at=state.moved_at + gap)
    state = replace(state, seen_at=now)
    if isinstance(event, EngineExited):
        return _leave(state, event)
    state, commands = _take(state, event, now, config)
    state, more = _advance(state, now, config)
    return state, commands + more


def _take(state: State, event: Event, now: float, config: WorkerConfig) -> Decision:
    if isinstance(event, LeaderAnswered):
        state = replace(state, health=Ask(now + LOOK_EVERY_S))
        if event.same:
            return replace(state, moved_at=now, refusals=0), ()
        if state.phase is Phase.FOLLOWING:
            text = "the leader of the group started again: this pod's part of the model is orphaned"
            return _kill(state, text, now)
        return replace(state, refusals=GONE_AFTER), ()
    if isinstance(event, LeaderSilent):
        refusals = state.refusals + 1 if event.gone else 0
        return replace(state, health=Ask(now + LOOK_EVERY_S), refusals=refusals), ()
    if isinstance(event, TerminateRequested):
        return _drain(state, now, config)
    return state, ()


def _drain(state: State, now: float, config: WorkerConfig) -> Decision:
    if state.phase is Phase.DRAINING:
        return _kill(state, "asked twice to end", now)
    if state.phase is Phase.KILLING:
        return state, ()
    whole = config.settle_s + config.drain_s + config.teardown_s + GROUP_MARGIN_S
    # Look at once: a leader that is gone already is waited for by nobody.
    health = replace(state.health, due=now)
    return replace(state, phase=Phase.DRAINING, health=health, kill_at=now + whole), ()


def _kill(state: State, text: str, now: float) -> Decision:
    overstayed = state.phase is Phase.DRAINING
    reason = TerminationReason.DRAIN_TIMED_OUT if overstayed else TerminationReason.GROUP_BROKEN
    outcome = Termination(reason, text)
    return replace(state, phase=Phase.KILLING, outcome=outcome, kill_at=now), (KillEngine(),)


def _leave(state: State, event: EngineExited) -> Decision:
    stopped = replace(state, phase=Phase.STOPPED)
    if state.phase is Phase.KILLING:
        return stopped, (Exit(1, state.outcome),)
    if state.phase is Phase.DRAINING:
        # Once the leader has left, its followers' engines fall as they can.
        return stopped, (Exit(0, None),)
    code = 128 - event.code if event.code < 0 else event.code or 1
    return stopped, (Exit(code, event.cause),)


def _advance(state: State, now: float, config: WorkerConfig) -> Decision:
    if state.phase is Phase.KILLING:
        if state.kill_at is not None and now >= state.kill_at + UNKILLABLE_S:
            return replace(state, phase=Phase.STOPPED), (Exit(1, state.outcome),)
        return state, ()
    silent = now - state.moved_at
    if state.phase is Phase.FOLLOWING and silent >= config.stall_restart_s:
        return _kill(state, f"the leader of the group was not heard of for {silent:.0f} s", now)
    commands: Tuple[Command, ...] = ()
    if state.phase is Phase.DRAINING:
        gone = state.refusals >= GONE_AFTER or silent >= GONE_AFTER_S
        if gone and not state.term_sent:
            kill_at = min(now + config.teardown_s, state.kill_at or now)
            state = replace(state, term_sent=True, kill_at=kill_at)
            commands += (TerminateEngine(),)
        if state.kill_at is not None and now >= state.kill_at:
            return _kill(state, "the engine had not ended when the grace period was over", now)
    if not state.health.pending and now >= state.health.due:
        state = replace(state, health=Ask(pending=True))
        commands += (AskLeader(),)
    return state, commands
