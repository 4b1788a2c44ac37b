"""What a mix of requests gets of a configuration: the plan's own figures, at another load."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stoker.catalog.load import builtin_engines, builtin_gpus
from stoker.model.sizing import Configuration, Request, Workload
from stoker.planner.ask import Ask
from stoker.planner.calibration import Residual
from stoker.planner.estimate import Estimator, estimator_of
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


def test_without_a_price_there_is_no_cost() -> None:
    free = replace(known(), gpu=replace(known().gpu, price_per_hour=None))
    assert outlook(free, HERE, USUAL, 4).cost is None
