"""Whole runs of the autoscaler in synthetic time: what happens, second by second."""

from dataclasses import replace

from stoker.autoscale import Policy, Sample, decide
from stoker.model import reasons
from stoker.model.load import NO_FRONTEND, EngineSample, FrontendSample, Load
from stoker.model.moment import Moment
from stoker.model.scale import History, ScaleDecision

IDLE_S, WINDOW_S = 60.0, 30.0
POLICY = Policy(
    min_replicas=0,
    max_replicas=8,
    queue_target=4,
    concurrency=8,
    idle_before_zero=IDLE_S,
    stabilization=WINDOW_S,
)


class Run:
    """One service, one sample a second; replicas become ready as the test says."""

    def __init__(self, policy: Policy = POLICY, wanted: int | None = 1, ready: int = 1) -> None:
        self.policy = policy
        self.wanted = wanted
        self.ready = ready
        self.missing = 0  # of those that are wanted, without a node
        self.time = 1000.0
        self.total = 0.0
        self.history = History()
        self.decision: ScaleDecision | None = None

    def step(self, load: Load | None) -> ScaleDecision:
        sample = Sample(self.wanted, self.ready, load, self.missing)
        now = Moment(monotonic=self.time, unix=self.time)
        self.decision = decide(self.policy, self.history, sample, now)
        self.history = self.decision.history
        self.wanted = self.decision.replicas
        self.ready = min(self.ready, self.wanted)
        self.time += 1
        return self.decision

    def see(
        self, seconds: int = 1, *, held: int = 0, waiting: int = 0, running: int = 0, new: int = 0
    ) -> ScaleDecision:
        decision = None
        for _ in range(seconds):
            self.total += new
            decision = self.step(self.load(held=held, waiting=waiting, running=running))
        assert decision is not None
        return decision

    def silence(self, seconds: int = 1) -> ScaleDecision:
        decision = None
        for _ in range(seconds):
            decision = self.step(None)
        assert decision is not None
        return decision

    def load(self, *, held: int = 0, waiting: int = 0, running: int = 0) -> Load:
        engines = (EngineSample("engine-0", running, waiting, 0.5),) if self.ready else ()
        frontend = FrontendSample("front-0", held, held + waiting + running, self.total)
        return Load(time=self.time, frontends=(frontend,), engines=engines)


def test_a_new_service_starts_with_one_even_where_zero_is_allowed() -> None:
    run = Run(wanted=None, ready=0)
    assert run.silence().replicas == 1
    assert run.decision is not None
    assert run.decision.verdict.reason == reasons.FIRST_REPLICAS


def test_a_step_goes_up_at_once_and_down_after_the_window() -> None:
    run = Run()
    run.see(60, running=1)
    assert run.see(waiting=20, running=8).replicas == 5
    run.ready = 5
    assert run.see(29, running=4).replicas == 5
    assert run.decision is not None
    assert run.decision.verdict.reason == reasons.WAITING_TO_SCALE_DOWN
    run.see(2, running=4)
    assert run.wanted == 1


def test_down_goes_to_the_largest_need_of_the_window() -> None:
    run = Run(wanted=6, ready=6)
    run.see(20, waiting=24)
    run.see(15, waiting=12)
    run.see(10, running=1)
    run.see(6, running=1)
    assert run.wanted == 3
    run.see(40, running=1)
    assert run.wanted == 1


def test_warming_replicas_are_credited() -> None:
    run = Run()
    run.see(waiting=16, running=8)
    assert run.wanted == 4
    # Three are loading; the queue still grows a little, and they will take from it.
    run.see(30, waiting=20, running=8)
    assert run.wanted == 4
    run.ready = 4
    assert run.see(waiting=20, running=32).replicas == 5


def test_a_load_beyond_what_warming_replicas_can_carry_adds_more() -> None:
    run = Run()
    run.see(waiting=8, running=8)
    assert run.wanted == 2
    assert run.see(waiting=52, running=8).replicas == 5


