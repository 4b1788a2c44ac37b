"""Whole lives: whatever an engine does, in whatever order, some promises always hold."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

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
    TakeSample,
    TerminateEngine,
    TerminateRequested,
    Tick,
)
from stoker_worker.lifecycle import UNKILLABLE_S, begin, step
from stoker_worker.profiling import LEASE_S
from stoker_worker.state import Phase

CONFIG = WorkerConfig("vllm", "/models/m", ["m"], start_deadline_s=60, warmup_deadline_s=30)
CRASH = Termination(TerminationReason.ENGINE_CRASHED, "boom")
TICK_S = 0.5

SAMPLES = st.builds(
    Sample,
    st.lists(
        st.builds(
            EngineCounters,
            st.just("0"),
            st.integers(0, 3).map(float),
            st.integers(0, 2).map(float),
        ),
        max_size=1,
    ).map(tuple),
    st.none() | st.integers(0, 2),
)
WORLD = st.one_of(
    st.just(Tick()),
    st.booleans().map(HealthAnswered),
    st.just(ProbeAnswered()),
    st.booleans().map(lambda refused: ProbeFailed("no", refused=refused)),
    st.none().map(Sampled),
    SAMPLES.map(Sampled),
    st.just(TerminateRequested()),
    st.sampled_from(
        [
            ProfileWanted("a", 1),
            ProfileHeard("a"),
            ProfileEnough("a"),
            ProfileDone("a"),
            ProfilerStarted(),
            ProfilerStarted("no"),
            ProfilerStopped(),
        ]
    ),
    st.sampled_from([None, Termination(TerminationReason.MODEL_CORRUPT, "bad")]).map(ModelJudged),
)
MOMENTS = st.lists(st.tuples(st.floats(0, 4), WORLD), max_size=120)


class World:
    """Answers only what was asked, one answer a question, as the shell does."""

    def __init__(self, *, unproven: bool = False) -> None:
        self.now = 0.0
        self.state = replace(begin(0.0), unproven=unproven)
        self.unproven = unproven
        self.judged = not unproven
        self.asked = {CheckHealth: 0, Probe: 0, TakeSample: 0, StartProfiler: 0, StopProfiler: 0}
        self.exits: list[Exit] = []
        self.killed = self.terminated = 0
        self.answers = self.terminates = 0

    def feed(self, event: Event) -> None:
        for question, answers in (
            (CheckHealth, HealthAnswered),
            (Probe, (ProbeAnswered, ProbeFailed)),
            (TakeSample, Sampled),
            (StartProfiler, ProfilerStarted),
            (StopProfiler, ProfilerStopped),
        ):
            if isinstance(event, answers):
                if not self.asked[question]:
                    return
                self.asked[question] -= 1
        if isinstance(event, ModelJudged):
            if self.judged:
                return
            self.judged = True
            self.unproven = event.fault is not None
        self.answers += isinstance(event, ProbeAnswered)
        self.terminates += isinstance(event, TerminateRequested)
        self.state, commands = step(self.state, event, self.now, CONFIG)
        for command in commands:
            self._obey(command)
        self.check()

    def _obey(self, command: Command) -> None:
        assert not self.exits, "nothing is asked for after the end"
        if type(command) in self.asked:
            self.asked[type(command)] += 1
        self.killed += isinstance(command, KillEngine)
        self.terminated += isinstance(command, TerminateEngine)
        if isinstance(command, Exit):
            self.exits.append(command)

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now + TICK_S < end:
            self.now += TICK_S
            self.feed(Tick())
        self.now = end

    def check(self) -> None:
        assert max(self.asked.values()) <= 1, "no question is asked twice at a time"
        if self.state.ready:
            assert self.answers, "ready without a token"
            assert not self.unproven, "ready with a model that is not proven"
            assert not self.terminates, "ready after it was asked to end"
            assert self.state.quiet_s(self.now) < CONFIG.stall_ready_s, "ready without progress"
        if self.killed:
            assert self.state.outcome is not None, "killed without a reason"
        assert self.terminated <= 1
        assert self.killed <= 1
        assert self.state.healthy_at is not None or self.state.first_token_at is None


@settings(deadline=None)
@given(moments=MOMENTS, unproven=st.booleans())
def test_promises_hold_in_every_life(moments: list[tuple[float, Event]], *, unproven: bool) -> None:
    world = World(unproven=unproven)
    for wait, event in moments:
        world.pass_time(wait)
        world.feed(event)


@settings(deadline=None)
@given(moments=MOMENTS)
def test_promises_hold_whenever_a_trace_is_wanted(moments: list[tuple[float, Event]]) -> None:
    """And whatever its client does, the replica is not left behind."""
    world = World()
    begun: list[Event] = [Tick(), HealthAnswered(healthy=True), ProbeAnswered()]
    for event in [*begun, ProfileWanted("a", 1)]:
        world.feed(event)
    assert world.state.phase is Phase.PROFILING
    for wait, event in moments:
        world.pass_time(wait)
        world.feed(event)
    for _ in range(3):
        world.pass_time(max(LEASE_S, CONFIG.settle_s + CONFIG.drain_s) + 2)
        for answer in (ProfilerStarted(), ProfilerStopped()):
            world.feed(answer)
    assert world.state.phase is not Phase.PROFILING
    world.pass_time(LEASE_S + 2)
    assert world.state.profile is None or world.killed


@settings(deadline=None)
@given(
    moments=MOMENTS, code=st.integers(-15, 3), engine_obeys=st.booleans(), unproven=st.booleans()
)
def test_every_life_ends_once_it_is_asked_to(
    moments: list[tuple[float, Event]], code: int, *, engine_obeys: bool, unproven: bool
) -> None:
    world = World(unproven=unproven)
    for wait, event in moments:
        world.pass_time(wait)
        world.feed(event)
    world.feed(TerminateRequested())
    if engine_obeys:
        world.feed(EngineExited(code, CRASH))
    else:
        world.pass_time(CONFIG.grace_period_s() + UNKILLABLE_S)
    assert len(world.exits) == 1
    assert world.state.phase is Phase.STOPPED
    # Only an end that cut nobody is a success.
    if world.exits[0].code == 0:
        assert world.exits[0].termination is None
        assert not world.killed
    else:
        assert world.exits[0].termination is not None


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 15), st.integers(0, 400)), min_size=1, max_size=100))
def test_a_saturated_engine_is_never_killed(looks: list[tuple[float, int]]) -> None:
    """Metrics arrive late, queues are long; but steps are made."""
    world = World()
    world.feed(Tick())
    world.feed(HealthAnswered(healthy=True))
    world.feed(ProbeAnswered())
    steps = 0.0
    for late, outstanding in looks:
        steps += 1
        world.pass_time(late)
        world.feed(Sampled(Sample((EngineCounters("0", steps, outstanding),), outstanding)))
        assert world.state.ready
    assert not world.killed


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 20), st.floats(0.5, 15))
def test_a_hang_at_any_moment_is_noticed_in_time(steps: int, pause: float) -> None:
    world = World()
    world.feed(Tick())
    world.feed(HealthAnswered(healthy=True))
    world.feed(ProbeAnswered())
    for made in range(steps):
        world.pass_time(pause)
        world.feed(Sampled(Sample((EngineCounters("0", made, 1),), 1)))
    hung_at = world.now
    left = killed = None
    while killed is None:
        world.pass_time(1)
        world.feed(Sampled(Sample((EngineCounters("0", steps - 1, 1),), 1)))
        if world.state.phase is Phase.STALLED:
            left = left or world.now
        if world.killed:
            killed = world.now
    # The last step may be seen one look late, and this world moves second by second.
    late = CONFIG.heartbeat_s + 2
    assert left is not None
    assert left - hung_at <= CONFIG.stall_ready_s + late
    assert killed - hung_at <= CONFIG.stall_restart_s + late
