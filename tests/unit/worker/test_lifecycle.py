"""The state machine, one step at a time: what each event does in each phase."""

from dataclasses import replace
from typing import Any

import pytest

from stoker_worker.contract import Termination, TerminationReason, WorkerConfig
from stoker_worker.events import (
    CheckHealth,
    Command,
    EngineCounters,
    EngineExited,
    Event,
    Exit,
    HealthAnswered,
    KillEngine,
    ModelJudged,
    Probe,
    ProbeAnswered,
    ProbeFailed,
    Sample,
    Sampled,
    TakeSample,
    TerminateEngine,
    TerminateRequested,
    Tick,
)
from stoker_worker.lifecycle import BLACKOUT_S, REFUSALS, begin, step
from stoker_worker.state import Phase, State

CONFIG = WorkerConfig("vllm", "/models/m", ["m"])
CRASH = Termination(TerminationReason.ENGINE_CRASHED, "RuntimeError: boom")


def sample(steps: float, outstanding: float = 0, load: int | None = 0) -> Sampled:
    return Sampled(Sample((EngineCounters("0", steps, outstanding),), load))


def run(
    state: State, *timed: tuple[float, Event], config: WorkerConfig = CONFIG
) -> tuple[State, list[Command]]:
    """Feed (time, event) pairs, with ticks between as the shell gives them."""
    commands: list[Command] = []
    for now, event in timed:
        moment = state.seen_at + 0.5
        while moment < now:
            state, more = step(state, Tick(), moment, config)
            commands += more
            moment += 0.5
        state, more = step(state, event, now, config)
        commands += more
    return state, commands


def ready() -> State:
    state, _ = run(begin(0), (30, HealthAnswered(healthy=True)), (30.2, ProbeAnswered()))
    state, _ = run(state, (31, sample(2)))
    assert state.phase is Phase.READY
    return state


def test_start_asks_for_health_once_at_a_time() -> None:
    state, commands = step(begin(0), Tick(), 0.1, CONFIG)
    assert commands == (CheckHealth(),)
    state, commands = step(state, Tick(), 0.2, CONFIG)
    assert commands == ()
    state, commands = step(state, HealthAnswered(healthy=False), 0.3, CONFIG)
    assert state.phase is Phase.STARTING
    _, commands = step(state, Tick(), 0.4, CONFIG)
    assert commands == (CheckHealth(),)


def test_health_is_not_readiness() -> None:
    state, commands = step(begin(0), HealthAnswered(healthy=True), 30, CONFIG)
    assert state.phase is Phase.WARMING_UP
    assert not state.ready
    assert commands == (Probe(2, CONFIG.warmup_deadline_s),)


def test_one_real_answer_is_readiness() -> None:
    state = ready()
    assert state.ready
    assert (state.healthy_at, state.first_token_at) == (30, 30.2)


def test_warmup_that_finds_nobody_is_tried_again() -> None:
    state, _ = step(begin(0), HealthAnswered(healthy=True), 30, CONFIG)
    state, commands = run(state, (30.1, ProbeFailed("reset")), (31.5, Tick()))
    assert state.phase is Phase.WARMING_UP
    assert [type(command) for command in commands] == [Probe]


def test_warmup_that_is_always_refused_ends_with_the_engines_words() -> None:
    state, _ = step(begin(0), HealthAnswered(healthy=True), 30, CONFIG)
    now = 30.0
    for _ in range(REFUSALS):
        now += 2
        state, commands = run(state, (now, ProbeFailed("HTTP 400: no", refused=True)))
    assert KillEngine() in commands
    assert state.outcome.reason == TerminationReason.WARMUP_FAILED
    assert "HTTP 400: no" in state.outcome.message


@pytest.mark.parametrize(
    ("healthy", "deadline", "reason"),
    [
        (False, CONFIG.start_deadline_s, TerminationReason.START_TIMED_OUT),
        (True, 1 + CONFIG.warmup_deadline_s, TerminationReason.ENGINE_HUNG),
    ],
)
def test_what_never_ends_by_itself_is_ended(*, healthy: bool, deadline: float, reason: str) -> None:
    state, _ = run(begin(0), (1, HealthAnswered(healthy=healthy)))
    state, commands = run(state, (deadline - 1, Tick()))
    assert KillEngine() not in commands
    state, commands = run(state, (deadline + 1, Tick()))
    assert KillEngine() in commands
    assert state.outcome.reason == reason


