"""The decision on public models: what is chosen, what is refused, and the ways out."""

from dataclasses import replace
from typing import Any

import pytest

from stoker.model.inventory import Supply
from stoker.model.sizing import (
    GIB,
    Adapter,
    Infeasible,
    Objective,
    Planned,
    Request,
    Speculation,
    Targets,
    Workload,
)
from stoker.planner import words
from stoker.planner.decide import plan
from stoker_worker.modelfacts import FULL, Layers, Quantization
from tests.support.families import FAMILIES
from tests.unit.planner.problems import (
    FEATURES,
    GPUS,
    LLAMA_8B,
    LLAMA_70B,
    ask,
    planned,
    refused,
    technique,
)

EMBEDDER = FAMILIES["bge-large-en"].facts
DEEPSEEK = FAMILIES["deepseek-v3"].facts
GEMMA = FAMILIES["gemma-2-9b"].facts


def test_quality_comes_first() -> None:
    answer = planned(LLAMA_8B, "nvidia-l4")
    used = answer.configuration
    assert (used.quantization, used.kv_dtype, used.tensor) == ("none", "auto", 1)
    assert technique(answer, "weightQuantization")[:2] == ("off", "QualityFirst")
    changes = [each.change for each in answer.alternatives]
    assert "optimization.kvCache.dtype: fp8" in changes
    assert "optimization.quantization: fp8" in changes


def test_quality_is_spent_where_nothing_fits_without() -> None:
    fixed: dict[str, Any] = {"tensor": 1, "pipeline": 1, "max_model_len": 131_072}
    answer = planned(LLAMA_8B, "nvidia-l4", **fixed)
    used = answer.configuration
    assert (used.quantization, used.max_model_len) == ("fp8", 131_072)
    state, reason, why = technique(answer, "weightQuantization")
    assert (state, reason) == ("on", "FitsOnlySo")
    assert "0.1-0.5 %" in why


def test_the_bound_of_quality_holds() -> None:
    fixed: dict[str, Any] = {"tensor": 1, "pipeline": 1, "max_model_len": 131_072}
    answer = refused(LLAMA_8B, "nvidia-l4", max_quality_loss=0, **fixed)
    assert answer.verdict.reason == "DoesNotFit"
    assert 11 < answer.shortage_gib < 13  # 15.1 GiB of weights and 16 GiB of cache


def test_an_explicit_technique_beyond_an_explicit_bound_is_refused() -> None:
    answer = refused(LLAMA_8B, "nvidia-h100-80gb", kv_dtype="int4", max_quality_loss=1)
    assert answer.verdict.reason == "QualityLossTooHigh"
    assert planned(LLAMA_8B, "nvidia-h100-80gb", kv_dtype="int4").configuration.kv_dtype == "int4"


def test_no_room_has_a_number_and_ways_out() -> None:
    fixed: dict[str, Any] = {"tensor": 1, "pipeline": 1, "quantization": "none"}
    answer = refused(LLAMA_8B, "nvidia-l4", max_model_len=65_536, kv_dtype="bf16", **fixed)
    assert answer.verdict.reason == "DoesNotFit"
    assert "missing per accelerator" in answer.verdict.message
    changes = " | ".join(each.change for each in answer.remedies)
    for way in (
        "context.maxModelLen:",
        "optimization.quantization: fp8",
        "model.uri: a checkpoint quantized to 4 bits",
        "optimization.cpuOffloadGiB:",
        "accelerator.types:",
    ):
        assert way in changes
    prices = [each.expected.price_per_hour or 0 for each in answer.remedies]
    assert prices == sorted(prices)
    assert all(each.concurrency > 0 for each in answer.remedies)


def test_a_remedy_does_what_it_says() -> None:
    fixed: dict[str, Any] = {"tensor": 1, "pipeline": 1, "quantization": "none", "kv_dtype": "bf16"}
    answer = refused(LLAMA_8B, "nvidia-l4", max_model_len=131_072, **fixed)
    (shorter,) = [each for each in answer.remedies if each.change.startswith("context")]
    length = int(shorter.change.rpartition(" ")[2])
    assert planned(LLAMA_8B, "nvidia-l4", max_model_len=length, **fixed)


