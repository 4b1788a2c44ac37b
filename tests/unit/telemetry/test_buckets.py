"""Histograms that latency targets are set for; nonsense is no histogram and costs no sample."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.telemetry.dialects import ITL, TTFT
from stoker.telemetry.parse import engine_sample
from stoker.telemetry.timings import buckets_of

GAUGES = "vllm:num_requests_running 3\nvllm:num_requests_waiting 0\n"


def lines(name: str, *counts: tuple[str, object], rank: int = 0) -> str:
    return "".join(
        f'{name}_bucket{{engine="{rank}",le="{edge}",model_name="a {{b}}"}} {count}\n'
        for edge, count in counts
    )


FIRST = lines(TTFT.metrics[0], ("0.1", 1), ("1.0", 5.0), ("+Inf", 6))


def test_a_histogram_and_its_ranks() -> None:
    other = lines(TTFT.metrics[0], ("0.1", 0), ("1.0", 1), ("+Inf", 1), rank=1)
    assert buckets_of(FIRST, TTFT) == ((0.1, 1), (1.0, 5), (math.inf, 6))
    assert buckets_of(FIRST + other, TTFT) == ((0.1, 1), (1.0, 6), (math.inf, 7))


def test_both_names_of_one_histogram_are_not_added_up() -> None:
    both = "".join(lines(name, ("0.01", 2), ("+Inf", 3)) for name in ITL.metrics[:2])
    assert buckets_of(both, ITL) == ((0.01, 2), (math.inf, 3))
    assert buckets_of(lines(ITL.metrics[1], ("+Inf", 3)), ITL) == ((math.inf, 3),)


def test_a_sample_has_both() -> None:
    times = lines(ITL.metrics[0], ("0.05", 2), ("+Inf", 3))
    assert engine_sample("engine-0", GAUGES + FIRST + times).ttft == ()
    sample = engine_sample("engine-0", GAUGES + FIRST + times, histograms=True)
    assert sample.ttft == buckets_of(FIRST, TTFT)
    assert sample.itl == ((0.05, 2), (math.inf, 3))
    # Labels come in any order.
    assert buckets_of(f'{TTFT.metrics[0]}_bucket{{le="+Inf"}} 7\n', TTFT) == ((math.inf, 7),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        lines(TTFT.metrics[0], ("0.1", 1)),  # no last one
        lines(TTFT.metrics[0], ("0.1", 5), ("+Inf", 1)),
        lines(TTFT.metrics[0], ("0.1", "NaN"), ("+Inf", 1)),
        lines(TTFT.metrics[0], ("-1", 0), ("+Inf", 1)),
        lines(TTFT.metrics[0], ("soon", 0), ("+Inf", 1)),
        f"{TTFT.metrics[0]}_bucket{{engine=\n",
    ],
)
def test_nonsense_is_no_histogram(text: str) -> None:
    assert buckets_of(text, TTFT) == ()
    assert engine_sample("engine-0", GAUGES + text, histograms=True).running == 3


@given(st.text())
def test_any_text_is_survived(text: str) -> None:
    buckets_of(f"{TTFT.metrics[0]}_bucket{{{text}", TTFT)
