"""Memory by hand: what a token, a weight and a rank take."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.catalog.gpus import Gpu
from stoker.catalog.load import builtin_gpus
from stoker.model.sizing import GIB, Configuration, Memory, Workload
from stoker.planner import memory
from stoker.planner.calibration import Calibration, Residual, calibration_of, corrected
from stoker_worker.modelfacts import SLIDING, STATE, Layers, ModelFacts
from tests.support.families import FAMILIES

LLAMA = FAMILIES["llama-3.1-8b"].facts
SEVEN = FAMILIES["llama-2-7b"].facts
H100 = builtin_gpus()["nvidia-h100-80gb"]
RTX = builtin_gpus()["nvidia-rtx-4090"]
BARE = Calibration(loaded=1.0, non_torch=0, graphs=0)


def of(facts: ModelFacts, gpu: Gpu = H100, **settings: object) -> Memory:
    configuration = replace(Configuration(gpu.name), **settings)  # type: ignore[arg-type]
    return memory.memory_of(facts, gpu, configuration, calibration_of(gpu, facts))


@pytest.mark.parametrize(
    ("family", "settings", "kib"),
    [
        ("llama-3.1-8b", {}, 128),
        ("llama-3.1-70b", {}, 320),
        ("qwen3-32b", {}, 256),
        ("deepseek-v3", {}, 68.625),
        ("llama-2-7b", {}, 512),
        ("llama-3.1-8b", {"tensor": 2}, 64),
        ("llama-3.1-8b", {"tensor": 8}, 16),
        ("llama-3.1-8b", {"tensor": 16}, 16),  # one KV head is the least
        ("deepseek-v3", {"tensor": 8}, 68.625),  # latent layers are on every rank
        ("llama-3.1-8b", {"pipeline": 2}, 64),
        ("llama-3.1-8b", {"kv_dtype": "fp8"}, 64),
        ("llama-3.1-8b", {"dtype": "float32"}, 256),
    ],
)
def test_a_token(family: str, settings: dict[str, object], kib: float) -> None:
    found = of(FAMILIES[family].facts, H100, **settings).kv_per_token
    assert found == pytest.approx(kib * 1024, rel=0.001)


@pytest.mark.parametrize(("dtype", "capacity"), [("fp8", 2.0), ("int8", 1.94), ("int4", 3.76)])
def test_a_scale_per_token_and_head_costs_capacity(dtype: str, capacity: float) -> None:
    gain = of(LLAMA).kv_per_token / of(LLAMA, kv_dtype=dtype).kv_per_token
    assert gain == pytest.approx(capacity, abs=0.005)


@pytest.mark.parametrize(
    ("quantization", "gib"), [("none", 186.26), ("fp8", 93.13), ("int4", 49.48), ("awq", 49.48)]
)
def test_a_hundred_billion_parameters(quantization: str, gib: float) -> None:
    facts = replace(LLAMA, parameters=100 * 10**9, embedding_parameters=0)
    configuration = Configuration("any", quantization=quantization)
    found = memory.weights_of(facts, configuration, BARE) / GIB
    assert found == pytest.approx(gib, rel=0.001)


def test_embeddings_are_not_quantized_at_load() -> None:
    configuration = Configuration("any", quantization="fp8")
    found = memory.weights_of(LLAMA, configuration, BARE) / GIB
    assert found == pytest.approx(8.46, abs=0.01)  # vLLM reports 8.49


def test_a_quantized_checkpoint_takes_what_its_files_take() -> None:
    facts = FAMILIES["gpt-oss-20b"].facts
    found = memory.weights_of(facts, Configuration("any"), BARE)
    assert found == pytest.approx(facts.weight_bytes, rel=0.01)


def test_an_old_card_holds_seven_sequences_of_a_seven_billion_model() -> None:
    configuration = Configuration(RTX.name, dtype="float16", max_model_len=2048, max_num_seqs=64)
    found = memory.memory_of(SEVEN, RTX, configuration, calibration_of(RTX, SEVEN))
    fit = memory.concurrency_of(found, SEVEN, configuration, Workload(1536, 512))
    assert fit in {7, 8}


def test_ranks_share_weights_and_experts_go_over_all_of_them() -> None:
    facts = FAMILIES["qwen3-30b-a3b"].facts
    one = memory.weights_of(facts, Configuration("any"), BARE)
    two = memory.weights_of(facts, Configuration("any", tensor=2), BARE)
    spread = memory.weights_of(facts, Configuration("any", data=2), BARE)
    assert two == pytest.approx(one / 2, rel=0.01)
    assert spread == pytest.approx(one - facts.expert_parameters, rel=0.01)  # 2 bytes, half of them


def test_the_fullest_stage_counts() -> None:
    whole = memory.weights_of(LLAMA, Configuration("any"), BARE)
    half = memory.weights_of(LLAMA, Configuration("any", pipeline=2), BARE)
    third = memory.weights_of(LLAMA, Configuration("any", pipeline=3), BARE)
    assert half == pytest.approx(whole / 2, rel=0.001)
    layers = LLAMA.weight_bytes - 2 * LLAMA.embedding_parameters
    assert third == pytest.approx(layers * 11 / 32 + LLAMA.embedding_parameters, rel=0.001)


def test_a_window_bounds_what_a_layer_keeps() -> None:
    facts = replace(LLAMA, layers=(Layers(32, SLIDING, 8, 128, window=4096),))
    configuration = Configuration("any", max_num_batched_tokens=2048)
    short, long, longer = (
        memory.request_bytes(facts, configuration, tokens) for tokens in (4096, 32768, 65536)
    )
    assert short == 4096 * 131072
    assert long == longer == (4096 - 1 + 2048 + 1) * 131072


def test_a_state_is_per_request_and_not_per_token() -> None:
    facts = replace(LLAMA, layers=(Layers(32, STATE, state_values=1000),))
    configuration = Configuration("any", max_num_seqs=7)
    assert memory.request_bytes(facts, configuration, 10) == 32 * 1000 * 2
    assert memory.request_bytes(facts, configuration, 10_000) == 32 * 1000 * 2
    found = memory.memory_of(facts, H100, configuration, BARE)
    assert found.state_per_request == 64000
    assert memory.concurrency_of(found, facts, configuration, Workload()) == 7


def test_a_request_takes_whole_blocks() -> None:
    configuration = Configuration("any", block_size=16)
    assert memory.request_bytes(LLAMA, configuration, 17) == 32 * 131072


def test_a_drafting_layer_has_keys_of_its_own() -> None:
    plain, eagle = of(LLAMA).kv_per_token, of(LLAMA, speculation="eagle").kv_per_token
    assert eagle == plain * 33 / 32


def test_logits_of_many_sequences_are_the_peak() -> None:
    found = of(LLAMA, max_num_seqs=1024, max_num_batched_tokens=8192)
    assert found.activations / GIB == pytest.approx(1.89, abs=0.05)  # measured, vLLM 0.19
    small = of(LLAMA, max_num_seqs=16, max_num_batched_tokens=8192)
    assert small.activations == 8192 * 2 * (4 * 4096 + 3 * 14336)


def test_memory_adds_up() -> None:
    found = of(LLAMA)
    taken = found.weights + found.activations + found.non_torch + found.graphs
    assert found.usable - taken == found.kv_budget
    assert found.kv_tokens == found.kv_budget // (16 * 131072) * 16


def test_what_does_not_fit_has_a_shortage_and_no_token() -> None:
    found = of(FAMILIES["llama-3.1-70b"].facts, RTX)
    assert found.kv_tokens == 0
    assert found.shortage / GIB == pytest.approx(113, abs=3)


def test_the_longest_context_fits_and_one_block_more_does_not() -> None:
    configuration = Configuration(RTX.name, max_num_seqs=8)
    found = memory.memory_of(LLAMA, RTX, configuration, calibration_of(RTX, LLAMA))
    longest = memory.longest_context(found, LLAMA, configuration)
    assert memory.request_bytes(LLAMA, configuration, longest) <= found.kv_budget
    assert memory.request_bytes(LLAMA, configuration, longest + 16) > found.kv_budget


def test_the_longest_context_is_what_the_model_was_made_for() -> None:
    configuration = Configuration(H100.name, max_num_seqs=8)
    found = memory.memory_of(LLAMA, H100, configuration, calibration_of(H100, LLAMA))
    assert memory.longest_context(found, LLAMA, configuration) == LLAMA.max_positions


def test_a_host_keeps_the_cache_that_it_was_told() -> None:
    cpu = builtin_gpus()["cpu"]
    told = of(LLAMA, cpu, kv_space_gib=4.0)
    assert told.kv_tokens == 4 * 8192
    assert told.graphs == 0
    beyond = of(LLAMA, cpu, kv_space_gib=500.0)
    assert beyond.shortage > 400 * GIB


def test_what_the_engine_reported_scales_the_budget() -> None:
    configuration = Configuration(H100.name)
    calibration = calibration_of(H100, LLAMA)
    plain = memory.memory_of(LLAMA, H100, configuration, calibration)
    less = memory.memory_of(LLAMA, H100, configuration, corrected(calibration, Residual(kv=0.5)))
    assert less.kv_budget == plain.kv_budget // 2


@given(
    family=st.sampled_from(sorted(FAMILIES)),
    tensor=st.sampled_from([1, 2, 4, 8]),
    kv_dtype=st.sampled_from(["auto", "fp8", "int8", "int4"]),
    sizes=st.tuples(st.floats(1, 400), st.floats(1, 400)).map(sorted),
)
def test_more_memory_never_makes_it_worse(
    family: str, tensor: int, kv_dtype: str, sizes: list[float]
) -> None:
    facts = FAMILIES[family].facts
    configuration = Configuration(H100.name, tensor=tensor, kv_dtype=kv_dtype)
    small, large = (
        replace(H100, memory_bytes=int(size * GIB) + H100.reserved_bytes) for size in sizes
    )
    less, more = (
        memory.memory_of(facts, gpu, configuration, calibration_of(gpu, facts))
        for gpu in (small, large)
    )
    assert less.kv_budget <= more.kv_budget
    assert less.kv_tokens <= more.kv_tokens
    for workload in (Workload(), Workload(30_000, 2_000)):
        fit = [memory.concurrency_of(each, facts, configuration, workload) for each in (less, more)]
        assert fit == sorted(fit)
    longest = [memory.longest_context(each, facts, configuration) for each in (less, more)]
    assert longest == sorted(longest)
