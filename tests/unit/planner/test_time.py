"""Times by hand, and the directions in which they must go."""

import math
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stoker.catalog.gpus import Gpu
from stoker.catalog.load import builtin_gpus
from stoker.model.sizing import Configuration, Expected, Range, Request, Workload
from stoker.planner.ask import Ask
from stoker.planner.calibration import Calibration, Residual, calibration_of, corrected
from stoker.planner.estimate import HOST_LINK, estimator_of
from stoker.planner.time import (
    Pace,
    decode_step_s,
    expected_of,
    linear_rate_of,
    pace_of,
    prefill_s,
    rate_of,
)
from stoker_worker.modelfacts import ModelFacts
from tests.support.families import FAMILIES
from tests.unit.planner.problems import FEATURES

LLAMA = FAMILIES["llama-3.1-8b"].facts
SEVENTY = FAMILIES["llama-3.1-70b"].facts
EXPERTS = FAMILIES["qwen3-30b-a3b"].facts
H100 = builtin_gpus()["nvidia-h100-80gb"]
T4 = builtin_gpus()["nvidia-t4"]
# A card at half its peaks, with nothing in the way: the numbers of the roofline alone.
PLAIN = Calibration(
    mfu=0.5,
    mbu_weights=1.0,
    mbu_batch=1.0,
    mbu_kv=1.0,
    step_s=0.0,
    layer_s=0.0,
    sequence_s=0.0,
    expert_layer_s=0.0,
)
CARD = Gpu("card", "nvidia", 24 * 2**30, 1e12, {"bfloat16": 160e12, "fp8": 320e12})


def pace(facts: ModelFacts = LLAMA, calibration: Calibration = PLAIN, **settings: object) -> Pace:
    configuration = replace(Configuration("card"), **settings)  # type: ignore[arg-type]
    return pace_of(facts, CARD, configuration, calibration)


def test_one_token_reads_the_weights_once() -> None:
    # 8.03 G parameters without the input embedding (0.525 G), two bytes, 1 TB/s.
    assert pace().decode_s(1, 0) == pytest.approx(15.0e-3, rel=0.01)


def test_the_first_token_of_a_prompt() -> None:
    # 6.98 G parameters of layers, 2 operations, 1,024 tokens, half of 160 TFLOP/s: 179 ms;
    # attention over half a million pairs, 32 layers, 16,384 operations each: 3 ms.
    assert pace().prefill_s(1024) == pytest.approx(0.182, rel=0.01)


def test_an_old_card_as_a_person_would_reckon() -> None:
    gpu = builtin_gpus()["nvidia-rtx-4090"]
    facts = FAMILIES["llama-2-7b"].facts
    configuration = Configuration(gpu.name, dtype="float16")
    calibration = calibration_of(gpu, facts)
    first = prefill_s(facts, gpu, configuration, calibration, 1536)
    token = decode_step_s(facts, gpu, configuration, calibration, 1, 1792)
    assert first == pytest.approx(0.163, rel=0.15)
    assert token == pytest.approx(0.018, rel=0.15)


def test_the_cache_is_read_by_every_sequence() -> None:
    found = pace()
    more = found.decode_s(8, 1000) - found.decode_s(8, 0)
    assert more == pytest.approx(8 * 1000 * 131072 / 1e12)
    assert pace(kv_dtype="fp8").decode_s(8, 1000) - found.decode_s(8, 0) == pytest.approx(more / 2)


def test_a_window_bounds_what_is_read() -> None:
    facts = FAMILIES["mistral-7b-v0.1"].facts
    found = pace(facts)
    assert found.decode_s(4, 100_000) == found.decode_s(4, 4096)


def test_experts_are_read_as_they_are_met() -> None:
    found = pace(EXPERTS)
    dense, one, two = (found.step_s(tokens) for tokens in (1e-9, 1, 2))
    experts = 2 * EXPERTS.expert_parameters / 1e12
    assert one - dense == pytest.approx(experts * 8 / 128, rel=0.01)
    assert two - dense == pytest.approx(experts * (1 - (120 / 128) ** 2), rel=0.01)


def test_text_that_meets_half_of_the_experts_reads_no_more() -> None:
    half = pace(EXPERTS, replace(PLAIN, expert_reach=0.5))
    assert half.experts_s == pytest.approx(pace(EXPERTS).experts_s / 2)
    assert half.step_s(1) == pytest.approx(pace(EXPERTS).step_s(1), rel=0.001)


