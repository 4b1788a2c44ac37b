"""llm-d's autoscaler against figures computed by hand from its analyzers and their thresholds."""

import math
from typing import Any

import pytest

from stoker.simulate.baselines.readings import Traffic
from stoker.simulate.baselines.wva import Peak, Seen
from stoker.simulate.baselines.wva_queueing import (
    Coefficients,
    Model,
    Queueing,
    coefficients_of,
    wva_queueing,
)
from stoker.simulate.baselines.wva_saturation import Percentages, Tokens, wva_v1, wva_v2
from stoker.simulate.policy import Targets
from stoker.simulate.service import Linear, LinearSteps
from tests.unit.simulate.baselines.scenes import SETTING, Cluster, changes, engine, look

LENGTHS = Traffic(300.0, 300, 1000.0, 200.0)


def seen(*peaks: Peak, held: int = 0, created: int | None = None, rate: float = 1.0) -> Seen:
    named = {f"pod-{number}": each for number, each in enumerate(peaks)}
    minute = Traffic(60.0, int(60 * rate), 1000.0, 200.0)
    count = len(peaks) if created is None else created
    return Seen(named, held, LENGTHS, minute, count, len(peaks))


def v1(*peaks: Peak, **more: Any) -> int:
    return Percentages().analyze(None, seen(*peaks, **more))[0]


@pytest.mark.parametrize(
    ("kv", "waiting", "expected"),
    [
        (0.69, 0, 1),  # spare 0.11 and 5; one alone is never taken away
        (0.71, 0, 2),  # spare 0.09
        (0.10, 2, 1),  # spare queue 3 is not below 3
        (0.10, 3, 2),
        (0.85, 0, 2),  # saturated: nothing is spare
    ],
)
def test_v1_adds_one_when_little_is_spare(kv: float, waiting: int, expected: int) -> None:
    assert v1(Peak(kv, 0, waiting)) == expected


def test_v1_takes_one_when_the_others_can_bear_its_load() -> None:
    # Two with 0.30: one with 0.60 has 0.20 spare. With 0.36 it would have 0.08.
    assert v1(Peak(0.30, 0, 0), Peak(0.30, 0, 0)) == 1
    assert v1(Peak(0.36, 0, 0), Peak(0.36, 0, 0)) == 2
    # Queues of 1: 2 after that, spare 3 as the trigger is. A queue of 2 would be 4, spare 1.
    assert v1(Peak(0.1, 0, 1), Peak(0.1, 0, 1)) == 1
    assert v1(Peak(0.1, 0, 2), Peak(0.1, 0, 2)) == 2


def test_v1_counts_only_what_is_not_saturated() -> None:
    # 0.9 is saturated; the other has 0.60 spare, but is alone.
    assert v1(Peak(0.9, 0, 0), Peak(0.2, 0, 0)) == 2


def test_v1_holds_while_not_all_report() -> None:
    assert v1(Peak(0.9, 0, 9), created=2) == 2


def test_v2_asks_for_tokens_over_85_percent_of_what_there_is() -> None:
    tokens = Tokens(kv_tokens=100_000, step_tokens=2048, sequences=100)
    # No observation: n = min(2048 · 200/1200, 100) = 100, k2 = 100 · 1100 = 110,000; k1 = 80,000.
    replicas, _, memory = tokens.analyze(tokens.first(), seen(Peak(0.6, 68_000, 0)))
    assert (replicas, memory.capacity) == (1, 80_000)  # 68,000/0.85 is all of 80,000
    assert tokens.analyze(memory, seen(Peak(0.6, 68_001, 0)))[0] == 2
    # 100 held of 1,200 tokens each: (68,000 + 120,000)/0.85 = 221,177: 2 more, less what comes.
    assert tokens.analyze(memory, seen(Peak(0.6, 68_000, 0), held=100))[0] == 3
    assert tokens.analyze(memory, seen(Peak(0.6, 68_000, 0), held=100, created=3))[0] == 3


def test_v2_learns_what_a_replica_bears_from_its_queue() -> None:
    tokens = Tokens(kv_tokens=100_000, step_tokens=2048, sequences=100)
    # Six wait: 50,000 in use is what it can do. (50,000 + 6 · 1,000)/0.85 = 65,883: one more.
    replicas, _, memory = tokens.analyze(tokens.first(), seen(Peak(0.5, 50_000, 6)))
    assert (replicas, memory.capacity, memory.observed["medium"]) == (2, 50_000, (50_000.0,))
    # The mean of 50,000 and 30,000 counts as long as nobody waits.
    _, _, memory = tokens.analyze(memory, seen(Peak(0.3, 30_000, 5)))
    replicas, _, memory = tokens.analyze(memory, seen(Peak(0.3, 30_000, 0)))
    assert (replicas, memory.capacity) == (1, 40_000)


def test_v2_takes_away_what_70_percent_does_not_need() -> None:
    tokens = Tokens(kv_tokens=100_000, step_tokens=2048, sequences=100)
    four = [Peak(0.1, 10_000, 0)] * 4
    # 4 · 80,000 - 40,000/0.7 = 262,857: three replicas' worth.
    assert tokens.analyze(tokens.first(), seen(*four))[0] == 1
    busy = [Peak(0.5, 45_000, 0)] * 4
    # 320,000 - 180,000/0.7 = 62,857: less than one.
    assert tokens.analyze(tokens.first(), seen(*busy))[0] == 4


