"""What holds for every baseline."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.simulate.baselines import BASELINES
from stoker.simulate.policy import Sample, Snapshot
from tests.unit.simulate.baselines.scenes import SETTING, Cluster, engine, look


@pytest.mark.parametrize("name", BASELINES)
def test_results_name_a_baseline_with_its_parameter(name: str) -> None:
    assert BASELINES[name](SETTING, None).name == name
    assert BASELINES[name](SETTING, 0.5).name == f"{name}:0.5"


@pytest.mark.parametrize("name", BASELINES)
def test_before_anything_is_seen_nothing_changes(name: str) -> None:
    cluster = Cluster(BASELINES[name](SETTING, None), wanted=3)
    assert cluster.ask(0.0) == 3


@pytest.mark.parametrize("name", BASELINES)
def test_a_parameter_of_zero_is_no_division_by_zero(name: str) -> None:
    cluster = Cluster(BASELINES[name](SETTING, 0.0))
    for number in range(4):
        cluster.ask(180.0 * number, busy(180.0 * number, number))
    assert cluster.wanted >= 0


@pytest.mark.parametrize("name", BASELINES)
def test_a_policy_is_pure(name: str) -> None:
    policy = BASELINES[name](SETTING, None)
    first, second = Cluster(policy), Cluster(policy)
    asked = []
    for cluster in (first, second):
        for number in range(40):
            cluster.ask(10.0 * number, busy(10.0 * number, number))
        asked.append((cluster.wanted, cluster.last))
    assert asked[0] == asked[1]


@pytest.mark.parametrize("name", BASELINES)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_whatever_is_seen_is_answered_with_a_number_and_a_reason(name: str, data: Any) -> None:
    policy = BASELINES[name](SETTING, None)
    history, wanted, now, total = policy.begin(), 1, 0.0, 0
    latest: Snapshot | None = None
    for _ in range(data.draw(st.integers(1, 12))):
        now += data.draw(st.sampled_from([0.1, policy.pipeline.tick_s, 3600.0]))
        ready = data.draw(st.integers(0, wanted))
        total += data.draw(st.integers(0, 1000))
        answered = data.draw(st.integers(0, total))
        engines = [
            engine(
                data.draw(st.integers(0, 100)),
                data.draw(st.integers(0, 50)),
                kv=data.draw(st.floats(0.0, 1.0)),
                tokens=data.draw(st.integers(0, 100_000)),
                pod=pod,
            )
            for pod in range(ready)
        ]
        latest = look(
            now,
            *engines,
            held=data.draw(st.integers(0, 500)),
            requests_total=total,
            input_tokens_total=500 * total,
            finished_total=answered,
            output_tokens_total=100 * answered,
        )
        sample = Sample(wanted, wanted, ready, (latest,), latest)
        decision = policy.decide(history, sample, now)
        assert isinstance(decision.replicas, int)
        assert decision.replicas >= 0
        assert decision.reason
        history, wanted = decision.history, min(decision.replicas, 20)


@pytest.mark.parametrize("name", BASELINES)
def test_a_lasting_flood_brings_more_replicas(name: str) -> None:
    policy = BASELINES[name](SETTING, None)
    cluster, now = Cluster(policy), 0.0
    while now < 1500.0 and cluster.wanted < 3:
        engines = [
            engine(100, 40, kv=0.99, tokens=99_000, pod=each) for each in range(cluster.wanted)
        ]
        rate = 600.0  # per second: above the 140 per replica of Knative's default
        seen = look(
            now,
            *engines,
            held=400,
            requests_total=math.floor(rate * now),
            input_tokens_total=1000 * math.floor(rate * now),
            finished_total=math.floor(now),
            output_tokens_total=200 * math.floor(now),
        )
        cluster.ask(now, seen)
        now += policy.pipeline.tick_s
    assert cluster.wanted >= 3


def busy(time: float, number: int) -> Snapshot:
    """A service that gets busier."""
    return look(
        time,
        engine(number % 50, number % 7, kv=(number % 10) / 10, tokens=1000 * (number % 90)),
        held=number % 3,
        requests_total=10 * number,
        input_tokens_total=5000 * number,
        finished_total=9 * number,
        output_tokens_total=900 * number,
    )