def test_thin_products_read_the_slower_the_more_rows_they_have() -> None:
    found = pace(calibration=replace(PLAIN, mbu_batch=0.5, mfu=100.0))
    one, some, many = (found.decode_s(batch, 0) for batch in (1, 24.5, 48))
    assert many == pytest.approx(2 * one, rel=0.01)
    assert some == pytest.approx(1.5 * one, rel=0.01)


def test_ranks_share_the_work_and_pay_for_messages() -> None:
    linked = replace(CARD, link=100e9, link_kind="nvlink")
    calibration = replace(PLAIN, allreduce_s=1e-5, link_share=1.0)
    one = pace_of(LLAMA, linked, Configuration("card"), calibration)
    two = pace_of(LLAMA, linked, Configuration("card", tensor=2), calibration)
    messages = 64 * (1e-5 + 8192 / 100e9)  # two per layer: latency, and one token's hidden state
    assert two.decode_s(1, 0) == pytest.approx(one.decode_s(1, 0) / 2 + messages, rel=0.001)


def test_a_slower_link_costs_more() -> None:
    times = [
        pace_of(
            LLAMA,
            replace(CARD, link=32e9, link_kind=kind),
            Configuration("card", tensor=2),
            calibration_of(CARD, LLAMA),
        ).decode_s(1, 0)
        for kind in ("nvlink", "pcie", "none")
    ]
    assert times == sorted(times)


def test_stages_divide_the_batch_and_not_the_time_of_a_token() -> None:
    one, two = pace(), pace(pipeline=2)
    assert two.decode_s(1, 0) == pytest.approx(one.decode_s(1, 0), rel=0.01)
    assert two.decode_s(64, 4000) < one.decode_s(64, 4000)


def test_the_gain_of_four_bits_fades_with_the_batch() -> None:
    gains = [
        pace().decode_s(batch, 500) / pace(quantization="int4").decode_s(batch, 500)
        for batch in (1, 16, 64, 256)
    ]
    assert gains == sorted(gains, reverse=True)
    assert gains[0] > 2.5
    assert gains[-1] < 1.2


def test_eight_bits_compute_twice_as_fast_where_the_hardware_does() -> None:
    assert linear_rate_of(LLAMA, CARD, Configuration("card", quantization="fp8")) == 320e12
    assert linear_rate_of(LLAMA, CARD, Configuration("card", quantization="int4")) == 160e12
    turing = Configuration("t4", dtype="float16", quantization="fp8")
    assert linear_rate_of(LLAMA, T4, turing) == T4.flops["float16"]


def test_a_type_that_the_hardware_lacks_is_slow_and_no_error() -> None:
    assert rate_of(T4, "bfloat16") == T4.flops["float32"]


def test_speculation_pays_alone_and_not_in_a_crowd() -> None:
    plain = pace()
    drafting = pace(speculation="eagle", speculative_tokens=3)
    assert plain.decode_s(1, 500) / drafting.decode_s(1, 500) > 1.5
    assert plain.decode_s(512, 500) / drafting.decode_s(512, 500) < 1.0


def test_tokens_of_a_speculating_step() -> None:
    drafting = pace(speculation="eagle", speculative_tokens=2)
    assert drafting.tokens_per_step == pytest.approx(1 + 0.7 + 0.49)


def test_a_host_that_launches_every_layer_sets_the_pace() -> None:
    slow = pace(calibration=replace(PLAIN, host_layer_s=0.002))
    assert slow.decode_s(1, 0) == pytest.approx(0.064, rel=0.01)
    assert pace(compile=False).decode_s(1, 0) >= pace().decode_s(1, 0)


def test_a_prompt_in_chunks_costs_little_more() -> None:
    whole = pace(max_num_batched_tokens=8192).prefill_s(8192)
    chunked = pace(max_num_batched_tokens=1024).prefill_s(8192)
    assert whole <= chunked < 1.1 * whole


def test_what_is_cached_is_not_computed_again() -> None:
    assert pace().prefill_s(100, context=4000) < pace().prefill_s(4100) / 10


def expect(concurrency: int, **settings: object) -> Expected:
    configuration = replace(Configuration(H100.name), **settings)  # type: ignore[arg-type]
    calibration = calibration_of(H100, LLAMA, "0.19")
    return expected_of(
        LLAMA, H100, configuration, Workload(1024, 256), concurrency, calibration, 3.6
    )


