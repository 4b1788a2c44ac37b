"""Dollars per request and per token, by numbers added in the head."""

from __future__ import annotations

import pytest

from stoker.cost.figures import (
    PerToken,
    per_million,
    per_request,
    public_dollars,
    token_ratio,
)
from stoker.model.work import Work

# A step takes 10 ms and 0.1 ms per sequence; a token of prompt 0.1 ms; 100 places.
WORK = Work(0.01, 0.0001, 0.0, 0.0001, 0.0, 0.03, 100.0, 1e9, 1000.0, 200.0)


def test_input_and_output_are_the_whole_bill() -> None:
    # A million tokens in, half of them cached; 100,000 out; $3.
    found = per_million(3.0, given=1e6, computed=5e5, made=1e5, ratio=5.0)
    assert [found.input, found.output] == pytest.approx([1.5, 15.0])
    assert (found.input or 0) * 1.0 + (found.output or 0) * 0.1 == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("given", "made", "found"),
    [
        (0.0, 0.0, PerToken(None, None)),
        (1e6, 0.0, PerToken(3.0, None)),
        (0.0, 1e6, PerToken(None, 3.0)),
        (float("nan"), 1.0, PerToken(None, None)),
    ],
)
def test_tokens_that_were_not(given: float, made: float, found: PerToken) -> None:
    assert per_million(3.0, given=given, computed=given, made=made, ratio=4.0) == found


def test_a_planned_ratio_by_hand() -> None:
    # 100 sequences share the 10 ms of a step: 0.1 ms and 0.1 ms of its own, over 0.1 ms of input.
    assert token_ratio(WORK) == pytest.approx(2.0)


def test_a_smaller_batch_makes_output_dearer() -> None:
    few = Work(0.01, 0.0001, 0.0, 0.0001, 0.0, 0.03, 10.0, 1e9, 1000.0, 200.0)
    assert token_ratio(few) == pytest.approx(11.0)
    # 11,000 tokens of KV cache hold ten conversations of 1,100 tokens.
    small = Work(0.01, 0.0001, 0.0, 0.0001, 0.0, 0.03, 100.0, 11_000.0, 1000.0, 200.0)
    assert token_ratio(small) == pytest.approx(11.0)


def test_a_plan_that_tells_no_time_tells_no_ratio() -> None:
    assert token_ratio(Work(0.01, 0.0001, 0.0, 0.0, 0.0, 0.03, 10.0, 1e9, 0.0, 0.0)) is None


def test_a_request_costs_by_its_time_and_its_part_of_what_serves_nobody() -> None:
    # $6 serving and $4 idle for 100 requests; the 95th percentile lasts three times the mean.
    found = per_request(6.0, 4.0, 100, mean_s=2.0, p95_s=6.0)
    assert found is not None
    assert list(found) == pytest.approx([0.10, 0.22])
    assert per_request(6.0, 4.0, 0, mean_s=2.0, p95_s=6.0) is None
    assert per_request(6.0, 4.0, 10, mean_s=0.0, p95_s=0.0) is None


def test_a_public_api_for_the_same_tokens() -> None:
    assert public_dollars(2e6, 1e6, input_price=0.15, output_price=0.60) == pytest.approx(0.90)
