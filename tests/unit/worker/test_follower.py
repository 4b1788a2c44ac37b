"""A follower's life: it computes while its leader lives, and leaves after it."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker_worker import lifecycle
from stoker_worker.contract import GROUP_MARGIN_S, Termination, TerminationReason, WorkerConfig
from stoker_worker.events import (
    AskLeader,
    Command,
    EngineExited,
    Event,
    Exit,
    HealthAnswered,
    KillEngine,
    LeaderAnswered,
    LeaderSilent,
    MemberRestarted,
    MemberSilent,
    ProbeAnswered,
    TerminateEngine,
    TerminateRequested,
    Tick,
)
from stoker_worker.follower import GONE_AFTER_S, begin, step
from stoker_worker.lifecycle import BLACKOUT_S, UNKILLABLE_S
from stoker_worker.state import Phase, State

CONFIG = WorkerConfig("vllm", "/models/m", ["m"], nodes=2)
CRASH = Termination(TerminationReason.ENGINE_CRASHED, "boom")
HERE = LeaderAnswered(same=True)
GONE = LeaderSilent(gone=True)
SILENT = LeaderSilent(gone=False)


def live(
    state: State, end: float, answer: Event | None = HERE, config: WorkerConfig = CONFIG
) -> tuple[State, list[Command]]:
    """Let time pass until `end`; every question to the leader gets the same answer, or none."""
    commands: list[Command] = []
    now = state.seen_at
    while now < end:
        now = min(now + 0.5, end)
        state, more = step(state, Tick(), now, config)
        commands += more
        if AskLeader() in more and answer is not None:
            state, more = step(state, answer, now, config)
            commands += more
    return state, commands


def ask_to_end(
    state: State, now: float, answer: Event | None = HERE
) -> tuple[State, list[Command]]:
    """SIGTERM, and the answer to the look at the leader that follows at once."""
    state, commands = step(state, TerminateRequested(), now, CONFIG)
    if answer is not None:
        state, more = step(state, answer, now, CONFIG)
        commands += more
    return state, list(commands)


def test_it_is_ready_from_the_start_and_asks_one_question_at_a_time() -> None:
    state = begin(0)
    assert state.ready
    state, first = step(state, Tick(), 0.1, CONFIG)
    assert first == (AskLeader(),)
    _, more = live(state, 30, answer=None)
    assert not more


def test_it_follows_for_as_long_as_its_leader_answers() -> None:
    state, commands = live(begin(0), 3600)
    assert state.phase is Phase.FOLLOWING
    assert set(map(type, commands)) == {AskLeader}


def test_asked_to_end_it_stays_until_its_leader_is_gone() -> None:
    state, _ = live(begin(0), 10)
    state, commands = ask_to_end(state, 10)
    assert not state.ready
    assert TerminateEngine() not in commands
    state, commands = live(state, 10 + CONFIG.settle_s + CONFIG.drain_s)
    assert TerminateEngine() not in commands, "the leader still drains"
    state, commands = live(state, state.seen_at + 5, answer=GONE)
    assert commands.count(TerminateEngine()) == 1
    _, commands = live(state, state.seen_at + 1, answer=GONE)
    assert TerminateEngine() not in commands, "only once"
    state, last = step(state, EngineExited(1, CRASH), state.seen_at + 2, CONFIG)
    assert last == (Exit(0, None),)
    assert state.phase is Phase.STOPPED


@pytest.mark.parametrize(
    ("answer", "within"),
    [
        (GONE, 4.0),
        (LeaderAnswered(same=False), 2.0),
        (SILENT, GONE_AFTER_S + 1),
        (None, GONE_AFTER_S + 1),
    ],
    ids=["refused", "another life", "times out", "never answers"],
)
def test_a_leader_that_is_gone_is_not_waited_for(answer: Event | None, within: float) -> None:
    state, _ = live(begin(0), 10)
    state, commands = ask_to_end(state, 10, answer)
    _, more = live(state, 10 + within, answer=answer)
    assert TerminateEngine() in commands + more


def test_one_lost_question_is_no_gone_leader() -> None:
    state, _ = live(begin(0), 10)
    state, _ = ask_to_end(state, 10)
    for _ in range(20):
        state, commands = live(state, state.seen_at + 1.0, answer=SILENT)
        assert TerminateEngine() not in commands
        state, commands = live(state, state.seen_at + 2.0)
        assert TerminateEngine() not in commands


def test_it_has_time_for_the_whole_drain_of_a_leader_that_was_asked_later() -> None:
    later = GROUP_MARGIN_S - 5
    leaders = CONFIG.settle_s + CONFIG.drain_s + CONFIG.teardown_s
    state, _ = ask_to_end(begin(0), 0)
    state, commands = live(state, later + leaders)
    assert KillEngine() not in commands
    state, commands = live(state, leaders + GROUP_MARGIN_S + 1)
    assert KillEngine() in commands
    assert state.outcome is not None
    assert state.outcome.reason == TerminationReason.DRAIN_TIMED_OUT
    assert state.seen_at < CONFIG.follower_grace_period_s()


def test_a_leader_that_began_anew_orphans_it() -> None:
    state, _ = live(begin(0), 10)
    state, commands = step(state, LeaderAnswered(same=False), 10.5, CONFIG)
    assert commands == (KillEngine(),)
    _, (leaving,) = step(state, EngineExited(-9, CRASH), 11, CONFIG)
    assert isinstance(leaving, Exit)
    assert leaving.code == 1
    assert leaving.termination is not None
    assert leaving.termination.reason == TerminationReason.GROUP_BROKEN


@pytest.mark.parametrize("answer", [GONE, SILENT])
def test_a_leader_that_stays_away_orphans_it_in_the_end(answer: Event) -> None:
    state, _ = live(begin(0), 10)
    state, commands = live(state, 10 + CONFIG.stall_restart_s - 2, answer=answer)
    assert KillEngine() not in commands
    state, commands = live(state, 10 + CONFIG.stall_restart_s + 2, answer=answer)
    assert KillEngine() in commands


def test_time_in_which_it_did_not_run_is_no_silence_of_the_leader() -> None:
    state, _ = live(begin(0), 10)
    state, commands = step(state, Tick(), 10 + BLACKOUT_S + 600, CONFIG)
    assert KillEngine() not in commands
    assert state.phase is Phase.FOLLOWING


@pytest.mark.parametrize(("code", "expected"), [(0, 1), (1, 1), (-9, 137), (3, 3)])
def test_an_engine_that_leaves_unasked_has_failed(code: int, expected: int) -> None:
    state, commands = step(begin(0), EngineExited(code, CRASH), 5, CONFIG)
    assert commands == (Exit(expected, CRASH),)
    assert state.phase is Phase.STOPPED


def test_a_second_request_to_end_kills() -> None:
    state, _ = step(begin(0), TerminateRequested(), 1, CONFIG)
    state, commands = step(state, TerminateRequested(), 2, CONFIG)
    assert KillEngine() in commands
    _, more = live(state, 2 + UNKILLABLE_S + 1)
    assert isinstance(more[-1], Exit)


WORLD = st.one_of(
    st.just(Tick()),
    st.booleans().map(lambda same: LeaderAnswered(same=same)),
    st.booleans().map(lambda gone: LeaderSilent(gone=gone)),
    st.just(TerminateRequested()),
    st.just(HealthAnswered(healthy=True)),
    st.builds(MemberRestarted, st.integers(0, 3)),
)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 20), WORLD), max_size=60))
def test_every_life_that_is_asked_to_end_does(moments: list[tuple[float, Event]]) -> None:
    state, now, exits = begin(0), 0.0, 0
    for wait, event in moments:
        now += wait
        state, commands = step(state, event, now, CONFIG)
        exits += sum(isinstance(command, Exit) for command in commands)
        assert commands.count(TerminateEngine()) <= 1
        if KillEngine() in commands:
            assert state.outcome is not None
    state, commands = step(state, TerminateRequested(), now, CONFIG)
    state, more = live(state, now + CONFIG.follower_grace_period_s() + UNKILLABLE_S + 1)
    exits += sum(isinstance(command, Exit) for command in (*commands, *more))
    assert state.phase is Phase.STOPPED
    assert exits == 1


# What a leader makes of its followers.


def serving() -> State:
    state, _ = lifecycle.step(lifecycle.begin(0), HealthAnswered(healthy=True), 1, CONFIG)
    state, _ = lifecycle.step(state, ProbeAnswered(), 2, CONFIG)
    assert state.phase is Phase.READY
    return state


@pytest.mark.parametrize("draining", [False, True])
def test_a_leader_ends_at_once_when_a_rank_began_anew(*, draining: bool) -> None:
    state = serving()
    if draining:
        state, _ = lifecycle.step(state, TerminateRequested(), 3, CONFIG)
    state, commands = lifecycle.step(state, MemberRestarted(1), 4, CONFIG)
    assert commands == (KillEngine(),)
    assert state.outcome is not None
    assert state.outcome.reason == TerminationReason.GROUP_BROKEN
    again, commands = lifecycle.step(state, MemberRestarted(1), 4.5, CONFIG)
    assert commands == ()
    assert again == replace(state, seen_at=4.5)


def test_silence_of_a_rank_ends_a_drain_and_nothing_else() -> None:
    state, commands = lifecycle.step(serving(), MemberSilent(1, 31), 3, CONFIG)
    assert KillEngine() not in commands
    state, _ = lifecycle.step(state, TerminateRequested(), 4, CONFIG)
    _, commands = lifecycle.step(state, MemberSilent(1, 35), 5, CONFIG)
    assert commands == (KillEngine(),)
