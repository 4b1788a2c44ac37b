"""Fixed numbers, and the one that knows the future."""

import pytest

from stoker.planner.batching import Arrival
from stoker.planner.work import work_of
from stoker.simulate.need import Need, need_of
from stoker.simulate.policy import Policy, Sample, Setting, Targets
from stoker.simulate.reference import Oracle, Static, oracle, static, static_mean, static_peak
from stoker.simulate.registry import POLICIES, UnknownPolicy, policy_of
from stoker.simulate.run import simulate
from stoker.simulate.service import Linear, LinearSteps, measured_service
from tests.unit.simulate.worlds import SERVICE, STARTS, requests, setting

NOBODY = Sample(0, 0, 0, (), None)


def answer(policy: Policy, now: float) -> int:
    return policy.decide(policy.begin(), NOBODY, now).replicas


def test_a_time_model_that_is_a_sum_is_taken_apart_exactly() -> None:
    of = Linear(0.01, 1e-4, 1e-7, 1e-5, 1e-9, chunk=4096)
    found = work_of(LinearSteps(of), 128, 10**6, 1000.0, 1000.0, 0.05)
    for name in ("step_s", "sequence_s", "context_token_s", "prompt_token_s", "prompt_key_s"):
        assert getattr(found, name) == pytest.approx(getattr(of, name))


def test_need_is_the_time_that_requests_take() -> None:
    # A step of 0.01 s in a target of 0.1 s leaves 0.09 s, of which 0.9 are planned with. Each of
    # 100 sequences takes 0.001 s of it, for 100 steps of 0.1 s.
    service = measured_service(Linear(0.01, 0.001, 0.0, 0.0, chunk=1000), 10**6, 200)
    arrivals = tuple(Arrival(20.0, 10, 100) for _ in range(100))
    need = need_of(service, Targets(2.0, 0.1), arrivals, 60.0)
    assert need.bucket_s == 5.0
    assert need.replicas == pytest.approx([0, 0, 0, 0, *[0.1 / 0.081] * 3, 0, 0, 0, 0, 0])


def test_need_is_the_places_and_the_tokens_too() -> None:
    arrivals = tuple(Arrival(0.0, 10, 100) for _ in range(90))
    few = measured_service(Linear(0.01, 0.0, 0.0, 0.0, chunk=1000), 10**6, 20)
    assert need_of(few, Targets(2.0, 0.1), arrivals, 5.0).peak == pytest.approx(90 / 18)
    small = measured_service(Linear(0.01, 0.0, 0.0, 0.0, chunk=1000), 1000, 200)
    assert need_of(small, Targets(2.0, 0.1), arrivals, 5.0).peak == pytest.approx(90 * 60 / 900)


def test_peak_and_mean() -> None:
    assert (Need(5.0, (0.0, 3.0, 1.5)).peak, Need(5.0, (0.0, 3.0, 1.5)).mean) == (3.0, 1.5)


def test_static_numbers_are_there_from_the_start() -> None:
    world = setting(requests((0, 50, 2)), initial=1)
    found = simulate(world, static(world, 3))
    assert (found.replicas_mean, found.starting_s, found.pods) == (3.0, 0.0, 3)
    assert static(world, None) == Static("static:1", 1)


def test_static_peak_and_mean_follow_the_need() -> None:
    # 16 sequences at once for some 20 s, then one for as long.
    burst = requests(*[(100.0, 10, 10)] * 16, (1000.0, 10, 10))
    world = setting(burst, maximum=20)
    need = need_of(SERVICE, world.targets, burst, 1600.0)
    assert answer(static_peak(world, None), 0) == -(-need.peak // 1) == 5
    assert answer(static_mean(world, None), 0) == 1
    assert answer(static_peak(world, 2.0), 0) == -(-need.peak * 2 // 1)


def test_the_oracle_asks_one_start_before_the_need_and_keeps_through_short_gaps() -> None:
    world = setting(requests((1000, 10, 10), (1150, 10, 10), (4000, 10, 10)), initial=0)
    schedule = oracle(world, None)
    assert isinstance(schedule, Oracle)
    # A start takes 200 s, and the oracle looks every 5 s. A request is there for 20.1 s at the
    # target's pace, so in five buckets; the gap of 125 s is shorter than a start.
    assert schedule.times == (0.0, 795.0, 1175.0, 3795.0, 4025.0)
    assert schedule.replicas == (0, 1, 0, 1, 0)
    found = simulate(world, schedule)
    assert found.ttft_attained == 1.0
    assert found.accelerator_s == pytest.approx(1175 - 795 + 4025 - 3795)


def test_what_is_needed_at_once_the_oracle_has_asked_for_before() -> None:
    world = setting(requests(*[(30.0, 10, 10)] * 9), initial=0)
    found = simulate(world, oracle(world, None))
    assert found.ttft_attained == 1.0
    assert found.starting_s == 0.0


def test_every_policy_has_a_name_and_answers() -> None:
    world = setting(requests((0, 50, 2)))
    for name in POLICIES:
        policy = policy_of(name, world)
        assert policy.name
        assert policy.pipeline.tick_s > 0
        assert answer(policy, 10.0) >= 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("magic", "magic: no such policy; write one of stoker, stoker-queue, static"),
        ("static:", "static:: '' is no number; write it as static:2"),
        ("static:two", "static:two: 'two' is no number"),
        ("static:-1", "static:-1: '-1' is no number"),
        ("static:inf", "static:inf: 'inf' is no number"),
        ("static:nan", "static:nan: 'nan' is no number"),
    ],
)
def test_a_policy_that_is_none_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(UnknownPolicy) as caught:
        policy_of(text, Setting(SERVICE, STARTS, setting(()).bounds, Targets()))
    assert str(caught.value).startswith(words)
