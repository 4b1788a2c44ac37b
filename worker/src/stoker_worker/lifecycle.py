"""The life of one engine as a pure state machine: (state, event, now) → (state, commands).

    Starting ──health──► WarmingUp ──one real answer──► Ready ◄──progress──► Stalled
        │                    │                            │                     │
        │ engine exits: Exit with its code, at any time   │ SIGTERM             │ still no progress
        └────────────────────┴──────────────┬─────────────┘                     ▼
                                            ▼                                Killing ──► Stopped
                                   Draining: settle, SIGTERM, wait ──► Stopped  ▲
                                            └────────── deadline ───────────────┘

What makes it hard is that health says nothing about progress: a wedged engine answers 200 for
hours, a saturated one misses deadlines while it works at full speed. So the judge is progress.
Each engine (one per data-parallel rank) has a clock, set to now whenever its step counter moved or
it has nothing to do; one more clock stands for the API server as a whole. `quiet` is the age of
the oldest clock:

* half of `stall_ready_s`: suspicion. One request for one token settles it, since a live engine
  that answers has made a step. Needed because gauges lie both ways: they read 0 in some wedges,
  and count requests that the engine has long forgotten.
* `stall_ready_s`: Stalled, out of rotation; back as soon as anything moves.
* `stall_restart_s`: the engine is killed and the kubelet starts the container again.

No false kill: loading has no clock at all; saturation moves the counter; idleness holds the clocks
at now and is never probed; a metrics page that is slow is waited for, not asked again; and time in
which the worker itself did not run (a frozen pod, a stolen CPU) counts for nobody. One single step
may take as long as it likes below `stall_restart_s`: an operator whose largest step takes longer
raises that.

A trace of the engine's profiler takes the engine out of rotation (Profiling) for a while in which
it is not judged, and back: profiling.py decides when.

Where the model's files are not as they were when they were last hashed, they are hashed again while
the engine loads, and one more thing precedes readiness: the verdict. An engine that has answered
before it waits in Verifying. A bad file kills the engine, whatever it does; and an engine that ends
by itself before the verdict has its end reported after it, because a bad file is the likely cause.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Tuple, Union

from stoker_worker import profiling
from stoker_worker.contract import Termination, TerminationReason, WorkerConfig
from stoker_worker.events import (
    CheckHealth,
    Command,
    EngineExited,
    Event,
    Exit,
    HealthAnswered,
    KillEngine,
    MemberRestarted,
    MemberSilent,
    ModelJudged,
    Probe,
    ProbeAnswered,
    ProbeFailed,
    Sample,
    Sampled,
    TakeSample,
    TerminateEngine,
    TerminateRequested,
)
from stoker_worker.state import Ask, Clock, Decision, Phase, State, back_in_rotation

HEALTH_EVERY_S = 0.1  # a refused connection costs microseconds, a late look costs start-up time
RETRY_S = 1.0
REFUSALS = 5  # a server may refuse its very first requests; one that goes on will not change
UNKILLABLE_S = (
    10.0  # inside a broken driver call a process survives SIGKILL; the container must not
)
# How an engine ends that reads a bad file, among other causes.
_MAY_BE_CORRUPT = (TerminationReason.ENGINE_CRASHED, TerminationReason.MODEL_INVALID)
BLACKOUT_S = 5.0  # the worker steps twice a second: a longer gap means that it did not run


def begin(now: float, *, unproven: bool = False) -> State:
    """Start with the state of an engine whose process has just been started.

    `unproven`: the model's files are being hashed, and a ModelJudged will come.
    """
    return State(Phase.STARTING, now, seen_at=now, moved_at=now, unproven=unproven)


def step(state: State, event: Event, now: float, config: WorkerConfig) -> Decision:
    """Take one event in, then do what time asks for."""
    if state.phase is Phase.STOPPED:
        return state, ()
    state = _forgive_blackout(state, now)
    if isinstance(event, EngineExited):
        return _leave(state, event)
    state, commands = _take(state, event, now, config)
    state, more = _advance(state, now, config)
    return state, commands + more


def _forgive_blackout(state: State, now: float) -> State:
    gap = now - state.seen_at
    if gap > BLACKOUT_S:
        state = replace(
            state,
            moved_at=state.moved_at + gap,
            clocks=tuple(replace(clock, at=clock.at + gap) for clock in state.clocks),
            profile=profiling.forgive(state.profile, gap),
        )
    return replace(state, seen_at=now)


def _take(state: State, event: Event, now: float, config: WorkerConfig) -> Decision:
    if isinstance(event, HealthAnswered):
        state = replace(state, health=Ask(now + HEALTH_EVERY_S))
        if event.healthy and state.phase is Phase.STARTING:
            state = replace(state, phase=Phase.WARMING_UP, healthy_at=now, moved_at=now)
    elif isinstance(event, ProbeAnswered):
        return _take_answer(state, now), ()
    elif isinstance(event, ProbeFailed):
        wait = RETRY_S if state.phase is Phase.WARMING_UP else config.stall_ready_s / 2
        state = replace(state, probe=Ask(now + wait))
        if event.refused and state.phase is Phase.WARMING_UP:
            return _take_refusal(state, event.message, now)
    elif isinstance(event, Sampled):
        state = replace(state, sample=Ask(now + config.heartbeat_s))
        if event.sample is not None:
            state = _take_sample(state, event.sample, now)
    elif isinstance(event, TerminateRequested):
        return _drain(state, now, config)
    else:
        return _take_news(state, event, now)
    return state, ()


def _take_news(state: State, event: Event, now: float) -> Decision:
    if isinstance(event, (MemberRestarted, MemberSilent)):
        return _take_loss(state, event, now)
    if isinstance(event, ModelJudged):
        return _take_verdict(state, event, now)
    return profiling.take(state, event, now)


def _take_verdict(state: State, event: ModelJudged, now: float) -> Decision:
    if event.fault is None:
        state = replace(state, unproven=False, proven_at=now)
        if state.left is not None:
            return replace(state, phase=Phase.STOPPED), (state.left,)
        return (back_in_rotation(state, now) if state.phase is Phase.VERIFYING else state), ()
    if state.left is not None:
        return replace(state, phase=Phase.STOPPED, outcome=event.fault), (Exit(1, event.fault),)
    return (state, ()) if state.phase is Phase.KILLING else _kill(state, event.fault, now)


def _take_loss(state: State, event: Union[MemberRestarted, MemberSilent], now: float) -> Decision:
    """A group that lacks a rank finishes nothing, so waiting for a drain to end is in vain.

    Silence alone is believed only then: before, progress is the judge.
    """
    if state.phase is Phase.KILLING:
        return state, ()
    if isinstance(event, MemberRestarted):
        text = f"pod {event.rank} of the group started again: the group is of no use without it"
    elif state.phase is Phase.DRAINING:
        text = f"pod {event.rank} of the group was not heard of for {event.seconds:.0f} s"
    else:
        return state, ()
    return _kill(state, Termination(TerminationReason.GROUP_BROKEN, text), now)


def _take_answer(state: State, now: float) -> State:
    state = replace(state, probe=Ask(now), moved_at=now, relearn=True, refusals=0)
    if len(state.clocks) == 1:  # with several engines nobody knows which one answered
        state = replace(state, clocks=(replace(state.clocks[0], at=now),))
    if state.phase is Phase.WARMING_UP:
        state = replace(state, first_token_at=now)
        return (
            replace(state, phase=Phase.VERIFYING)
            if state.unproven
            else back_in_rotation(state, now)
        )
    return state


def _take_refusal(state: State, message: str, now: float) -> Decision:
    state = replace(state, refusals=state.refusals + 1)
    if state.refusals < REFUSALS:
        return state, ()
    text = f"the engine is healthy but refuses the warm-up request: {message}"
    return _kill(state, Termination(TerminationReason.WARMUP_FAILED, text), now)


def _take_sample(state: State, sample: Sample, now: float) -> State:
    known = {clock.name: clock for clock in state.clocks}
    clocks = []
    anything_moved = False
    for engine in sample.engines:
        before = known.get(engine.name)
        # A step that ends no piece of an answer is not counted: while a long prompt goes through in
        # pieces, only the cache that it fills shows that it does.
        moved = before is None or (before.steps, before.cache) != (engine.steps, engine.cache)
        anything_moved = anything_moved or moved
        at = now if before is None or moved or engine.outstanding <= 0 else before.at
        clocks.append(Clock(engine.name, engine.steps, engine.cache, at))
    gauged = sum(engine.outstanding for engine in sample.engines)
    own = 1 if state.probe.pending else 0
    load = 0 if sample.load is None else max(0, sample.load - own)
    phantom = min(state.phantom, load)
    relearn = state.relearn
    if relearn and not state.probe.pending and gauged <= 0:
        phantom, relearn = load, False
    idle = gauged <= 0 and load <= phantom and not state.probe.pending
    return replace(
        state,
        clocks=tuple(clocks),
        moved_at=now if anything_moved or idle else state.moved_at,
        sampled_at=now,
        load=load,
        phantom=phantom,
        relearn=relearn,
        busy=not idle,
    )


def _drain(state: State, now: float, config: WorkerConfig) -> Decision:
    if state.phase is Phase.KILLING:
        return state, ()
    if state.phase is Phase.DRAINING:
        text = "asked twice to end: what the engine had accepted was cut"
        return _kill(state, Termination(TerminationReason.DRAIN_TIMED_OUT, text), now)
    if state.left is not None:
        return replace(state, phase=Phase.STOPPED), (state.left,)
    # Before it was ready nobody was sent here, so there is nobody to wait for.
    term_at = now + (config.settle_s if state.accepted else 0.0)
    kill_at = term_at + (config.drain_s if state.accepted else 0.0) + config.teardown_s
    state = replace(state, profile=None)  # the files go with the pod
    return replace(state, phase=Phase.DRAINING, term_at=term_at, kill_at=kill_at), ()


def _kill(state: State, outcome: Termination, now: float) -> Decision:
    return replace(state, phase=Phase.KILLING, outcome=outcome, kill_at=now), (KillEngine(),)


def _leave(state: State, event: EngineExited) -> Decision:
    stopped = replace(state, phase=Phase.STOPPED)
    if state.phase is Phase.KILLING:
        return stopped, (Exit(1, state.outcome),)
    # An engine that is told to end while it loads ends as it can; then no code means anything.
    if state.term_sent and (event.code in (0, -15) or not state.accepted):
        return stopped, (Exit(0, None),)
    # A process that a signal ended is reported the way a shell does; and an engine that leaves
    # unasked has failed, whatever it says.
    code = 128 - event.code if event.code < 0 else event.code or 1
    doubtful = event.cause.reason in _MAY_BE_CORRUPT
    if state.unproven and doubtful and state.phase is not Phase.DRAINING:
        return replace(state, phase=Phase.VERIFYING, left=Exit(code, event.cause)), ()
    return stopped, (Exit(code, event.cause),)


def _advance(state: State, now: float, config: WorkerConfig) -> Decision:
    if state.phase is Phase.STARTING:
        return _advance_start(state, now, config)
    if state.phase is Phase.WARMING_UP:
        return _advance_warmup(state, now, config)
    if state.phase is Phase.VERIFYING:
        return _advance_verdict(state, now, config)
    if state.phase in (Phase.READY, Phase.STALLED):
        return _advance_serving(state, now, config)
    if state.phase is Phase.PROFILING:
        return _advance_profile(state, now, config)
    if state.phase is Phase.DRAINING:
        return _advance_drain(state, now, config)
    if state.kill_at is not None and now >= state.kill_at + UNKILLABLE_S:
        return replace(state, phase=Phase.STOPPED), (Exit(1, state.outcome),)
    return state, ()


def _advance_start(state: State, now: float, config: WorkerConfig) -> Decision:
    if now - state.started_at >= config.start_deadline_s:
        text = f"the engine did not answer its health check within {config.start_deadline_s:.0f} s"
        return _kill(state, Termination(TerminationReason.START_TIMED_OUT, text), now)
    if state.health.pending or now < state.health.due:
        return state, ()
    return replace(state, health=Ask(pending=True)), (CheckHealth(),)


def _advance_warmup(state: State, now: float, config: WorkerConfig) -> Decision:
    healthy_at = now if state.healthy_at is None else state.healthy_at
    left = healthy_at + config.warmup_deadline_s - now
    if left <= 0:
        text = f"the first request was not answered within {config.warmup_deadline_s:.0f} s"
        return _kill(state, Termination(TerminationReason.ENGINE_HUNG, text), now)
    if state.probe.pending or now < state.probe.due:
        return state, ()
    return replace(state, probe=Ask(pending=True)), (Probe(config.warmup_tokens, left),)


def _advance_verdict(state: State, now: float, config: WorkerConfig) -> Decision:
    if now - state.started_at < config.start_deadline_s:
        return state, ()
    if state.left is not None:
        return replace(state, phase=Phase.STOPPED), (state.left,)
    text = f"the model's files were not read again within {config.start_deadline_s:.0f} s"
    return _kill(state, Termination(TerminationReason.START_TIMED_OUT, text), now)


def _advance_profile(state: State, now: float, config: WorkerConfig) -> Decision:
    fault = profiling.overdue(state, now)
    if fault is not None:
        return _kill(state, fault, now)
    commands: Tuple[Command, ...] = ()
    if profiling.is_leaving(state):  # the engine is as fast as ever
        state, commands = _watch(state, now, config)
        if state.phase is Phase.KILLING:
            return state, commands
    state, more = profiling.advance(state, now, config)
    return state, commands + more


def _advance_serving(state: State, now: float, config: WorkerConfig) -> Decision:
    state, dropped = profiling.forget(state, now)
    stalled = state.quiet_s(now) >= config.stall_ready_s
    state = replace(state, phase=Phase.STALLED if stalled else Phase.READY)
    state, commands = _watch(state, now, config)
    return state, dropped + commands


def _watch(state: State, now: float, config: WorkerConfig) -> Decision:
    quiet = state.quiet_s(now)
    if quiet >= config.stall_restart_s:
        return _kill(
            state, Termination(TerminationReason.ENGINE_HUNG, _evidence(state, quiet, now)), now
        )
    commands: Tuple[Command, ...] = ()
    if not state.sample.pending and now >= state.sample.due:
        state = replace(state, sample=Ask(pending=True))
        commands += (TakeSample(config.stall_restart_s),)
    suspicious = quiet >= config.stall_ready_s / 2
    if suspicious and not state.probe.pending and now >= state.probe.due:
        state = replace(state, probe=Ask(pending=True))
        commands += (Probe(1, config.stall_restart_s),)
    return state, commands


def _evidence(state: State, quiet: float, now: float) -> str:
    text = f"the engine made no step for {quiet:.0f} s"
    if now - state.sampled_at > quiet / 2:
        text += "; its metrics are not answered"
    elif state.load > state.phantom:
        text += f"; requests accepted and not answered: {state.load - state.phantom}"
    return text + "; a request of the worker's own for one token was not answered either"


def _advance_drain(state: State, now: float, config: WorkerConfig) -> Decision:
    if state.term_at is not None and not state.term_sent and now >= state.term_at:
        return replace(state, term_sent=True), (TerminateEngine(),)
    if state.kill_at is not None and now >= state.kill_at:
        text = (
            f"the engine had not finished {config.drain_s:.0f} s after it was told to end: "
            "what it was still answering was cut; a longer drain time lets it finish"
        )
        return _kill(state, Termination(TerminationReason.DRAIN_TIMED_OUT, text), now)
    return state, ()