def test_idle_engine_is_looked_at_and_never_probed() -> None:
    state = ready()
    commands = []
    for second in range(33, 3633, 3):
        state, more = run(state, (second, sample(2)))
        commands += more
    assert state.ready
    assert {type(command) for command in commands} == {TakeSample}


@pytest.mark.parametrize(
    "busy",
    [
        pytest.param({"outstanding": 3}, id="gauges"),
        pytest.param({"outstanding": 0, "load": 2}, id="gauges read 0 in the wedge"),
    ],
)
def test_busy_without_a_step_is_probed_then_leaves_then_dies(busy: dict[str, Any]) -> None:
    state = ready()
    seen: dict[object, float] = {}
    now = 31.0
    while state.phase is not Phase.KILLING:
        now += 0.5
        event = sample(2, **busy) if now % 2 == 0 else Tick()
        state, commands = step(state, event, now, CONFIG)
        for command in commands:
            seen.setdefault(type(command), now)
        seen.setdefault(state.phase, now)
    assert seen[Probe] - 31 == pytest.approx(CONFIG.stall_ready_s / 2, abs=0.5)
    assert seen[Phase.STALLED] - 31 == pytest.approx(CONFIG.stall_ready_s, abs=0.5)
    assert seen[KillEngine] - 31 == pytest.approx(CONFIG.stall_restart_s, abs=0.5)
    assert state.outcome.reason == TerminationReason.ENGINE_HUNG


def test_metrics_that_are_never_answered_count_as_no_progress() -> None:
    state, commands = run(ready(), (31 + CONFIG.stall_restart_s + 1, Tick()))
    assert sum(isinstance(command, TakeSample) for command in commands) == 1
    assert state.phase is Phase.KILLING
    assert "metrics are not answered" in state.outcome.message


def test_a_slow_metrics_page_that_shows_steps_brings_the_engine_back() -> None:
    state, _ = run(ready(), (31 + 60, Tick()))
    assert state.phase is Phase.STALLED
    state, _ = run(state, (31 + 61, sample(500, outstanding=200, load=200)))
    assert state.ready


def test_a_step_or_an_answer_brings_a_stalled_engine_back() -> None:
    for event in (sample(3, outstanding=5), ProbeAnswered()):
        state, _ = run(ready(), (32, sample(2, outstanding=5)), (60, Tick()))
        assert state.phase is Phase.STALLED
        state, _ = step(state, event, 60.1, CONFIG)
        assert state.ready


def test_an_answered_probe_clears_requests_that_only_the_server_counts() -> None:
    state = ready()
    probes = []
    for second in range(32, 1000, 2):
        state, commands = run(state, (second, sample(2, load=3)))
        if any(isinstance(command, Probe) for command in commands):
            probes.append(second)
            state, _ = step(state, ProbeAnswered(), second + 0.1, CONFIG)
    assert state.ready
    assert len(probes) == 1
    # One more request than the phantoms is a real one.
    state, _ = run(state, (1000, sample(2, load=4)), (1021, sample(2, load=4)))
    assert state.phase is Phase.STALLED


def test_a_long_prompt_that_goes_through_in_pieces_is_progress() -> None:
    """vLLM counts a step only when a piece of an answer ends it; the cache fills all the while."""
    state = ready()
    for piece in range(60):
        counters = EngineCounters("0", 2, outstanding=1, cache=piece / 100)
        state, _ = run(state, (32 + 2 * piece, Sampled(Sample((counters,), 1))))
        assert state.ready
        assert not state.probe.pending
    state, _ = run(state, (32 + 2 * 59 + 21, Tick()))
    assert not state.ready, "when the cache stands still as well"