def test_two_terabytes_fit_nowhere_or_are_cut() -> None:
    huge = replace(
        LLAMA_70B, parameters=10**12, weight_bytes=2 * 10**12, layers=(Layers(200, FULL, 8, 128),)
    )
    answer = refused(huge, "nvidia-t4")
    assert answer.verdict.reason == "DoesNotFit"
    assert answer.shortage_gib > 1
    assert planned(huge, "nvidia-b200").configuration.accelerators >= 8


def test_no_accelerators() -> None:
    answer = plan(Request(), LLAMA_8B, {}, FEATURES)
    assert answer.verdict.reason == "NoAccelerator"


def test_an_unknown_accelerator_is_named() -> None:
    answer = refused(LLAMA_8B, "nvidia-l5")
    assert answer.verdict.reason == "AcceleratorUnknown"
    assert "nvidia-l5" in answer.verdict.message
    assert answer.remedies  # without the name there is a plan


def test_one_token_of_context() -> None:
    answer = planned(LLAMA_8B, "nvidia-l4", max_model_len=1)
    assert answer.configuration.max_model_len == 1


def test_an_embedder_has_no_cache() -> None:
    answer = planned(EMBEDDER, "nvidia-l4")
    used = answer.configuration
    assert not used.prefix_caching
    assert not used.chunked_prefill
    assert used.max_model_len == 512
    assert used.max_num_batched_tokens >= 512
    assert technique(answer, "kvCacheDtype")[1] == "NoKvCache"
    assert not {"enable-prefix-caching", "enable-chunked-prefill"} & set(answer.args)
    assert refused(EMBEDDER, "nvidia-l4", kv_dtype="fp8").verdict.reason == "NoKvCache"


def test_a_processor_gets_the_cache_that_is_of_use() -> None:
    answer = planned(LLAMA_8B, "cpu", max_model_len=4096, max_num_seqs=4)
    assert answer.configuration.kv_space_gib == 1
    assert answer.env == {"VLLM_CPU_KVCACHE_SPACE": "1"}
    assert "gpu-memory-utilization" not in answer.args
    asked = planned(LLAMA_8B, "cpu", max_model_len=4096, kv_space_gib=3)
    assert asked.env == {"VLLM_CPU_KVCACHE_SPACE": "3"}


def test_a_processor_is_told_a_size_and_no_share() -> None:
    answer = planned(LLAMA_8B, "cpu", max_model_len=8192)
    state, _, why = technique(answer, "gpuMemoryUtilization")
    assert state == "off"
    assert f"{answer.configuration.kv_space_gib:g} GiB" in why
    assert "0.9 of 64.0 GiB" in why
    assert "gpu-memory-utilization" not in answer.args
    assert technique(planned(LLAMA_8B, "nvidia-l4"), "gpuMemoryUtilization")[0] == "on"


def test_processors_serve_when_asked_for_or_alone() -> None:
    assert planned().configuration.accelerator != "cpu"
    answer = plan(Request(), LLAMA_8B, {"cpu": GPUS["cpu"]}, FEATURES)
    assert answer.verdict.reason == "Planned"