def test_the_queueing_model_of_one_request_at_once_with_one_place_to_wait() -> None:
    # Every iteration takes 0.1 s; 1 prefill and 9 decodes: 1 s of service.
    model = Model(Coefficients(0.1, 0.0, 0.0), prompt=10.0, output=9.0, batch=1, queue=1)
    assert model.rates() == pytest.approx([1.0])
    # Half a request per second: weights 1, 1/2, 1/4. Served (1/2 + 1/4)/1.75 = 3/7 on average,
    # through 0.5 · (1 - 1/7) = 3/7: 1 s. Present 4/7: 4/3 s, of which 1/3 waiting.
    times = model.times(0.5, model.rates())
    assert times.wait == pytest.approx(1 / 3)
    assert times.itl == pytest.approx(0.1)
    assert times.ttft == pytest.approx(1 / 3 + 0.2)


def test_the_queueing_model_of_a_batch_of_two() -> None:
    # T(n) = 0.1 + n · 0.01 · 20/11, prefill = T + 0.1, decode = T + 0.01.
    model = Model(Coefficients(0.1, 0.01, 0.0), prompt=10.0, output=10.0, batch=2, queue=2)
    one, two = 0.1 + 0.2 / 11, 0.1 + 0.4 / 11
    rates = [1 / (one + 0.1 + 10 * (one + 0.01)), 2 / (two + 0.1 + 10 * (two + 0.01))]
    assert model.rates() == pytest.approx(rates)
    first, second = 1 / rates[0], 1 / rates[0] / rates[1]
    weights = [1.0, first, second, second / rates[1], second / rates[1] ** 2]
    total = sum(weights)
    served = (weights[1] + 2 * sum(weights[2:])) / total
    present = sum(number * each for number, each in enumerate(weights)) / total
    through = 1 - weights[4] / total
    found = model.times(1.0, model.rates())
    assert found.wait == pytest.approx((present - served) / through)
    prefill = 0.1 + served * 0.2 / 11 + 0.1
    assert found.itl == pytest.approx((served / through - prefill) / 10)


def test_the_largest_rate_is_where_a_target_is_just_met() -> None:
    model = Model(Coefficients(0.1, 0.01, 0.0), prompt=10.0, output=10.0, batch=20, queue=200)
    rate = model.largest_rate(Targets(ttft_s=10.0, itl_s=0.2))
    assert rate is not None
    assert model.times(rate, model.rates()).itl == pytest.approx(0.2)
    assert model.largest_rate(Targets(ttft_s=10.0, itl_s=0.05)) is None
    assert model.largest_rate(Targets(ttft_s=1e9, itl_s=1e9)) == pytest.approx(
        0.999 * model.rate(20)
    )


def test_coefficients_are_those_of_the_service() -> None:
    steps = LinearSteps(Linear(0.01, 0.0, 2e-7, prompt_token_s=1e-4))
    of = coefficients_of(steps, 100, prompt=1000.0, output=199.0)
    assert of.fixed == pytest.approx(0.01)
    assert of.memory == pytest.approx(2e-7)
    # A request has 1000/200 tokens of prompt in each iteration, and the model counts 1199/200.
    assert of.compute == pytest.approx(1e-4 * 1000 / 1199)


def test_coefficients_are_taken_where_an_iteration_computes_all_prompts_that_come() -> None:
    # 100 requests would bring 5,000 tokens of prompt, and an iteration computes 2,048.
    steps = LinearSteps(Linear(0.01, 0.0, 0.0, prompt_token_s=1e-4, chunk=2048))
    of = coefficients_of(steps, 100, prompt=5000.0, output=99.0)
    assert of.compute == pytest.approx(1e-4 * 5000 / 5099)


def test_replicas_are_the_rate_over_what_one_bears() -> None:
    queueing = Queueing(LinearSteps(Linear(0.01, 0.0, 2e-7, 1e-4)), 50, Targets(2.0, 0.05))
    of = coefficients_of(queueing.steps, 50, 1000.0, 200.0)
    bears = Model(of, 1000.0, 200.0, 50, 500).largest_rate(queueing.targets)
    assert bears is not None
    assert queueing.analyze(None, seen(rate=bears * 2.5, created=1))[0] == math.ceil(
        int(60 * bears * 2.5) / 60 / bears
    )


def test_the_loop_sees_the_peaks_of_a_minute_20_s_late_and_asks_every_60_s() -> None:
    pipeline = wva_v1(SETTING, None).pipeline
    # Half of 15 s of the engines' scrape, then half of 10 s and half of 15 s until it is obeyed.
    assert (pipeline.tick_s, pipeline.scrape_s, pipeline.lag_s) == (60.0, 7.5, 20.0)
    cluster = Cluster(wva_v1(SETTING, None))
    answers = []
    for tick in range(5):
        readings = [
            look(60.0 * tick + each, engine(kv=0.9 if (tick, each) == (1, 15) else 0.1))
            for each in (15, 30, 45, 60)
        ]
        answers.append((60.0 * tick, cluster.ask(60.0 * tick, *readings, instant=False)))
    # One reading of 0.9 in the second minute is enough; the second replica never reports.
    assert changes(answers) == [(0.0, 1), (60.0, 2)]


def test_zero_takes_ten_minutes_without_a_request_and_the_gateways_queue_wakes() -> None:
    cluster = Cluster(wva_v2(SETTING, None))
    answers = []
    for tick in range(14):
        now = 60.0 * tick
        answers.append((now, cluster.ask(now, look(now, engine(), requests_total=min(tick, 2)))))
    # The last request is counted at 120 s.
    assert changes(answers) == [(0.0, 1), (720.0, 0)]
    assert cluster.policy.pipeline.wake_s == pytest.approx(0.1)
    assert cluster.ask(800.3, look(800.3, held=1)) == 1


def test_the_parameter_of_the_queueing_analyzer_is_a_share_of_the_targets() -> None:
    policy = wva_queueing(SETTING, 0.5)
    assert policy.name == "wva-queueing:0.5"
    assert policy.analyzer.targets == Targets(1.0, 0.05)  # type: ignore[attr-defined]