def test_a_replica_that_never_comes_does_not_hold_the_others_back() -> None:
    run = Run()
    run.see(waiting=8, running=8)
    assert run.see(600, waiting=12, running=8).replicas == 2
    assert run.see(400, waiting=12, running=8).replicas > 2


def test_replicas_without_a_node_are_no_reason_to_ask_for_more_of_them() -> None:
    run = Run()
    run.see(waiting=8, running=8)
    assert run.wanted == 2
    run.missing = 1
    # As many as can carry what is there, and not one for every four that wait.
    assert run.see(1500, waiting=40, running=8).replicas == 4
    run = Run()
    run.see(waiting=8, running=8)
    run.missing = 1
    assert run.see(1500, waiting=12, running=8).replicas == 2
    # Less load asks for less, whoever is missing.
    run.see(40, running=8)
    assert run.wanted == 1


def test_a_queue_keeps_warming_replicas_even_without_a_window() -> None:
    run = Run(replace(POLICY, stabilization=0))
    run.see(waiting=8, running=8)
    assert run.wanted == 2
    assert run.see(5, waiting=8, running=8).replicas == 2


def test_idle_goes_to_zero_and_the_first_request_brings_it_back() -> None:
    run = Run(wanted=3, ready=3)
    run.see(running=1)
    assert run.see(59).replicas > 0
    assert run.see(2).replicas == 0
    assert run.decision is not None
    assert run.decision.verdict.reason == reasons.IDLE
    assert run.see(300).replicas == 0
    assert run.see(held=1).replicas == 1
    assert run.decision.verdict.reason == reasons.REQUEST_ARRIVED
    # Many more arrive while it warms: one replica is coming, and takes what it can carry.
    assert run.see(held=11).replicas == 1


def test_a_start_longer_than_the_idle_window_is_not_idleness() -> None:
    run = Run(wanted=None, ready=0)
    assert run.see(300).replicas == 1
    run.ready = 1
    assert run.see(59).replicas == 1
    assert run.see(3).replicas == 0


def test_a_request_between_two_looks_is_activity() -> None:
    run = Run()
    run.see(50)
    run.see(new=1)
    assert run.see(50).replicas == 1
    assert run.see(11).replicas == 0
    assert run.see(new=1).replicas == 1


def test_a_restarted_frontend_is_no_activity_by_itself() -> None:
    run = Run()
    run.see(30, new=1)
    run.see(50)
    run.total = 0
    run.see(11)
    assert run.wanted == 0


def test_a_restarted_frontend_that_saw_requests_is_activity() -> None:
    run = Run()
    run.see(30, new=10)
    run.see(50)
    run.total = 2
    run.see(11)
    assert run.wanted == 1


def test_flapping_load_does_not_flap_replicas() -> None:
    run = Run()
    seen = set()
    for _ in range(40):
        run.see(5, waiting=8, running=8)
        run.ready = run.wanted or 0
        seen.add(run.wanted)
        run.see(5, running=1)
        seen.add(run.wanted)
    assert seen == {2}


def test_lost_metrics_move_nothing_and_restart_the_windows() -> None:
    run = Run(wanted=4, ready=4)
    run.see(29, running=1)
    decision = run.silence(600)
    assert decision.replicas == 4
    assert not decision.active
    assert decision.activity is not None
    assert decision.activity.reason == reasons.METRICS_LOST
    # Nobody knows what happened meanwhile: both windows begin again.
    assert run.see(30, running=1).replicas == 4
    assert run.see(2, running=1).replicas == 1


def test_silence_becomes_an_alarm_within_a_minute() -> None:
    run = Run()
    run.see(5, running=1)
    first = run.silence()
    assert first.activity is not None
    assert first.activity.reason == reasons.METRICS_MISSING
    late = run.silence(40)
    assert late.activity is not None
    assert late.activity.reason == reasons.METRICS_LOST
    run.see(1, running=1)
    again = run.silence()
    assert again.activity is not None
    assert again.activity.reason == reasons.METRICS_MISSING