@pytest.mark.parametrize(
    ("gpu", "facts", "wishes", "reason"),
    [
        ("nvidia-v100-16gb", LLAMA_8B, {}, "ComputeCapabilityTooLow"),
        ("nvidia-t4", LLAMA_8B, {"kv_dtype": "fp8"}, "Fp8KvNeedsAmpere"),
        ("nvidia-l4", LLAMA_8B, {"quantization": "awq"}, "NeedsCheckpoint"),
        ("nvidia-l4", DEEPSEEK, {"quantization": "awq"}, "CheckpointIsQuantized"),
        ("nvidia-l4", LLAMA_8B, {"tensor": 3}, "HeadsNotDivisible"),
        ("nvidia-l4", LLAMA_8B, {"tensor": 12}, "TensorExceedsNode"),
        ("nvidia-l4", LLAMA_8B, {"pipeline": 99}, "MoreStagesThanLayers"),
        ("cpu", LLAMA_8B, {"pipeline": 2}, "NoPipelineOnCpu"),
        ("nvidia-l4", LLAMA_8B, {"expert": True}, "NoExperts"),
        ("nvidia-l4", LLAMA_8B, {"per_replica": 3, "data": 1}, "AcceleratorsDoNotMatch"),
        ("nvidia-l4", LLAMA_8B, {"per_replica": 4, "tensor": 8}, "AcceleratorsDoNotMatch"),
        ("nvidia-l4", LLAMA_8B, {"max_model_len": 200_000}, "ContextBeyondModel"),
        ("nvidia-l4", LLAMA_8B, {"speculation": Speculation("mtp")}, "NoDraftLayers"),
        ("nvidia-l4", LLAMA_8B, {"speculation": Speculation("eagle")}, "NeedsDraftModel"),
        ("nvidia-l4", LLAMA_8B, {"loader": "npz"}, "LoaderUnknown"),
        ("nvidia-l4", LLAMA_8B, {"attention_backend": "ODD"}, "AttentionBackendUnknown"),
        ("cpu", LLAMA_8B, {"cpu_offload_gib": 4}, "GpuOnly"),
        ("cpu", LLAMA_8B, {"kv_offload_gib": 4}, "GpuOnly"),
        ("nvidia-h100-80gb", DEEPSEEK, {"kv_dtype": "int8"}, "KvDtypeNotSupported"),
        ("nvidia-t4", GEMMA, {"quantization": "fp8"}, "DtypeNotSupported"),
        ("nvidia-l4", LLAMA_8B, {"tensor": 0}, "ValueOutOfRange"),
        (
            "nvidia-l4",
            LLAMA_8B,
            {"max_num_seqs": 64, "max_num_batched_tokens": 32},
            "BatchTooSmall",
        ),
        (
            "nvidia-l4",
            LLAMA_8B,
            {"max_num_seqs": 2, "workload": Workload(concurrency=9)},
            "BatchTooSmall",
        ),
    ],
)
def test_what_cannot_be_granted_is_refused_by_name(
    gpu: str, facts: Any, wishes: dict[str, Any], reason: str
) -> None:
    answer = refused(facts, gpu, **wishes)
    assert answer.verdict.reason == reason
    assert answer.shortage_gib == 0


def test_sparse_checkpoints_are_refused() -> None:
    stored = Quantization("compressed-tensors", 8, floating=True, sparse=True)
    sparse = replace(LLAMA_8B, quantization=stored, weight_bytes=9 * 10**9)
    assert refused(sparse, "nvidia-h100-80gb").verdict.reason == "SparseCheckpointRefused"


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (Quantization("compressed-tensors", 8, 0, 8), None),
        (Quantization("compressed-tensors", 8, 0, 16), "WeightOnly8NotHere"),
        (Quantization("gptq", 8, 128, 16), "WeightOnly8NotHere"),
        (Quantization("gptq", 4, 128, 16), None),
        (Quantization("compressed-tensors", 8, 0, 16, floating=True), "WeightOnly8NotHere"),
        (Quantization("fp8", 8, 0, 8, floating=True), None),
        (Quantization("fp8", 8, 0, 8, floating=True, static=True), "StaticFp8NotOnCpu"),
        (Quantization("mxfp4", 4, 32, 16, floating=True), "Mxfp4NotOnCpu"),
    ],
)
def test_checkpoints_that_processors_do_not_serve(stored: Quantization, reason: str | None) -> None:
    facts = replace(LLAMA_8B, quantization=stored, weight_bytes=9 * 10**9)
    answer = ask(facts, "cpu")
    assert (answer.verdict.reason if isinstance(answer, Infeasible) else None) == reason
    assert isinstance(ask(facts, "nvidia-h100-80gb"), Planned)