def test_what_a_plan_promises() -> None:
    alone = expect(1)
    assert alone.itl_s.typical == pytest.approx(6.44e-3 + 4.37e-8 * 1152, rel=0.1)  # published
    assert alone.e2e_s.typical == pytest.approx(alone.ttft_s.typical + 255 * alone.itl_s.typical)
    rate = 256 / alone.e2e_s.typical
    assert alone.output_tokens_per_s.typical == pytest.approx(rate)
    assert alone.cost_per_million_tokens is not None
    assert alone.cost_per_million_tokens.typical == pytest.approx(3.6 / 3600 / rate * 1e6)


def test_others_prompts_stretch_the_time_between_tokens() -> None:
    crowd = expect(64)
    steps = decode_step_s(
        LLAMA, H100, Configuration(H100.name), calibration_of(H100, LLAMA, "0.19"), 64, 1152
    )
    assert crowd.itl_s.typical > 1.2 * steps


def test_replicas_of_the_weights_share_the_requests() -> None:
    assert expect(64, data=2).itl_s.typical == pytest.approx(expect(32).itl_s.typical)


def test_no_price_no_cost() -> None:
    calibration = calibration_of(H100, LLAMA)
    found = expected_of(LLAMA, H100, Configuration(H100.name), Workload(), 0, calibration, None)
    assert found.cost_per_million_tokens is None
    assert found.output_tokens_per_s.typical == 0


def test_what_was_observed_scales_the_estimate() -> None:
    calibration = calibration_of(H100, LLAMA)
    seen = corrected(calibration, Residual(ttft=2.0, itl=1.5))
    configuration = Configuration(H100.name)
    for function, factor in ((decode_step_s, 1.5), (prefill_s, 2.0)):
        plain = function(LLAMA, H100, configuration, calibration, 8, 500)
        assert function(LLAMA, H100, configuration, seen, 8, 500) == pytest.approx(factor * plain)


def ordered(found: Range | None) -> bool:
    return found is None or (
        math.isfinite(found.high) and 0 <= found.low <= found.typical <= found.high
    )


@given(
    family=st.sampled_from(sorted(FAMILIES)),
    gpu=st.sampled_from(sorted(builtin_gpus())),
    concurrency=st.integers(0, 2000),
    inputs=st.integers(0, 200_000),
    outputs=st.integers(0, 20_000),
    tensor=st.sampled_from([1, 2, 8]),
    quantization=st.sampled_from(["none", "fp8", "int8", "int4", "bitsandbytes"]),
    speculation=st.sampled_from(["none", "ngram", "eagle", "mtp", "draft"]),
)
@example("bge-large-en", "cpu", 1, 0, 0, 1, "none", "none")
def test_every_estimate_is_a_finite_ordered_range(
    family: str,
    gpu: str,
    concurrency: int,
    inputs: int,
    outputs: int,
    tensor: int,
    quantization: str,
    speculation: str,
) -> None:
    facts, card = FAMILIES[family].facts, builtin_gpus()[gpu]
    configuration = Configuration(
        gpu,
        tensor=tensor,
        quantization=quantization,
        speculation=speculation,
        speculative_tokens=3,
    )
    found = expected_of(
        facts,
        card,
        configuration,
        Workload(inputs, outputs),
        concurrency,
        calibration_of(card, facts),
        2.0,
    )
    for each in (
        found.ttft_s,
        found.itl_s,
        found.e2e_s,
        found.output_tokens_per_s,
        found.cost_per_million_tokens,
    ):
        assert ordered(each)


def test_what_is_found_is_not_computed_again() -> None:
    request = Request(kv_offload_gib=32, workload=Workload(input_tokens=4096))
    estimator = estimator_of(Ask(request, LLAMA, FEATURES), H100, request.workload, "")
    used = Configuration(H100.name, kv_offload_gib=32.0)
    found = estimator.reuse(used)
    assert found.fetched_s is not None
    assert found.found_s < found.half_s < found.fetched_s < found.whole_s
    # The second half attends to the first one, so it is the dearer one.
    assert found.half_s > found.whole_s / 2
    # 2,048 tokens of 131,072 bytes over PCIe.
    assert found.fetched_s - found.half_s == pytest.approx(2048 * 131_072 / HOST_LINK)
    two = estimator.reuse(replace(used, tensor=2))
    assert two.fetched_s is not None
    assert two.fetched_s - two.half_s == pytest.approx(2048 * 131_072 / HOST_LINK / 2)
    assert two.kept == found.kept
    # A prompt of one token has nothing to find.
    short = estimator_of(Ask(request, LLAMA, FEATURES), H100, Workload(input_tokens=1), "")
    assert short.reuse(used).found_s == short.reuse(used).whole_s
