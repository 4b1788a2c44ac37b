"""Dynamo's planner against figures computed by hand from its source.

An iteration of the engine takes 10 ms and 0.1 ms per token of prompt, 2048 tokens at most.
"""

import pytest

from stoker.simulate.baselines.dynamo import (
    dynamo,
    dynamo_constant,
    dynamo_load,
    dynamo_thresholds,
    dynamo_throughput,
)
from stoker.simulate.baselines.dynamo_engine import Engine, Load
from stoker.simulate.baselines.forecasts import Forecast, Method
from stoker.simulate.policy import Setting, Snapshot, Targets
from stoker.simulate.service import Linear, measured_service
from tests.unit.simulate.baselines.scenes import SETTING, Cluster, changes, engine, look

ENGINE = Engine(SETTING.service, prompt=1000.0, output=200.0)


def observed(method: Method, *values: float) -> Forecast:
    forecast = Forecast(method)
    for each in values:
        forecast = forecast.observed(each)
    return forecast


def counted(time: float, requests: int, *engines: object) -> Snapshot:
    """Requests of 1000 tokens, of which as many have been answered with 200."""
    return look(
        time,
        *engines,  # type: ignore[arg-type]
        requests_total=requests,
        input_tokens_total=1000 * requests,
        finished_total=requests,
        output_tokens_total=200 * requests,
    )


@pytest.mark.parametrize(
    ("targets", "rate"),
    [
        # x sequences bring 5 x tokens of prompt in each iteration: 10 ms + 0.5 ms · x.
        (Targets(ttft_s=2.0, itl_s=0.0501), 80 / (200 * 0.05)),
        # Of 1100 tokens each, the cache holds 90.
        (Targets(ttft_s=2.0, itl_s=0.1), 90 / (200 * 0.055)),
        # The next prompt takes 10 ms + 0.1 ms · (1000 + 5 x): 120 ms with 20.
        (Targets(ttft_s=0.1201, itl_s=0.1), 20 / (200 * 0.02)),
        # One sequence takes 10.5 ms: missed, and counted all the same.
        (Targets(ttft_s=2.0, itl_s=0.01), 1 / (200 * 0.0105)),
    ],
)
def test_the_best_rate_of_an_engine_is_that_before_a_target_is_missed(
    targets: Targets, rate: float
) -> None:
    assert ENGINE.best_rate(targets) == pytest.approx(rate)


def test_the_kv_cache_bounds_the_sequences() -> None:
    service = measured_service(Linear(0.01, 0.0, 0.0, 0.0001), kv_tokens=5500, max_num_seqs=100)
    # Five of 1000 + 200/2 tokens: 5/(200 · 12.5 ms).
    assert Engine(service, 1000.0, 200.0).best_rate(Targets()) == pytest.approx(2.0)


def test_the_next_prompt_waits_for_those_before_it_step_by_step() -> None:
    # 4000 that wait and 1000 of its own: 2 · (10 + 204.8) + 10 + 90.4 ms.
    assert ENGINE.ttft_s(Load(10, 10_000, 4000)) == pytest.approx(0.53)


def test_one_sequence_more_makes_the_time_between_tokens() -> None:
    # 11 sequences bring 55 tokens of prompt.
    assert ENGINE.itl_s(Load(10, 10_000, 0)) == pytest.approx(0.0155)


def test_a_constant_forecast_is_the_last_value_after_leading_zeros() -> None:
    assert observed("constant", 0, 0).next == 0
    assert observed("constant", 0, 5, 3, 0).next == 0
    assert observed("constant", 5, 3).next == 3


def test_an_arima_forecast_goes_on_with_a_share_of_the_last_change() -> None:
    # Below five values it is the last one.
    assert observed("arima", 1, 2, 4, 8).next == 8
    # Changes 1, 2, 4, 8: phi = (1·2 + 2·4 + 4·8)/(1 + 4 + 16) = 2, kept below 1.
    assert observed("arima", 1, 2, 4, 8, 16).next == pytest.approx(16 + 0.99 * 8)
    # Changes 8, 4, 2, 1: phi = (32 + 8 + 2)/(64 + 16 + 4) = 0.5.
    assert observed("arima", 1, 9, 13, 15, 16).next == pytest.approx(16.5)
    # Changes 10, -10, 10, -10: phi = -1, kept above -1.
    assert observed("arima", 10, 20, 10, 20, 10).next == pytest.approx(10 + 9.9)
    assert observed("arima", 7, 7, 7, 7, 7).next == 7


def test_a_kalman_forecast_follows_level_and_slope() -> None:
    first = observed("kalman", 100)
    assert first.next == 100
    # Before the second value: variance 1000 + 1000 + 1, covariance 1000. Gains 2001/2011 and
    # 1000/2011 of a surprise of 10.
    second = first.observed(110)
    assert second.next == pytest.approx(100 + 10 * (2001 + 1000) / 2011)
    assert observed("kalman", *range(100, 400, 10)).next == pytest.approx(400, abs=1.0)