def test_one_hung_rank_is_not_hidden_by_the_others() -> None:
    def ranks(steps: float) -> Sampled:
        return Sampled(Sample((EngineCounters("0", steps, 1), EngineCounters("1", 7, 1)), 2))

    state, _ = run(ready(), (32, ranks(10)))
    for second in range(34, 60, 2):
        state, _ = run(state, (second, ranks(10 + second)), (second + 0.1, ProbeAnswered()))
    assert state.phase is Phase.STALLED


def test_time_in_which_the_worker_did_not_run_is_nobodys_fault() -> None:
    state, _ = run(ready(), (32, sample(2, outstanding=1)))
    state, commands = step(state, Tick(), 32 + 600, CONFIG)
    assert state.ready
    assert KillEngine() not in commands
    assert state.quiet_s(632) < BLACKOUT_S


def test_terminate_leaves_rotation_at_once_and_asks_the_engine_later() -> None:
    state, at_once = step(ready(), TerminateRequested(), 50, replace(CONFIG, settle_s=3))
    assert state.phase is Phase.DRAINING
    assert not state.ready
    assert TerminateEngine() not in at_once
    state, commands = run(state, (53.1, Tick()), (54, Tick()))
    assert commands.count(TerminateEngine()) == 1
    state, last = step(state, EngineExited(0, CRASH), 60, CONFIG)
    assert last == (Exit(0, None),)
    assert state.phase is Phase.STOPPED


def test_terminate_before_readiness_waits_for_nobody() -> None:
    state, commands = step(begin(0), TerminateRequested(), 5, CONFIG)
    assert commands == (TerminateEngine(),)
    _, commands = step(state, EngineExited(1, CRASH), 6, CONFIG)
    assert commands == (Exit(0, None),)


def test_a_drain_that_overstays_is_cut_and_says_so() -> None:
    end = 50 + CONFIG.settle_s + CONFIG.drain_s + CONFIG.teardown_s
    state, _ = step(ready(), TerminateRequested(), 50, CONFIG)
    state, commands = run(state, (end - 1, Tick()))
    assert KillEngine() not in commands
    state, commands = run(state, (end + 1, Tick()))
    assert KillEngine() in commands
    _, (leaving,) = step(state, EngineExited(-9, CRASH), end + 2, CONFIG)
    assert isinstance(leaving, Exit)
    assert leaving.code == 1
    assert leaving.termination.reason == TerminationReason.DRAIN_TIMED_OUT
    assert CONFIG.grace_period_s() > end + 2 - 50


def test_a_second_terminate_kills_at_once() -> None:
    state, _ = run(ready(), (50, TerminateRequested()), (51, TerminateRequested()))
    assert state.phase is Phase.KILLING


@pytest.mark.parametrize(("code", "expected"), [(1, 1), (0, 1), (-9, 137), (-11, 139), (2, 2)])
def test_a_crash_passes_the_engines_code_and_cause_on(code: int, expected: Any) -> None:
    for state in (begin(0), ready()):
        after, commands = step(state, EngineExited(code, CRASH), state.seen_at + 1, CONFIG)
        assert commands == (Exit(expected, CRASH),)
        assert after.phase is Phase.STOPPED


def test_a_crash_while_draining_is_still_a_crash() -> None:
    state, _ = run(ready(), (50, TerminateRequested()), (60, Tick()))
    _, commands = step(state, EngineExited(1, CRASH), 61, CONFIG)
    assert commands == (Exit(1, CRASH),)


def test_a_process_that_survives_the_kill_does_not_keep_the_container() -> None:
    state, commands = run(begin(0), (1, TerminateRequested()), (1.1, TerminateRequested()))
    assert KillEngine() in commands
    _, commands = run(state, (12, Tick()))
    assert isinstance(commands[-1], Exit)


