"""Whole runs where the user has set no window: what is learned decides, second by second."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

from stoker.autoscale import Policy, Sample, decide
from stoker.autoscale.demand import SHORT_S
from stoker.autoscale.memory import LEAST_IDLE_S, TURN_S
from stoker.model import reasons
from stoker.model.load import EngineSample, FrontendSample, Load
from stoker.model.moment import Moment
from stoker.model.scale import History, ScaleDecision
from stoker.model.work import Work

# One request takes a tenth of a second of a replica.
WORK = Work(0.0, 0.0, 0.0, 1e-4, 0.0, 0.05, 1000, 10**9, 1000, 0)
POLICY = Policy(
    min_replicas=0,
    max_replicas=20,
    queue_target=4,
    concurrency=32,
    lead_s=60.0,
    quantile=0.9,
    utilization=0.8,
    work=WORK,
)


@dataclass
class Run:
    """A service whose replicas answer at once: what matters here is what is asked for."""

    policy: Policy = POLICY
    wanted: int = 1
    time: float = 0.0
    total: float = 0.0
    history: History = field(default_factory=History)
    decisions: list[tuple[float, int, ScaleDecision]] = field(default_factory=list)

    def go(self, until: float, rate: Callable[[float], float], held: int = 0) -> ScaleDecision:
        while True:
            self.total += 2 * rate(self.time)
            busy = round(rate(self.time))
            load = Load(
                self.time,
                (FrontendSample("front-0", held, busy + held, self.total),),
                (EngineSample("engine-0", busy, 0, None),),
            )
            sample = Sample(self.wanted, self.wanted, load)
            decision = decide(self.policy, self.history, sample, Moment(self.time, self.time))
            if decision.replicas != self.wanted:
                self.decisions.append((self.time, decision.replicas, decision))
            self.wanted, self.history = decision.replicas, decision.history
            self.time += 2
            if self.time > until:
                return decision


def test_arrivals_decide_before_any_queue_does() -> None:
    run = Run()
    found = run.go(120.0, lambda _: 40.0)
    # 40 requests a second · 0.1 s / 0.8.
    assert found.replicas == 5
    assert {decision.verdict.reason for _, _, decision in run.decisions} == {reasons.LOAD_GREW}


def test_a_queue_is_worked_off_within_a_minute_and_a_half() -> None:
    run = Run()
    run.go(400.0, lambda _: 6.0)
    assert run.wanted == 1
    # 1,800 held requests are 180 s of one replica's work, to be done in 90 s beside the arrivals.
    found = run.go(402.0, lambda _: 6.0, held=1800)
    assert found.replicas == 3
    assert found.verdict.reason == reasons.LOAD_GREW


def test_what_was_added_stays_for_ten_minutes() -> None:
    run = Run()
    run.go(600.0, lambda _: 4.0)
    run.go(660.0, lambda _: 40.0)
    up = run.decisions[-1][0]
    run.go(3000.0, lambda _: 4.0)
    downs = [(time, decision) for time, _, decision in run.decisions if time > 660]
    assert downs[0][0] - up >= TURN_S - 60
    assert downs[0][1].verdict.reason == reasons.LOAD_SHRANK
    assert run.wanted == 1


def test_the_direction_changes_twice_in_ten_minutes_at_most() -> None:
    run = Run()
    run.go(20_000.0, lambda time: 60.0 if time % 170 < 40 else 1.0)
    numbers = [1, *(replicas for _, replicas, _ in run.decisions)]
    times = [time for time, _, _ in run.decisions]
    ups = [after > before for before, after in pairwise(numbers)]
    turns = [
        time for time, (before, now) in zip(times[1:], pairwise(ups), strict=True) if now != before
    ]
    assert all(third - first > 600 for first, third in zip(turns, turns[2:], strict=False))


def test_an_idle_service_goes_to_zero_once_its_silences_are_long() -> None:
    run = Run()
    # Bursts far apart, over and over.
    found = run.go(39_000.0, lambda time: 10.0 if time % 4000 < 100 else 0.0)
    zeros = [(time, decision) for time, replicas, decision in run.decisions if replicas == 0]
    assert zeros
    assert all(decision.verdict.reason == reasons.IDLE for _, decision in zeros)
    # The last replica goes soon after it may.
    time, _ = zeros[-1]
    assert LEAST_IDLE_S <= time % 4000 - 100 <= TURN_S + 120
    assert found.replicas == 0


def test_a_silence_begins_once_and_with_the_end_of_the_requests() -> None:
    run = Run()
    run.go(1000.0, lambda _: 1.0)
    run.go(1060.0, lambda _: 0.0)
    began = run.history.learned.quiet_since
    assert began is not None
    assert 1000 < began <= 1000 + SHORT_S + 6
    run.go(1400.0, lambda _: 0.0)
    assert run.history.learned.quiet_since == began


def test_a_service_with_short_silences_keeps_its_replica() -> None:
    run = Run()
    run.go(30_000.0, lambda time: 5.0 if time % 120 < 10 else 0.0)
    late = [replicas for time, replicas, _ in run.decisions if time > 10_000]
    # Whenever it has been idle for a minute, the next request comes within a start's time.
    assert 0 not in late
    assert run.wanted >= 1


def test_regular_silence_is_ended_before_the_requests_come() -> None:
    policy = replace(POLICY, lead_s=240.0)
    run = Run(policy)
    run.go(60_000.0, lambda time: 5.0 if time % 2000 < 60 else 0.0)
    early = [
        decision
        for time, replicas, decision in run.decisions
        if time > 30_000 and replicas == 1 and 1200 < time % 2000 < 2000
    ]
    assert early
    assert {decision.verdict.reason for decision in early} == {reasons.LOAD_EXPECTED}
    assert "such moments" in early[0].verdict.message


def test_the_users_windows_are_obeyed_where_there_are_any() -> None:
    run = Run(replace(POLICY, idle_before_zero=30.0, stabilization=20.0))
    run.go(300.0, lambda _: 40.0)
    run.go(420.0, lambda _: 0.0)
    times = {replicas: time for time, replicas, _ in run.decisions}
    assert times[0] <= 300 + 120 + 2
    assert run.wanted == 0


def test_what_the_users_idle_time_took_is_not_brought_back_by_a_forecast() -> None:
    """Each silence that came before was short, so that the peak of a start ago is expected."""
    run = Run(replace(POLICY, idle_before_zero=20.0, lead_s=200.0))
    run.go(300.0, lambda _: 4.0)
    run.go(700.0, lambda _: 0.0)
    ((time, replicas, _),) = [each for each in run.decisions if each[0] > 300]
    assert replicas == 0
    assert 320 <= time <= 332  # the rate is known to be nothing a little later


def test_a_queue_that_stays_is_believed_before_any_pace() -> None:
    """The pace says that one replica is plenty; the queue says otherwise, for fifteen seconds."""
    run = Run()
    run.go(400.0, lambda _: 1.0)
    assert run.wanted == 1
    found = run.go(410.0, lambda _: 1.0, held=40)
    assert found.replicas == 1
    found = run.go(418.0, lambda _: 1.0, held=40)
    assert found.replicas == 2
    # Never more than twice as many at once: the next fifteen seconds will tell.
    found = run.go(424.0, lambda _: 1.0, held=40)
    assert found.replicas == 2
    found = run.go(440.0, lambda _: 1.0, held=40)
    assert found.replicas == 4