def test_int8_is_made_at_load_of_experts_alone() -> None:
    dense = refused(LLAMA_8B, "nvidia-h100-80gb", quantization="int8")
    assert dense.verdict.reason == "NoExperts"
    mixture = FAMILIES["mixtral-8x7b"].facts
    answer = planned(mixture, "nvidia-h100-80gb", quantization="int8", tensor=2)
    assert answer.args["quantization"] == "int8_per_channel_weight_only"
    plain = planned(mixture, "nvidia-h100-80gb", quantization="none", tensor=2)
    saved = plain.memory.weights - answer.memory.weights
    assert saved == pytest.approx(mixture.expert_parameters / 2, rel=0.02)  # a byte each, two ranks


def test_groups_of_a_quantized_checkpoint_divide() -> None:
    stored = Quantization("gptq", 4, group=128)
    odd = replace(LLAMA_8B, quantization=stored, intermediate=128 * 9, weight_bytes=5 * 10**9)
    answer = refused(odd, "nvidia-l4", tensor=2)
    assert answer.verdict.reason == "GroupsNotDivisible"


def test_where_the_wish_is_refused_another_type_is_a_way_out() -> None:
    answer = refused(LLAMA_8B, "nvidia-t4", kv_dtype="fp8")
    changes = [each.change for each in answer.remedies]
    assert any(each.startswith("accelerator.types:") for each in changes)
    assert "optimization.kvCache.dtype: remove it" in changes


def test_a_second_type_serves_where_the_first_cannot() -> None:
    answer = planned(LLAMA_8B, "nvidia-t4", "nvidia-l4", kv_dtype="fp8")
    assert answer.configuration.accelerator == "nvidia-l4"


def test_bfloat16_is_not_everywhere() -> None:
    answer = planned(LLAMA_8B, "nvidia-t4")
    assert answer.args["dtype"] == "float16"
    assert technique(answer, "computeDtype")[1] == "HardwareDecides"
    assert planned(GEMMA, "nvidia-t4").configuration.dtype == "float32"


def test_targets_are_kept() -> None:
    free = planned(LLAMA_8B, "nvidia-l4")
    bound = free.expected.itl_s.typical * 0.9
    answer = planned(LLAMA_8B, "nvidia-l4", targets=Targets(itl_s=bound))
    assert answer.expected.itl_s.typical <= bound


def test_a_target_that_nothing_keeps() -> None:
    answer = refused(LLAMA_8B, "nvidia-l4", targets=Targets(itl_s=0.0001, price_per_hour=0.01))
    assert answer.verdict.reason == "TargetNotReachable"
    assert "itl" in answer.verdict.message
    assert "pricePerHour" in answer.verdict.message
    assert any("optimization.targets.itl:" in each.change for each in answer.remedies)


def test_the_concurrency_that_is_asked_for_fits() -> None:
    answer = planned(LLAMA_8B, "nvidia-l4", workload=Workload(concurrency=40))
    assert answer.concurrency >= 40
    assert answer.expected.concurrency == 40
    assert answer.configuration.max_num_seqs * answer.configuration.data >= 40


def test_the_cluster_only_orders() -> None:
    supply = Supply((("nvidia-a100-80gb", 4),))
    answer = plan(Request(), LLAMA_8B, GPUS, FEATURES, inventory=supply)
    assert getattr(answer, "configuration").accelerator == "nvidia-a100-80gb"  # noqa: B009
    only = Request(accelerators=("nvidia-l4",))
    answer = plan(only, LLAMA_8B, GPUS, FEATURES, inventory=supply)
    assert answer.verdict.reason == "Planned"


def test_a_type_that_cannot_reach_the_volume_comes_after_one_without_a_node() -> None:
    wanted = Request(accelerators=("nvidia-l4", "nvidia-a100-80gb"))
    for most, chosen in ((0, "nvidia-l4"), (-1, "nvidia-a100-80gb"), (8, "nvidia-l4")):
        supply = Supply((("nvidia-l4", most), ("nvidia-a100-80gb", 0)))
        answer = plan(wanted, LLAMA_8B, GPUS, FEATURES, inventory=supply)
        assert getattr(answer, "configuration").accelerator == chosen  # noqa: B009