def test_defaults_keep_the_promises_of_the_issue() -> None:
    """Out of rotation within 30 s of the hang, restarted within 150 s."""
    # The last look that saw a step, or the first that sees the request, is one heartbeat late.
    seen = CONFIG.heartbeat_s + 0.5  # and a tick
    kubelet = 3 * 1 + 1  # three refused readiness probes, one a second
    endpoints = 1
    assert seen + CONFIG.stall_ready_s + kubelet + endpoints <= 30
    log_and_reaping, runtime, longest_first_back_off = 4 + 0.5, 5, 10
    dead = seen + CONFIG.stall_restart_s + log_and_reaping
    assert dead + runtime + longest_first_back_off <= 150


CORRUPT = Termination(TerminationReason.MODEL_CORRUPT, "a.safetensors is bad")


def unproven() -> State:
    """An engine whose model's files are hashed while it loads."""
    return replace(begin(0), unproven=True)


def test_an_engine_that_answers_waits_for_the_verdict() -> None:
    state, _ = run(unproven(), (30, HealthAnswered(healthy=True)), (30.2, ProbeAnswered()))
    assert state.phase is Phase.VERIFYING
    assert not state.ready
    state, commands = run(state, (300, Tick()))
    assert (state.phase, commands) == (Phase.VERIFYING, [])
    state, _ = run(state, (300.5, ModelJudged(None)))
    assert state.ready
    assert (state.first_token_at, state.proven_at) == (30.2, 300.5)
    state, commands = run(state, (301, Tick()))
    assert KillEngine() not in commands, "the time of waiting is no stall"


def test_a_verdict_that_comes_first_costs_nothing() -> None:
    state, _ = run(unproven(), (5, ModelJudged(None)), (30, HealthAnswered(healthy=True)))
    state, _ = run(state, (30.2, ProbeAnswered()))
    assert state.phase is Phase.READY
    assert state.proven_at == 5


@pytest.mark.parametrize("answered", [(), (HealthAnswered(healthy=True), ProbeAnswered())])
def test_a_bad_file_kills_the_engine(answered: tuple[Event, ...]) -> None:
    state, _ = run(unproven(), *((30 + at, event) for at, event in enumerate(answered)))
    state, commands = run(state, (40, ModelJudged(CORRUPT)))
    assert KillEngine() in commands
    assert not state.ready
    state, commands = run(state, (40.1, EngineExited(-9, CRASH)))
    assert commands == [Exit(1, CORRUPT)]


def test_an_engine_that_fails_before_the_verdict_is_explained_by_it() -> None:
    state, commands = step(unproven(), EngineExited(1, CRASH), 20, CONFIG)
    assert (state.phase, commands) == (Phase.VERIFYING, ())
    _, bad = run(state, (25, ModelJudged(CORRUPT)))
    assert bad == [Exit(1, CORRUPT)]
    _, good = run(state, (25, ModelJudged(None)))
    assert good == [Exit(1, CRASH)]
    _, told = run(state, (25, TerminateRequested()))
    assert told == [Exit(1, CRASH)]
    _, late = run(state, (CONFIG.start_deadline_s + 1, Tick()))
    assert late == [Exit(1, CRASH)]


def test_an_end_that_no_file_explains_is_not_held_back() -> None:
    cause = Termination(TerminationReason.CONFIG_INVALID, "no such flag")
    _, commands = step(unproven(), EngineExited(2, cause), 5, CONFIG)
    assert commands == (Exit(2, cause),)


def test_files_that_cannot_be_read_in_time_end_the_start() -> None:
    state, _ = run(unproven(), (30, HealthAnswered(healthy=True)), (30.2, ProbeAnswered()))
    state, commands = run(state, (CONFIG.start_deadline_s + 1, Tick()))
    assert KillEngine() in commands
    assert state.outcome.reason == TerminationReason.START_TIMED_OUT


def test_an_engine_that_was_never_ready_is_not_waited_for() -> None:
    state, _ = run(unproven(), (30, HealthAnswered(healthy=True)), (30.2, ProbeAnswered()))
    state, commands = step(state, TerminateRequested(), 31, CONFIG)
    assert TerminateEngine() in commands
    state, _ = step(state, ModelJudged(None), 31.5, CONFIG)
    _, commands = step(state, EngineExited(1, CRASH), 32, CONFIG)
    assert commands == (Exit(0, None),)
