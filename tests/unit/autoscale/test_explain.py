"""The numbers that are told of a decision are those that it was made with."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.autoscale import Policy, Sample, decide
from stoker.autoscale.need import need_of
from stoker.model.load import EngineSample, FrontendSample, Load
from stoker.model.moment import Moment
from stoker.model.scale import History, Limit, Reckoning, ScaleDecision, Term
from stoker.model.work import Work

WINDOWS = Policy(0, 8, 4, 8, idle_before_zero=60.0, stabilization=30.0)
LEARNS = Policy(0, 8, 4, 8)
WORK = Work(0.01, 2e-4, 1e-7, 5e-5, 0.0, 0.05, 96, 400_000, 1000, 200)


class Run:
    """Looks at one service, one after the other."""

    def __init__(self, policy: Policy, wanted: int = 1, ready: int | None = None) -> None:
        self.policy, self.wanted, self.ready = policy, wanted, ready
        self.time, self.total, self.history = 1000.0, 0.0, History()

    def see(
        self, seconds: float = 1, *, held: int = 0, running: int = 0, came: int = 0
    ) -> ScaleDecision:
        self.time += seconds
        self.total += came
        load = Load(
            self.time,
            (FrontendSample("f", held, held + running, self.total),),
            (EngineSample("e", running, 0, None),),
        )
        ready = self.wanted if self.ready is None else self.ready
        sample = Sample(self.wanted, ready, load)
        found = decide(self.policy, self.history, sample, Moment(self.time, self.time))
        self.history, self.wanted = found.history, found.replicas
        return found


def numbers(found: ScaleDecision) -> Reckoning:
    assert found.reckoning is not None
    return found.reckoning


def without_forecast(told: Reckoning) -> dict[Term, float]:
    return {term: value for term, value in told.terms.items() if term is not Term.FORECAST}


def test_a_queue_asks_and_says_so() -> None:
    told = numbers(Run(WINDOWS).see(held=14, running=8))
    assert told.need == 4
    assert told.terms == {Term.PLACES: 2, Term.QUEUE: 4, Term.PROGRESS: 1}
    assert (told.places, told.request_s, told.limit) == (8, 0.0, None)


def test_where_the_pace_is_known_arrivals_and_their_backlog_ask() -> None:
    run = Run(replace(LEARNS, work=WORK))
    for _ in range(60):
        told = numbers(run.see(held=6, running=8, came=5))
    assert told.request_s == pytest.approx(WORK.request_s(1000, 200))
    assert told.terms[Term.ARRIVALS] > 0
    assert told.terms[Term.FORECAST] > 0
    assert told.need == need_of(without_forecast(told))


def test_a_request_that_nobody_saw_in_progress_is_a_term() -> None:
    run = Run(WINDOWS)
    run.see()
    told = numbers(run.see(came=1))
    assert told.need == 1
    assert told.terms[Term.PROGRESS] == 1


def test_what_limits_the_number() -> None:
    run = Run(WINDOWS)
    assert numbers(run.see(held=400, running=8)).limit is Limit.CEILING
    assert numbers(run.see(running=8)).limit is Limit.STABILIZATION
    low = Run(replace(WINDOWS, min_replicas=3), wanted=3)
    assert numbers(low.see(running=1)).limit is Limit.FLOOR
    starting = Run(WINDOWS, wanted=2, ready=0)
    assert numbers(starting.see(held=30)).limit is Limit.STARTING
    fresh = Run(LEARNS, wanted=4)
    assert numbers(fresh.see(running=1)).limit is Limit.OBSERVING
    raised = Run(LEARNS, wanted=4)
    raised.history = History(since=1.0, seen=1000.0, turned_up_at=990.0)
    told = numbers(raised.see(running=1))
    assert (told.limit, told.fewer_at) == (Limit.ADDED_STAYS, 990 + 600)
    idle = Run(LEARNS)
    assert numbers(idle.see(running=1)).limit is None


def test_before_the_time_that_is_told_nothing_goes() -> None:
    run = Run(WINDOWS)
    run.see(held=14, running=8)
    told = numbers(run.see(running=1))
    assert told.fewer_at == 1001 + 30  # the queue's need leaves the window then
    while run.wanted == 4:
        found = run.see(running=1)
    assert told.fewer_at < run.time <= told.fewer_at + 1  # that moment is still in the window
    # The last one: the idle time since the last request.
    assert numbers(found).fewer_at == run.time + 60
    alone = Run(replace(WINDOWS, min_replicas=1))
    assert numbers(alone.see()).fewer_at is None


counts = st.integers(0, 40)


@given(
    st.sampled_from([WINDOWS, LEARNS, replace(LEARNS, work=WORK), replace(LEARNS, min_replicas=1)]),
    st.lists(st.tuples(st.sampled_from([1.0, 7.0, 20.0, 29.0, 45.0]), counts, counts), max_size=90),
)
def test_the_time_that_is_told_holds_and_the_terms_make_the_need(
    policy: Policy, looks: list[tuple[float, int, int]]
) -> None:
    run, before, told = Run(policy), 1, -math.inf
    for pause, held, running in looks:
        found = run.see(pause, held=held % 13, running=running % 9, came=running % 2)
        if found.replicas < before:
            assert run.time >= told
        known = numbers(found)
        assert known.need == need_of(without_forecast(known))
        before = found.replicas
        told = math.inf if known.fewer_at is None else known.fewer_at