def test_the_order_of_preference_holds() -> None:
    answer = planned(LLAMA_8B, "nvidia-a100-80gb", "nvidia-rtx-4090")
    assert answer.configuration.accelerator == "nvidia-a100-80gb"


def test_objectives_differ_where_they_should() -> None:
    found = {each: planned(LLAMA_8B, objective=each) for each in Objective}
    alone = {each: answer.expected.itl_s.typical for each, answer in found.items()}
    assert alone[Objective.LATENCY] == min(alone.values())
    rate = {
        each: answer.expected.output_tokens_per_s.typical / answer.configuration.accelerators
        for each, answer in found.items()
    }
    assert rate[Objective.THROUGHPUT] == max(rate.values())
    size = {
        each: GPUS[answer.configuration.accelerator].memory_bytes
        * answer.configuration.accelerators
        for each, answer in found.items()
    }
    assert size[Objective.MEMORY] == min(size.values())
    assert found[Objective.LONG_CONTEXT].configuration.max_model_len == 131_072
    costs = [answer.expected.cost_per_million_tokens for answer in found.values()]
    cheapest = found[Objective.COST].expected.cost_per_million_tokens
    assert cheapest is not None
    assert cheapest.typical == min(cost.typical for cost in costs if cost is not None)


def test_no_tenant_takes_the_whole_cache() -> None:
    answer = planned(LLAMA_8B, "nvidia-l4", objective="multiTenant")
    assert answer.configuration.max_model_len * 4 <= answer.memory.kv_tokens


def test_drafts_stop_above_a_load() -> None:
    answer = planned(DEEPSEEK, "nvidia-h200", objective="latency")
    used = answer.configuration
    assert used.speculation == "mtp"
    assert 1 <= used.speculative_until <= 64
    assert "mtp" in answer.args["speculative-config"]
    assert technique(answer, "speculativeDecoding")[:2] == ("on", "ObjectivePrefers")


def test_a_model_that_no_node_holds_is_cut_over_several() -> None:
    answer = planned(LLAMA_70B, "nvidia-t4", quantization="none", objective="memory")
    used = answer.configuration
    assert used.pipeline > 1
    assert technique(answer, "pipelineParallel")[:2] == ("on", "FitsOnlySo")


def test_accelerators_that_are_asked_for_are_filled() -> None:
    answer = planned(LLAMA_8B, "nvidia-h100-80gb", per_replica=4, objective="throughput")
    assert answer.configuration.accelerators == 4


def test_offloaded_weights_cost_time() -> None:
    fixed: dict[str, Any] = {"tensor": 1, "max_num_seqs": 8, "max_model_len": 8192}
    fixed["workload"] = Workload(concurrency=8)
    without = planned(LLAMA_8B, "nvidia-l4", **fixed)
    offloaded = planned(LLAMA_8B, "nvidia-l4", cpu_offload_gib=5, **fixed)
    assert offloaded.memory.weights == pytest.approx(without.memory.weights - 5 * GIB, abs=2)
    slower = offloaded.expected.itl_s.typical - without.expected.itl_s.typical
    assert slower == pytest.approx(5 * GIB / 25e9, rel=0.01)


