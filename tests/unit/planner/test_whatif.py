"""What a mix of requests gets of a configuration: the plan's own figures, at another load."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from stoker.catalog.load import builtin_engines, builtin_gpus
from stoker.model.sizing import Configuration, Request, Workload
from stoker.planner.ask import Ask
from stoker.planner.batching import Arrival, Engine, Job
from stoker.planner.calibration import Residual
from stoker.planner.estimate import Estimator, estimator_of
from stoker.planner.steps import PlannedSteps
from stoker.planner.whatif import Mix, outlook
from tests.support.families import FAMILIES

FACTS = FAMILIES["llama-3.1-8b"].facts
HERE = Configuration("nvidia-l4", max_num_seqs=16, max_model_len=8192)
USUAL = Mix(1024, 1024, 256)


def known(**taught: float) -> Estimator:
    features = builtin_engines()["vllm"].at("0.33.0", ())
    found = estimator_of(
        Ask(Request(), FACTS, features), builtin_gpus()["nvidia-l4"], Workload(), "0.33.0"
    )
    calibration = replace(found.calibration, residual=Residual(**taught))
    return replace(found, calibration=calibration)


@pytest.mark.parametrize("taught", [{}, {"itl": 1.4, "ttft": 0.8}])
@pytest.mark.parametrize("at_once", [1, 8, 16])
def test_for_the_requests_of_the_plan_it_is_what_the_plan_expects(
    at_once: int, taught: dict[str, float]
) -> None:
    estimator = known(**taught)
    expected = estimator.expected(HERE, at_once)
    found = outlook(estimator, HERE, USUAL, at_once)
    assert found.itl_s == pytest.approx(expected.itl_s.typical)
    assert found.tokens_per_s == pytest.approx(expected.output_tokens_per_s.typical)
    assert expected.cost_per_million_tokens is not None
    assert found.cost == pytest.approx(expected.cost_per_million_tokens.typical)


def test_what_the_prefix_cache_had_is_not_computed_again() -> None:
    all_new = outlook(known(), HERE, USUAL, 16)
    found = outlook(known(), HERE, replace(USUAL, computed=128), 16)
    assert found.itl_s < all_new.itl_s
    assert found.tokens_per_s > 1.1 * all_new.tokens_per_s


def test_requests_that_are_put_off_are_computed_again() -> None:
    rates = [
        outlook(known(), HERE, replace(USUAL, put_off=times), 16).tokens_per_s
        for times in (0.0, 0.2, 1.0)
    ]
    assert rates == sorted(rates, reverse=True)
    # Once each: the steps compute more than twice as many tokens of prompts.
    twice = outlook(known(), HERE, Mix(1024, 2 * 1024 + 128, 256), 16)
    again = outlook(known(), HERE, replace(USUAL, put_off=1), 16)
    assert again.itl_s == pytest.approx(twice.itl_s)


def served(places: int, kv_tokens: int, prompt: int, generated: int) -> tuple[float, float]:
    """Tokens per second and times put off of a full engine, by the scheduler step by step."""
    lengths = random.Random(1)  # noqa: S311 - lengths of requests

    def length(mean: int) -> int:
        return int(lengths.uniform(0.5 * mean, 1.5 * mean))

    jobs = [Job(n, Arrival(0.0, length(prompt), length(generated))) for n in range(400)]
    engine = Engine(PlannedSteps(known().pace(HERE)), kv_tokens, places)
    for job in jobs:
        engine.submit(job, 0.0)
    while engine.running or engine.waiting:
        engine.advance()
    ended = sorted(job.ended for job in jobs)
    rate = 240 * generated / (ended[319] - ended[79])  # while it is full
    return rate, engine.put_off / len(jobs)


@pytest.mark.parametrize(("prompt", "generated"), [(1024, 256), (200, 400), (3000, 100)])
def test_more_places_bring_what_the_scheduler_serves_with_them(prompt: int, generated: int) -> None:
    mix = Mix(prompt, prompt, generated)
    for few in (4, 8, 16):
        told = [outlook(known(), HERE, mix, places).tokens_per_s for places in (few, 2 * few)]
        found = [served(places, 10**6, prompt, generated)[0] for places in (few, 2 * few)]
        assert told[1] / told[0] == pytest.approx(found[1] / found[0], rel=0.04)


@pytest.mark.parametrize(("prompt", "generated"), [(1024, 256), (200, 400)])
def test_a_cache_that_is_too_small_costs_what_the_scheduler_says(
    prompt: int, generated: int
) -> None:
    fit = 32_000 / (prompt + generated / 2)
    few = int(0.8 * fit)
    full, put_off = served(256, 32_000, prompt, generated)
    calm, none = served(few, 32_000, prompt, generated)
    assert put_off > 0.3
    assert none == 0
    before = outlook(known(), HERE, Mix(prompt, prompt, generated, put_off), fit)
    after = outlook(known(), HERE, Mix(prompt, prompt, generated), few)
    told = after.tokens_per_s / before.tokens_per_s
    assert told == pytest.approx(calm / full, rel=0.06)
    assert told < 1.1  # not worth a restart by itself


def test_without_a_price_there_is_no_cost() -> None:
    free = replace(known(), gpu=replace(known().gpu, price_per_hour=None))
    assert outlook(free, HERE, USUAL, 4).cost is None
