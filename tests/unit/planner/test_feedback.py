"""A running engine over the estimate for the load it had; only what both sides mean."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.catalog.load import builtin_engines, builtin_gpus
from stoker.model.sizing import Configuration, Request, Workload
from stoker.model.timing import Seen, Timings
from stoker.planner import feedback
from stoker.planner.ask import Ask
from stoker.planner.calibration import Calibration, Residual, calibration_of, corrected
from stoker.planner.estimate import Estimator, estimator_of
from tests.support.families import FAMILIES

LLAMA = FAMILIES["llama-3.1-8b"].facts
L4 = builtin_gpus()["nvidia-l4"]
WORKLOAD = Workload(1024, 256)
CONFIGURATION = Configuration("nvidia-l4", max_num_seqs=16)


def estimator(residual: Residual | None = None) -> Estimator:
    request = Request(engine_version="0.33")
    ask = Ask(request, LLAMA, builtin_engines()["vllm"].at("0.33"))

    def calibrate(*where: object) -> Calibration:
        return corrected(calibration_of(*where), residual or Residual())  # type: ignore[arg-type]

    return estimator_of(ask, L4, WORKLOAD, "0.33", calibrate)


def seen(
    *,
    itl: float = 0.06,
    ttft: float = 0.4,
    batch: float = 4,
    requests: int = 200,
    prompt: float = 1024,
    computed: float | None = None,
    generated: float = 256,
    queue: float = 0.0,
    seconds: float = 1000,
    preemptions: int = 0,
) -> Seen:
    counted = Timings(
        first_tokens=requests,
        first_token_s=requests * (ttft + queue),
        gaps=requests * (generated - 1),
        gap_s=requests * (generated - 1) * itl,
        requests=requests,
        queue_s=requests * queue,
        prompt_tokens=requests * prompt,
        computed_tokens=requests * (prompt if computed is None else computed),
        generated_tokens=requests * generated,
        preemptions=preemptions,
    )
    return Seen("a").plus(counted, batch, seconds)


@pytest.mark.parametrize("batch", [1, 4, 16])
def test_the_time_per_token_is_compared_with_the_estimate_for_that_load(batch: int) -> None:
    planned = estimator().expected(CONFIGURATION, batch).itl_s.typical
    found = feedback.next_token(estimator(), CONFIGURATION, seen(itl=1.2 * planned, batch=batch))
    assert found.factor == pytest.approx(1.2, abs=0.001)
    assert f"for {batch:.1f} requests at once" in found.why


def test_the_same_time_means_less_at_a_higher_load() -> None:
    few = feedback.next_token(estimator(), CONFIGURATION, seen(batch=1)).factor
    many = feedback.next_token(estimator(), CONFIGURATION, seen(batch=16)).factor
    short = feedback.next_token(estimator(), CONFIGURATION, seen(batch=16, prompt=64)).factor
    cached = feedback.next_token(estimator(), CONFIGURATION, seen(batch=16, computed=64)).factor
    assert few is not None
    assert many is not None
    assert short is not None
    assert cached is not None
    assert many < cached < short < few


def test_the_first_token_is_compared_with_a_prompt_of_that_length() -> None:
    planned = estimator().expected(CONFIGURATION, 1).ttft_s.typical
    found = feedback.first_token(estimator(), CONFIGURATION, seen(ttft=0.9 * planned, batch=0))
    assert found.factor == pytest.approx(0.9, abs=0.001)
    half = feedback.first_token(
        estimator(), CONFIGURATION, seen(ttft=0.9 * planned, batch=0, computed=512)
    )
    assert half.factor is not None
    assert 1.5 < half.factor < 2.2


def test_requests_that_run_meanwhile_are_no_fault_of_the_engine() -> None:
    alone = feedback.first_token(estimator(), CONFIGURATION, seen(batch=0)).factor
    among = feedback.first_token(estimator(), CONFIGURATION, seen(batch=12)).factor
    assert alone is not None
    assert among is not None
    assert among < alone


@pytest.mark.parametrize(
    ("load", "word"),
    [
        (seen(queue=0.1), "waited"),
        (seen(seconds=200), "together"),
        (seen(prompt=100), "prompts of 100 tokens"),
        (seen(prompt=1024, computed=100), "prompts of 100 tokens"),
        (seen(prompt=9000), "prompts of 9000 tokens"),
        (seen(requests=99), "fewer than 100"),
        (seen(preemptions=5), "put off"),
    ],
)
def test_a_first_token_that_tells_of_something_else(load: Seen, word: str) -> None:
    found = feedback.first_token(estimator(), CONFIGURATION, load)
    assert found.factor is None
    assert word in found.why


@pytest.mark.parametrize(
    ("configuration", "load", "word"),
    [
        (replace(CONFIGURATION, speculation="ngram", speculative_tokens=3), seen(), "drafts"),
        (replace(CONFIGURATION, cpu_offload_gib=4.0), seen(), "host's memory"),
        (CONFIGURATION, seen(preemptions=5), "put off"),
        (CONFIGURATION, seen(requests=99), "fewer than 100"),
        (CONFIGURATION, seen(generated=1), "fewer than 100"),
    ],
)
def test_a_time_per_token_that_tells_of_something_else(
    configuration: Configuration, load: Seen, word: str
) -> None:
    found = feedback.next_token(estimator(), configuration, load)
    assert found.factor is None
    assert word in found.why


def test_a_wait_for_the_batch_does_not_spoil_the_time_per_token() -> None:
    assert feedback.next_token(estimator(), CONFIGURATION, seen(queue=30)).factor is not None


def test_the_cache_over_what_was_estimated() -> None:
    estimated = estimator().memory(CONFIGURATION).kv_tokens
    found = feedback.kv_cache(estimator(), CONFIGURATION, int(0.93 * estimated))
    assert found.factor == pytest.approx(0.93, abs=0.001)
    assert f"{estimated:,} estimated" in found.why


def test_what_is_known_already_is_found_again_and_not_twice() -> None:
    known = estimator(Residual(kv=0.8, ttft=1.5, itl=1.3))
    assert known.memory(CONFIGURATION).kv_tokens < estimator().memory(CONFIGURATION).kv_tokens
    tokens = known.memory(CONFIGURATION).kv_tokens
    assert feedback.kv_cache(known, CONFIGURATION, tokens).factor == pytest.approx(0.8, abs=0.001)
    load = seen(itl=known.expected(CONFIGURATION, 4).itl_s.typical)
    assert feedback.next_token(known, CONFIGURATION, load).factor == pytest.approx(1.3, abs=0.001)
    load = seen(ttft=known.expected(CONFIGURATION, 1).ttft_s.typical, batch=0)
    assert feedback.first_token(known, CONFIGURATION, load).factor == pytest.approx(1.5, abs=0.001)


@pytest.mark.parametrize("observed", [math.nan, math.inf, -math.inf, 0.0, -1.0])
def test_what_is_no_ratio_is_none(observed: float) -> None:
    found = feedback.bounded(observed, 1.0, feedback.TIME_BOUNDS, "told")
    assert found.factor is None
    assert "no ratio" in found.why
    assert feedback.bounded(1.0, observed, feedback.TIME_BOUNDS, "told").factor is None


@pytest.mark.parametrize(("observed", "kept"), [(37.0, 10.0), (0.001, 0.1)])
def test_what_is_beyond_reason_is_cut_and_said(observed: float, kept: float) -> None:
    found = feedback.bounded(observed, 1.0, feedback.TIME_BOUNDS, "told")
    assert found.factor == kept
    assert "beyond reason" in found.why
    assert f"counts as {kept:g}" in found.why


@given(st.floats(), st.floats())
def test_factors_stay_within_reason(observed: float, estimated: float) -> None:
    found = feedback.bounded(observed, estimated, feedback.KV_BOUNDS, "told")
    assert found.factor is None or 0.25 <= found.factor <= 2