def test_throughput_is_planned_every_180_s_for_the_forecast_rate() -> None:
    setting = Setting(SETTING.service, SETTING.starts, SETTING.bounds, Targets(2.0, 0.0501))
    cluster = Cluster(dynamo_constant(setting, None))
    answers = []
    for interval in range(5):
        now = 180.0 * interval
        # 16 requests per second in the first two intervals, 2.5 in the third, none in the fourth.
        came = (0, 2880, 5760, 6210, 6210)[interval]
        answers.append((now, cluster.ask(now, counted(now, came))))
    # 8 per engine (80 sequences): two replicas; then one. Without requests there are no lengths,
    # and nothing changes.
    assert changes(answers) == [(0.0, 1), (180.0, 2), (540.0, 1)]
    assert cluster.last.reason == "no lengths to plan for"


def test_the_rate_is_that_of_the_prediction() -> None:
    cluster = Cluster(dynamo_throughput(SETTING, None))
    total = 0
    for interval, came in enumerate((0, 180, 1620, 2340, 2700, 2880)):
        total += came
        cluster.ask(180.0 * interval, counted(180.0 * interval, total))
    # 1, 9, 13, 15, 16 per second: 16.5 next. The cache holds 90: 8.18 per engine.
    assert cluster.last.reason == "16.50 requests/s forecast, 8.18 per replica"
    assert cluster.wanted == 3


def loaded(cluster: Cluster, *engines: object) -> int:
    cluster.ask(0.0, counted(0.0, 0, *engines))
    return cluster.ask(5.0, counted(5.0, 10, *engines))


def test_load_adds_one_when_all_engines_are_late() -> None:
    # 20 prompts wait: 21,000 tokens, 2.2 s.
    late, early = engine(10, 20, tokens=10_000), engine(10, 0, tokens=10_000, pod=1)
    assert loaded(Cluster(dynamo_load(SETTING, None)), late) == 2
    assert loaded(Cluster(dynamo_load(SETTING, None), 2), late, early) == 2
    # 200 sequences bring 1005 tokens of prompt to each iteration: 110 ms.
    slow = engine(200, 0, tokens=10_000)
    assert loaded(Cluster(dynamo_load(SETTING, None)), slow) == 2


def test_load_takes_one_when_each_bears_the_load_of_one_fewer() -> None:
    idle = [engine(10, 0, tokens=10_000, pod=each) for each in range(2)]
    assert loaded(Cluster(dynamo_load(SETTING, None), 2), *idle) == 1
    # 60,000 tokens would be 120,000, and the cache holds 100,000.
    full = [engine(10, 0, tokens=60_000, pod=each) for each in range(2)]
    assert loaded(Cluster(dynamo_load(SETTING, None), 2), *full) == 2
    # 8 prompts would be 16: 16,000 tokens make 1.68 s more, and 0.8 · (2 - 0.11) = 1.51 are left.
    queued = [engine(10, 8, tokens=10_000, pod=each) for each in range(2)]
    assert loaded(Cluster(dynamo_load(SETTING, None), 2), *queued) == 2
    # 70 sequences would be 140 and one: 705 tokens, 80.5 ms, above 80 % of 100 ms.
    slow = [engine(70, 0, tokens=10_000, pod=each) for each in range(2)]
    assert loaded(Cluster(dynamo_load(SETTING, None), 2), *slow) == 2


def test_thresholds_add_for_any_engine_above_its_cache_and_take_when_all_are_below_60_percent() -> (
    None
):
    def asked(*tokens: int, waiting: int = 0) -> int:
        engines = [engine(1, waiting, tokens=each, pod=pod) for pod, each in enumerate(tokens)]
        return loaded(Cluster(dynamo_thresholds(SETTING, None), len(tokens)), *engines)

    assert asked(99_000, 10_000) == 2
    assert asked(99_000, 10_000, waiting=2) == 3  # 2000 tokens of prompt more
    assert asked(59_000, 59_000) == 1
    assert asked(61_000, 10_000) == 2
    assert asked(10_000) == 1


def test_nothing_is_done_while_replicas_are_on_their_way() -> None:
    cluster = Cluster(dynamo_load(SETTING, None))
    late = engine(10, 20, tokens=10_000)
    assert loaded(cluster, late) == 2
    cluster.ready = 1
    for tick in range(2, 1000):
        cluster.ask(5.0 * tick, counted(5.0 * tick, 10 * tick, late), instant=False)
    assert cluster.wanted == 2


def test_lengths_are_remembered_through_an_idle_time() -> None:
    cluster = Cluster(dynamo_load(SETTING, None))
    idle = [engine(0, 0, pod=each) for each in range(3)]
    loaded(cluster, engine(10, 0, tokens=10_000))
    for tick in range(2, 100):
        cluster.ask(5.0 * tick, counted(5.0 * tick, 10, idle[0]))
    cluster.wanted = cluster.ready = 3  # somebody asked for more
    assert cluster.ask(500.0, counted(500.0, 10, *idle)) == 2
    assert cluster.ask(505.0, counted(505.0, 10, *idle[:2])) == 1


def test_with_both_loops_throughput_is_the_floor_of_load() -> None:
    cluster = Cluster(dynamo(SETTING, None))
    for tick in range(37):
        now = 5.0 * tick
        engines = [engine(1, 0, tokens=1000, pod=each) for each in range(cluster.wanted)]
        # 20 requests per second: three engines of 8.18, although each is nearly idle.
        cluster.ask(now, counted(now, 100 * tick, *engines))
    assert (cluster.wanted, cluster.last.reason[-7:]) == (3, "floor 3")
