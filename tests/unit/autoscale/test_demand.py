"""How much is asked of a service, from counters whose truth is known."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.autoscale import Policy
from stoker.autoscale.demand import (
    LONG_S,
    count_arrivals,
    demand_of,
    measure_lengths,
    rate_of,
)
from stoker.model.load import EngineSample, FrontendSample, Load
from stoker.model.scale import Arrivals, History, Lengths
from stoker.model.timing import Timings
from stoker.model.work import Work

# A step every 50 ms, of which 10 are its own: 40 are left for tokens.
WORK = Work(
    step_s=0.010,
    sequence_s=0.0002,
    context_token_s=1e-7,
    prompt_token_s=5e-5,
    prompt_key_s=0.0,
    pace_s=0.050,
    places=256,
    kv_tokens=400_000,
    prompt_tokens=1000,
    output_tokens=200,
)
POLICY = Policy(
    min_replicas=0,
    max_replicas=8,
    queue_target=4,
    concurrency=28,
    work=WORK,
    utilization=0.5,
)


def evenly(rate: float, until: float, step: float = 2.0) -> Arrivals:
    arrivals: Arrivals = ()
    time = 0.0
    while time <= until:
        arrivals = count_arrivals(arrivals, rate * step if time else 0.0, time)
        time += step
    return arrivals


def load(*, held: int = 0, waiting: int = 0, running: int = 0, time: float = 0.0) -> Load:
    return Load(
        time,
        (FrontendSample("front-0", held, held + waiting + running, 0.0),),
        (EngineSample("engine-0", running, waiting, None),),
    )


def test_a_request_takes_time_of_steps() -> None:
    """1,000 · 50 µs of prompt, 200 · (200 µs + 1,100 · 0.1 µs) of answer; 80 % of time is free."""
    assert WORK.request_s(1000, 200) == pytest.approx((0.05 + 200 * 0.00031) / 0.8)


def test_a_request_takes_a_place_and_room() -> None:
    # It is there for 0.05 + 200 · 0.05 = 10.05 s.
    few = replace(WORK, places=10)
    assert few.request_s(1000, 200) == pytest.approx(10.05 / 10)
    small = replace(WORK, kv_tokens=5_500)
    assert small.request_s(1000, 200) == pytest.approx(10.05 * 1100 / 5_500)


def test_demand_is_arrivals_times_work_over_utilization() -> None:
    history = History(arrivals=evenly(5.0, 200.0))
    found = demand_of(POLICY, history, load(running=400, held=100), 200.0)
    assert found.request_s == pytest.approx(0.14)
    assert found.work == pytest.approx(0.7)
    # However many requests are in progress.
    assert found.replicas == pytest.approx(1.4)


def test_lengths_that_were_seen_replace_those_that_were_expected() -> None:
    seen = Lengths(requests=990, prompt_tokens=990 * 100, output_tokens=990 * 20)
    history = History(arrivals=evenly(5.0, 200.0), lengths=seen)
    found = demand_of(POLICY, history, load(), 200.0)
    # Ten requests' worth of what was expected is still in the means.
    assert found.request_s == pytest.approx(WORK.request_s(109, 21.8))


def test_where_no_pace_is_known_requests_in_progress_must_do() -> None:
    found = demand_of(replace(POLICY, work=None), History(), load(running=28, waiting=20), 0.0)
    assert found.replicas == 48 / 32
    assert found.request_s == 0.0


def test_a_steady_rate_is_measured_over_the_long_window() -> None:
    arrivals = evenly(2.0, 300.0)
    assert rate_of(arrivals, 300.0) == pytest.approx(2.0)
    # Chance of a few more in half a minute changes nothing yet.
    more = count_arrivals(arrivals, 10.0, 302.0)
    assert rate_of(more, 302.0) == pytest.approx(2.0, rel=0.04)


def test_a_burst_is_seen_within_the_short_window() -> None:
    arrivals = evenly(1.0, 300.0)
    for second in range(302, 332, 2):
        arrivals = count_arrivals(arrivals, 40.0, float(second))
    assert rate_of(arrivals, 330.0) == pytest.approx(20.0)


def test_a_sudden_rise_is_seen_within_seconds() -> None:
    arrivals = evenly(3.0, 300.0)
    for second in (302, 304, 306):
        arrivals = count_arrivals(arrivals, 48.0, float(second))
    assert rate_of(arrivals, 306.0) == pytest.approx(24.0)


@pytest.mark.parametrize("came", [0.0, 14.0])
def test_a_few_more_or_fewer_in_seconds_are_chance(came: float) -> None:
    arrivals = evenly(3.0, 300.0)
    for second in (302, 304, 306):
        arrivals = count_arrivals(arrivals, came if second == 306 else 6.0, float(second))
    assert rate_of(arrivals, 306.0) == pytest.approx(3.0, rel=0.03)


def test_silence_is_seen_within_the_short_window() -> None:
    arrivals = evenly(10.0, 300.0)
    for second in range(302, 334, 2):
        arrivals = count_arrivals(arrivals, 0.0, float(second))
    assert rate_of(arrivals, 332.0) == 0.0


@pytest.mark.parametrize("rate", [0.05, 0.15, 0.2, 0.5, 1.0, 10.0])
def test_a_rate_that_has_ended_does_not_come_back(rate: float) -> None:
    arrivals = evenly(rate, 300.0)
    before, rates = rate, []
    for second in range(302, 602, 2):
        arrivals = count_arrivals(arrivals, 0.0, float(second))
        rates.append(rate_of(arrivals, float(second)))
        assert rates[-1] <= before * 1.0001
        before = rates[-1]
    # What may be chance is believed for as long as the long window has it.
    ends = 30 if rate > 0.18 else LONG_S
    assert [bool(each) for each in rates] == [2 * look < ends - 2 for look in range(150)]
    # The next request counts from the end of the last ones.
    arrivals = count_arrivals(arrivals, 1.0, 602.0)
    assert rate_of(arrivals, 602.0) == pytest.approx(1 / LONG_S, rel=0.04)


@given(st.lists(st.integers(0, 40), max_size=90), st.lists(st.integers(0, 3), max_size=30))
def test_silence_stays_silent(many: list[int], few: list[int]) -> None:
    arrivals, time = count_arrivals((), 0.0, 0.0), 0.0
    for came in (*many, *few):
        time += 2
        arrivals = count_arrivals(arrivals, float(came), time)
    rates = []
    for _ in range(90):
        time += 2
        arrivals = count_arrivals(arrivals, 0.0, time)
        rates.append(rate_of(arrivals, time))
    ended = rates.index(0.0)
    assert ended <= 62
    assert not any(rates[ended:])


def test_arrivals_are_remembered_as_long_as_needed() -> None:
    arrivals = evenly(1.0, 1000.0)
    assert arrivals[0][0] <= 1000.0 - LONG_S
    assert len(arrivals) <= LONG_S / 2 + 2


def engine(pod: str, requests: float, prompt: float, output: float) -> EngineSample:
    timings = Timings(requests=requests, prompt_tokens=prompt, generated_tokens=output)
    return EngineSample(pod, 0, 0, None, timings=timings)


def test_lengths_come_from_differences_of_each_engine() -> None:
    history = measure_lengths(History(), [engine("a", 100, 9e9, 9e9), engine("b", 0, 0, 0)])
    assert history.lengths == Lengths()  # what was before is not known
    history = measure_lengths(
        history, [engine("a", 101, 9e9 + 500, 9e9 + 50), engine("b", 1, 100, 10)]
    )
    found = history.lengths
    assert found.prompt_tokens / found.requests == pytest.approx(300, rel=0.01)
    assert found.output_tokens / found.requests == pytest.approx(30, rel=0.01)


def test_an_engine_that_began_anew_or_is_gone_adds_nothing() -> None:
    history = measure_lengths(History(), [engine("a", 100, 1000, 1000)])
    again = measure_lengths(history, [engine("a", 2, 20, 20)])
    assert again.lengths == Lengths()
    gone = measure_lengths(again, [])
    assert gone.engines == {}
    silent = measure_lengths(again, [EngineSample("a", 0, 0, None)])
    assert silent.lengths == Lengths()
