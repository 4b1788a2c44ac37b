"""A trace of one replica: out of rotation, unjudged, and back whatever becomes of its client."""

from dataclasses import replace

import pytest

from stoker_worker.contract import TerminationReason, WorkerConfig
from stoker_worker.events import (
    Command,
    DropTraces,
    EngineCounters,
    Event,
    Exit,
    HealthAnswered,
    KillEngine,
    ProbeAnswered,
    ProfileDone,
    ProfileEnough,
    ProfileHeard,
    ProfilerStarted,
    ProfilerStopped,
    ProfileWanted,
    Sample,
    Sampled,
    StartProfiler,
    StopProfiler,
    TerminateRequested,
    Tick,
)
from stoker_worker.lifecycle import BLACKOUT_S, begin, step
from stoker_worker.profiling import ANSWER_S, LEASE_S, RECORD_S
from stoker_worker.state import Phase, Profile, Stage, State

CONFIG = WorkerConfig("vllm", "/models/m", ["m"], profile_dir="/traces")
MINE, OTHERS = "a" * 32, "b" * 32
WANTED = ProfileWanted(MINE, 50)
ENGINE_STEPS = 2.0


def sample(outstanding: float = 0, steps: float = ENGINE_STEPS) -> Sampled:
    return Sampled(Sample((EngineCounters("0", steps, outstanding),), int(outstanding)))


class Life:
    """A worker's life, second by second, with an engine that answers its metrics."""

    def __init__(self) -> None:
        self.state: State = begin(0)
        self.now = 0.0
        self.commands: list[Command] = []
        self.outstanding = 0.0
        self.steps = ENGINE_STEPS
        self.alive = True
        for event in (HealthAnswered(healthy=True), ProbeAnswered(), sample()):
            self.tell(event)
        assert self.state.phase is Phase.READY

    def tell(self, event: Event) -> None:
        self.now += 0.1
        self.state, commands = step(self.state, event, self.now, CONFIG)
        self.commands += commands

    def pass_time(self, seconds: float, *, heard: bool = True) -> None:
        """Ticks and heartbeats; the client asks each second, unless it is gone."""
        until = self.now + seconds
        while self.now < until:
            self.tell(Tick())
            if self.alive and self.state.sample.pending:
                self.steps += self.outstanding
                self.tell(sample(self.outstanding, self.steps))
            if heard:
                self.tell(ProfileHeard(MINE))
            self.now += 0.8

    @property
    def profile(self) -> Profile:
        assert self.state.profile is not None
        return self.state.profile

    @property
    def stage(self) -> Stage:
        return self.profile.stage

    def is_at(self, stage: Stage) -> bool:
        return self.stage is stage

    def record(self) -> "Life":
        """As far as the recording."""
        self.tell(WANTED)
        self.pass_time(CONFIG.settle_s + 2 * CONFIG.heartbeat_s)
        self.tell(ProfilerStarted())
        assert self.stage is Stage.RECORDING
        return self

    def has(self, kind: type[object]) -> int:
        return sum(isinstance(each, kind) for each in self.commands)


@pytest.fixture
def life() -> Life:
    return Life()


def test_a_trace_from_beginning_to_end(life: Life) -> None:
    life.tell(WANTED)
    assert (life.state.phase, life.state.ready, life.stage) == (
        Phase.PROFILING,
        False,
        Stage.LEAVING,
    )
    assert life.has(DropTraces) == 1
    life.pass_time(CONFIG.settle_s + 2 * CONFIG.heartbeat_s)
    assert [each for each in life.commands if isinstance(each, StartProfiler)] == [
        StartProfiler(50, 2 * ANSWER_S)
    ]
    assert life.is_at(Stage.STARTING)
    life.tell(ProfilerStarted())
    life.tell(ProfileEnough(MINE))
    assert life.is_at(Stage.STOPPING)
    assert not life.state.ready
    life.pass_time(20)
    life.tell(ProfilerStopped())
    assert (life.state.phase, life.state.ready, life.stage) == (Phase.READY, True, Stage.WRITTEN)
    assert life.profile.fault == ""
    life.pass_time(5 * LEASE_S)  # files are kept for as long as somebody fetches them
    assert life.is_at(Stage.WRITTEN)
    life.tell(ProfileDone(MINE))
    assert life.state.profile is None
    assert life.has(DropTraces) == 2
    assert (life.has(StartProfiler), life.has(StopProfiler), life.has(KillEngine)) == (1, 1, 0)


def test_nothing_is_recorded_before_pickers_know_and_requests_are_done(life: Life) -> None:
    life.tell(WANTED)
    life.pass_time(CONFIG.settle_s - 1.5)
    assert life.is_at(Stage.LEAVING)
    life.outstanding = 1
    life.pass_time(30)
    assert life.is_at(Stage.LEAVING)
    life.outstanding = 0
    life.pass_time(2 * CONFIG.heartbeat_s)
    assert life.is_at(Stage.STARTING)


def test_requests_that_do_not_end_end_the_wish(life: Life) -> None:
    life.tell(WANTED)
    life.outstanding = 1
    life.pass_time(CONFIG.settle_s + CONFIG.drain_s + 5)
    assert (life.state.phase, life.stage) == (Phase.READY, Stage.WRITTEN)
    assert "requests still run" in life.profile.fault
    assert life.has(StartProfiler) == 0


def test_the_watchdog_knows(life: Life) -> None:
    """The same silence that ends an engine in rotation ends none that is profiled."""
    life.record()
    life.outstanding, life.alive = 1, False
    life.pass_time(2 * CONFIG.stall_restart_s)
    life.tell(ProfileEnough(MINE))
    life.pass_time(2 * CONFIG.stall_restart_s)
    assert life.has(KillEngine) == 0
    life.tell(ProfilerStopped())
    assert life.state.ready
    assert life.state.quiet_s(life.now) == 0