def test_a_service_without_a_frontend_is_no_alarm() -> None:
    run = Run(wanted=None, ready=0)
    for _ in range(100):
        decision = run.step(Load(run.time, (), (), (NO_FRONTEND,)))
    assert decision.activity is not None
    assert decision.activity.reason == reasons.METRICS_MISSING


def test_an_engine_that_lacks_a_series_says_so_at_once_and_moves_nothing() -> None:
    run = Run(wanted=3, ready=3)
    frontend = FrontendSample("front-0", 50, 50, 50.0)
    lack = "engine pod e: its engine (version 9.9) does not report vllm:num_requests_waiting"
    decision = run.step(Load(run.time, (frontend,), (), ("engine pod e: …",), (lack,)))
    assert decision.replicas == 3
    assert decision.activity is not None
    assert decision.activity.reason == reasons.METRIC_MISSING
    assert lack in decision.activity.message


def test_samples_of_pods_that_are_gone_are_dropped() -> None:
    run = Run()
    old = replace(run.load(held=9).frontends[0], uid="first-life")
    load = replace(run.load(running=1), frontends=(old,))
    assert load.of_pods({"front-0": "first-life", "engine-0": "any"}) is load
    # A pod of the same name is another pod.
    assert load.of_pods({"front-0": "second-life", "engine-0": "any"}).frontends == ()
    assert load.of_pods({"front-0": "first-life"}).engines == ()


def test_one_lost_sample_does_not_restart_the_windows() -> None:
    run = Run(wanted=4, ready=4)
    run.see(20, running=1)
    run.silence(2)
    assert run.see(9, running=1).replicas == 1


def test_a_restart_of_the_operator_waits_for_a_full_window() -> None:
    run = Run(wanted=4, ready=4)
    run.see(25, running=1)
    run.history = History()
    assert run.see(30, running=1).replicas == 4
    assert run.see(2, running=1).replicas == 1


def test_bounds_are_obeyed_at_once_even_without_data() -> None:
    run = Run(wanted=4, ready=4)
    run.policy = replace(POLICY, max_replicas=2)
    assert run.silence().replicas == 2
    run.policy = replace(POLICY, min_replicas=3)
    assert run.silence().replicas == 3


def test_bounds_cap_the_need() -> None:
    assert Run().see(waiting=1000, running=8).replicas == 8


def test_a_partial_look_moves_nothing() -> None:
    run = Run(wanted=2, ready=2)
    load = replace(run.load(waiting=100), problems=("pod engine-1: connection refused",))
    decision = run.step(load)
    assert decision.replicas == 2
    assert decision.activity is not None
    assert "engine-1" in decision.activity.message


def test_a_request_that_one_frontend_shows_wakes_although_another_is_silent() -> None:
    run = Run(wanted=0, ready=0)
    load = replace(run.load(held=1), problems=("pod front-1: time-out",))
    assert run.step(load).replicas == 1


def test_a_stale_look_moves_nothing() -> None:
    run = Run(wanted=2, ready=2)
    load = run.load(waiting=100)
    run.time += 60
    assert run.step(load).replicas == 2


def test_no_frontend_is_no_data() -> None:
    run = Run(wanted=2, ready=2)
    decision = run.step(Load(time=run.time, frontends=(), engines=()))
    assert decision.replicas == 2
    assert not decision.active


def test_not_a_number_is_no_data() -> None:
    run = Run(wanted=2, ready=2)
    run.total = float("nan")
    decision = run.step(run.load(waiting=100))
    assert decision.replicas == 2
    assert decision.activity is not None
    assert "front-0" in decision.activity.message


def test_a_wake_up_is_named_for_the_moment_that_changes_the_answer() -> None:
    run = Run()
    assert run.see(10).wake_at == 1000 + IDLE_S
    run = Run(wanted=3, ready=3)
    assert run.see(10).wake_at == 1000 + WINDOW_S