def test_a_technique_of_a_plugin_is_planned_where_the_image_brings_it() -> None:
    without = refused(LLAMA_8B, "nvidia-l4", quantization="bitsandbytes")
    assert without.verdict.reason == "NeedsPlugin"
    assert "engines.vllm.plugins" in without.verdict.message
    loader = refused(LLAMA_8B, "nvidia-l4", loader="runai_streamer")
    assert loader.verdict.reason == "NeedsPlugin"
    assert "runai-model-streamer" in loader.verdict.message

    features = replace(FEATURES, plugins=frozenset({"vllm-bnb-plugin", "runai-model-streamer"}))
    request = Request(
        accelerators=("nvidia-l4",), quantization="bitsandbytes", loader="runai_streamer"
    )
    answer = plan(request, LLAMA_8B, GPUS, features)
    assert isinstance(answer, Planned), answer
    assert answer.args["quantization"] == "bitsandbytes"
    assert answer.args["load-format"] == "runai_streamer"
    # It saves memory and costs time, so it is never mistaken for a fast format.
    plain = planned(LLAMA_8B, "nvidia-l4", max_model_len=4096)
    assert answer.memory.weights < plain.memory.weights / 2
    assert answer.expected.itl_s.typical > plain.expected.itl_s.typical


def _adapters(*names: str) -> tuple[Adapter, ...]:
    return tuple(Adapter(name, f"lora/{name}", f"/models/llama/lora/{name}") for name in names)


def test_adapters_are_served_when_they_are_named() -> None:
    facts = replace(LLAMA_8B, adapters=(("lora/sql", 16, 4 * 10**7), ("lora/chat", 40, 10**8)))
    without = planned(facts, "nvidia-l4")
    state, _, why = technique(without, "adapters")
    assert (state, without.memory.adapters) == ("off", 0)
    assert "lora/sql (rank 16)" in why
    assert "model.adapters" in why

    both = planned(facts, "nvidia-l4", adapters=_adapters("sql", "chat"))
    assert technique(both, "adapters")[:2] == ("on", "AsAsked")
    assert both.args["lora-modules"].startswith("sql=/models/llama/lora/sql ")
    # Two slots of rank 64 beside 32 layers: 11 times the hidden width (4096) and 3 times the MLP's
    # (14336) of values at each rank, and two each for queries (4096), keys and values (2 * 1024).
    values = 32 * (7 * 4096 + 2 * 4096 + 2 * 1024 + 3 * 14_336)
    assert both.memory.adapters == 2 * 64 * values * 2
    assert both.memory.kv_budget < without.memory.kv_budget
    one = planned(facts, "nvidia-l4", adapters=_adapters("sql"))
    assert one.args["max-lora-rank"] == "16"
    assert one.memory.adapters == both.memory.adapters // 8


def test_adapters_that_are_not_there_or_too_large_are_refused() -> None:
    facts = replace(LLAMA_8B, adapters=(("lora/big", 1024, 10**9),))
    unknown = refused(facts, "nvidia-l4", adapters=_adapters("sql")).verdict
    assert unknown.reason == "AdapterNotFound"
    assert "sql" in unknown.message
    assert "found: lora/big" in unknown.message
    assert "stoker.dev/reread-model" in unknown.message
    big = refused(facts, "nvidia-l4", adapters=_adapters("big")).verdict
    assert big.reason == "AdapterRankTooHigh"
    assert "at most 512" in big.message


def test_what_prompts_gain_that_begin_alike_is_told_and_not_counted() -> None:
    workload = Workload(input_tokens=4096)
    plain = planned(LLAMA_8B, "nvidia-h100-80gb", workload=workload)
    without = planned(LLAMA_8B, "nvidia-h100-80gb", workload=workload, prefix_caching=False)
    assert plain.expected == without.expected
    why = technique(plain, "prefixCaching")[2]
    assert words.seconds(plain.expected.ttft_s.typical) in why
    offload = planned(LLAMA_8B, "nvidia-h100-80gb", workload=workload, kv_offload_gib=64)
    state, _, why = technique(offload, "kvCacheOffload")
    assert state == "on"
    # 131,072 bytes per token, of 4,352 tokens.
    assert f"keep {64 * GIB // (131_072 * 4352)} requests more" in why


def test_engines_that_are_not_offered() -> None:
    answer = ask(LLAMA_8B, "nvidia-l4")
    assert answer.verdict.reason == "Planned"
    none = plan(Request(engine="tgi"), LLAMA_8B, GPUS, replace(FEATURES, offered=False))
    assert none.verdict.reason == "EngineNotOffered"