def test_the_watchdog_is_back_afterwards(life: Life) -> None:
    life.record()
    life.tell(ProfileEnough(MINE))
    life.tell(ProfilerStopped())
    life.alive = False
    life.pass_time(CONFIG.stall_ready_s + 2)
    assert life.state.phase is Phase.STALLED
    life.pass_time(CONFIG.stall_restart_s)
    assert life.has(KillEngine) == 1


def test_an_engine_that_hangs_before_it_records_is_killed_as_ever(life: Life) -> None:
    life.tell(WANTED)
    life.outstanding, life.alive = 1, False
    life.pass_time(CONFIG.stall_restart_s + 5)
    assert life.has(KillEngine) == 1


@pytest.mark.parametrize("stage", [Stage.STARTING, Stage.STOPPING])
def test_a_profiler_that_never_answers_is_a_hang(life: Life, stage: Stage) -> None:
    if stage is Stage.STOPPING:
        life.record()
        life.tell(ProfileEnough(MINE))
    else:
        life.tell(WANTED)
        life.pass_time(CONFIG.settle_s + 2 * CONFIG.heartbeat_s)
    assert life.is_at(stage)
    life.pass_time(ANSWER_S - 20)
    assert life.has(KillEngine) == 0
    life.pass_time(40)
    assert life.has(KillEngine) == 1
    assert life.state.outcome is not None
    assert life.state.outcome.reason == TerminationReason.ENGINE_HUNG
    assert "profiler" in life.state.outcome.message


@pytest.mark.parametrize("how", ["lost", "done"])
@pytest.mark.parametrize("stage", list(Stage))
def test_without_its_client_a_replica_comes_back(life: Life, stage: Stage, how: str) -> None:
    """Wherever the command dies, is interrupted, or loses its connection."""
    life.outstanding = 1 if stage is Stage.LEAVING else 0
    life.tell(WANTED)
    if stage is not Stage.LEAVING:
        life.pass_time(CONFIG.settle_s + 2 * CONFIG.heartbeat_s)
    if stage in {Stage.RECORDING, Stage.STOPPING, Stage.WRITTEN}:
        life.tell(ProfilerStarted())
    if stage in {Stage.STOPPING, Stage.WRITTEN}:
        life.tell(ProfileEnough(MINE))
    if stage is Stage.WRITTEN:
        life.tell(ProfilerStopped())
    assert life.is_at(stage)
    if how == "done":
        life.tell(ProfileDone(MINE))
        life.pass_time(2, heard=False)
    else:
        life.pass_time(LEASE_S + 2, heard=False)
    if stage is Stage.STARTING:
        life.tell(ProfilerStarted())
        life.pass_time(2, heard=False)
    if stage in {Stage.STARTING, Stage.RECORDING, Stage.STOPPING}:
        life.tell(ProfilerStopped())
        life.pass_time(2, heard=False)
    life.pass_time(LEASE_S + 2, heard=False)
    assert life.state.ready
    assert life.state.profile is None
    assert life.has(StartProfiler) == life.has(StopProfiler) == (stage is not Stage.LEAVING)
    assert isinstance(life.commands[-1], DropTraces) or life.has(DropTraces) == 2


def test_a_recording_that_nobody_ends_ends(life: Life) -> None:
    life.record()
    life.pass_time(RECORD_S + 2)
    assert life.is_at(Stage.STOPPING)


def test_a_profiler_that_refuses_is_a_fault_and_no_end(life: Life) -> None:
    life.tell(WANTED)
    life.pass_time(CONFIG.settle_s + 2 * CONFIG.heartbeat_s)
    life.tell(ProfilerStarted("HTTP 500: no"))
    assert (life.state.ready, life.stage, life.profile.fault) == (
        True,
        Stage.WRITTEN,
        "HTTP 500: no",
    )
    assert life.has(StopProfiler) == 0


def test_another_client_changes_nothing(life: Life) -> None:
    life.record()
    before = life.profile
    for event in (ProfileWanted(OTHERS, 1), ProfileEnough(OTHERS), ProfileDone(OTHERS)):
        life.tell(event)
    assert life.profile == before
    life.pass_time(LEASE_S - 5, heard=False)
    life.tell(ProfileHeard(OTHERS))
    life.pass_time(10, heard=False)
    assert life.is_at(Stage.STOPPING)


@pytest.mark.parametrize("phase", [Phase.STALLED, Phase.WARMING_UP, Phase.DRAINING])
def test_only_a_ready_replica_is_profiled(life: Life, phase: Phase) -> None:
    life.state = replace(life.state, phase=phase)
    life.tell(WANTED)
    assert life.state.profile is None


def test_a_pod_that_has_to_go_goes(life: Life) -> None:
    life.record()
    life.tell(TerminateRequested())
    assert (life.state.phase, life.state.profile) == (Phase.DRAINING, None)
    life.tell(ProfilerStopped())
    life.pass_time(CONFIG.settle_s + CONFIG.drain_s + CONFIG.teardown_s + 15, heard=False)
    assert life.has(KillEngine) == 1
    assert any(isinstance(each, Exit) for each in life.commands)


def test_time_in_which_the_worker_did_not_run_is_nobodys_fault(life: Life) -> None:
    life.record()
    life.now += 10 * LEASE_S + BLACKOUT_S
    life.tell(Tick())
    assert life.is_at(Stage.RECORDING)
