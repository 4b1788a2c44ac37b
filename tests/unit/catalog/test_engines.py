"""What engines can do: the published facts, by version and hardware, as answers with reasons."""

import re
from typing import Any

import pytest

from stoker.catalog.enginefile import parse_engines, parse_version, version_of_image
from stoker.catalog.engines import EngineFeatures, Feature, State
from stoker.catalog.hardware import CatalogError
from stoker.catalog.load import builtin_engines, builtin_gpus, read

GPUS = builtin_gpus()
ENGINES = builtin_engines()
VLLM = ENGINES["vllm"].at("0.33.0")
OLD = ENGINES["vllm"].at("0.19.0")


@pytest.mark.parametrize(
    ("gpu", "method", "state", "reason"),
    [
        ("nvidia-h100-80gb", "fp8", State.NATIVE, "Supported"),
        ("nvidia-l4", "fp8", State.NATIVE, "Supported"),
        ("nvidia-a100-80gb", "fp8", State.STORED, "Fp8WeightsOnly"),
        ("nvidia-t4", "fp8", State.STORED, "Fp8WeightsOnly"),
        ("nvidia-v100-16gb", "fp8", State.REFUSED, "Fp8NeedsHopperOrAda"),
        ("amd-mi300x", "fp8", State.NATIVE, "Supported"),
        ("cpu", "fp8", State.SLOW, "Fp8SlowOnCpu"),
        ("nvidia-t4", "int8", State.NATIVE, "Supported"),
        ("nvidia-b200", "int8", State.REFUSED, "Int8NotOnBlackwell"),
        ("nvidia-v100-16gb", "int8", State.REFUSED, "Int8NeedsTuring"),
        ("nvidia-a10g", "awq", State.STORED, "Supported"),
        ("nvidia-t4", "gptq", State.STORED, "SlowerKernels"),
        ("nvidia-v100-32gb", "int4", State.REFUSED, "Int4NeedsTuring"),
        ("cpu", "int4", State.STORED, "Supported"),
        ("nvidia-b200", "mxfp4", State.NATIVE, "Supported"),
        ("nvidia-h100-80gb", "mxfp4", State.STORED, "Mxfp4WeightsOnly"),
        ("nvidia-t4", "mxfp4", State.REFUSED, "Mxfp4NeedsAmpere"),
        ("cpu", "mxfp4", State.REFUSED, "Mxfp4NotOnCpu"),
        ("cpu", "int8", State.NATIVE, "Supported"),
        ("cpu", "int8_weight_only", State.REFUSED, "WeightOnly8NotHere"),
        ("cpu", "fp8_weight_only", State.REFUSED, "WeightOnly8NotHere"),
        ("cpu", "fp8_static", State.REFUSED, "StaticFp8NotOnCpu"),
        ("nvidia-b200", "int8_weight_only", State.STORED, "Int8WeightsOnly"),
        ("amd-mi300x", "fp8_weight_only", State.REFUSED, "WeightOnly8NotHere"),
        ("nvidia-h100-80gb", "nvfp4", State.STORED, "Nvfp4WeightsOnly"),
        ("nvidia-rtx-pro-6000", "nvfp4", State.NATIVE, "Supported"),
        ("nvidia-l4", "none", State.NATIVE, "Unquantized"),
        ("nvidia-l4", "gguf", State.REFUSED, "QuantizationUnknown"),
    ],
)
def test_weights(gpu: str, method: str, state: State, reason: str) -> None:
    support = VLLM.quantization(method, GPUS[gpu])
    assert (support.state, support.reason) == (state, reason)
    assert support.usable == (state is not State.REFUSED)
    assert support.why.endswith(".")


def test_bitsandbytes_needs_its_plugin_since_it_left_the_core() -> None:
    gpu = GPUS["nvidia-l4"]
    refused = VLLM.quantization("bitsandbytes", gpu)
    assert (refused.usable, refused.reason) == (False, "NeedsPlugin")
    assert "vllm-bnb-plugin" in refused.why
    assert "engines.vllm.plugins" in refused.why
    brought = ENGINES["vllm"].at("0.33.0", ["vllm-bnb-plugin"])
    assert brought.quantization("bitsandbytes", gpu).usable
    assert brought.made_at_load("bitsandbytes", GPUS["cpu"]).usable
    assert ENGINES["vllm"].at("0.27.1").quantization("bitsandbytes", gpu).usable
    assert not ENGINES["vllm"].at("0.28.0").quantization("bitsandbytes", gpu).usable
    assert not ENGINES["vllm"].at("0.27.1").quantization("bitsandbytes", GPUS["cpu"]).usable


@pytest.mark.parametrize(
    ("gpu", "method", "usable", "reason"),
    [
        ("nvidia-h100-80gb", "fp8", True, "Supported"),
        ("nvidia-a10", "fp8", True, "Fp8WeightsOnly"),
        ("cpu", "fp8", False, "NeedsCheckpoint"),
        ("nvidia-v100-16gb", "fp8", False, "Fp8NeedsHopperOrAda"),
        ("nvidia-h100-80gb", "awq", False, "NeedsCheckpoint"),
        ("nvidia-h100-80gb", "int8", True, "ExpertsOnly"),
        ("cpu", "int8", False, "NeedsCheckpoint"),
        ("nvidia-b200", "int8", False, "Int8NotOnBlackwell"),
        ("nvidia-h100-80gb", "none", True, "Unquantized"),
    ],
)
def test_what_is_made_at_load(gpu: str, method: str, *, usable: bool, reason: str) -> None:
    support = VLLM.made_at_load(method, GPUS[gpu])
    assert (support.usable, support.reason) == (usable, reason)


def test_the_flag_takes_the_engines_own_word() -> None:
    gpu = GPUS["nvidia-l4"]
    assert VLLM.made_at_load("fp8", gpu).value == "fp8"
    assert VLLM.made_at_load("int8", gpu).value == "int8_per_channel_weight_only"
    assert not ENGINES["vllm"].at("0.31.0").made_at_load("int8", gpu).usable
    assert VLLM.kv_dtype("fp8", gpu).value == "fp8"
    assert VLLM.kv_dtype("int8", gpu).value == "int8_per_token_head"
    assert VLLM.kv_dtype("int4", gpu).value == "int4_per_token_head"
    assert VLLM.kv_dtype("auto", gpu).value == "auto"
    assert VLLM.speculation("draft", gpu).value == "draft_model"
    assert VLLM.loader("sharded_state", gpu).value == "sharded_state"


@pytest.mark.parametrize(
    ("name", "head_dim", "capacity"),
    [
        ("auto", 128, 1.0),
        ("fp8", 128, 2.0),
        ("int8", 128, 1.94),
        ("int4", 128, 3.76),
        ("int8", 64, 1.88),
        ("int4", 64, 3.56),
    ],
)
def test_the_kv_cache_holds_as_many_tokens_as_was_published(
    name: str, head_dim: int, capacity: float
) -> None:
    kept = VLLM.kv_dtype(name, GPUS["nvidia-h100-80gb"])
    assert kept.honoured
    assert kept.capacity(head_dim) == pytest.approx(capacity, abs=0.005)


def test_the_scales_of_integers_keep_them_to_triton_and_off_latent_layers() -> None:
    for name in ("int8", "int4"):
        kept = VLLM.kv_dtype(name, GPUS["nvidia-h100-80gb"])
        assert (kept.attention, kept.latent) == ("TRITON_ATTN", False)
    kept = VLLM.kv_dtype("fp8", GPUS["nvidia-h100-80gb"])
    assert (kept.attention, kept.latent) == (None, True)


def test_processors_accept_four_bits_and_keep_eight() -> None:
    kept = VLLM.kv_dtype("int4", GPUS["cpu"])
    assert (kept.usable, kept.honoured, kept.bits) == (True, False, 8)
    assert kept.reason == "KvDtypeNotHonoured"
    # As measured: 8,192 blocks for fp8, int8 and int4, 4,096 for bf16.
    for name in ("fp8", "int8", "int4"):
        assert VLLM.kv_dtype(name, GPUS["cpu"]).capacity(16) == 2.0
    assert VLLM.kv_dtype("int8", GPUS["cpu"]).honoured
    assert VLLM.kv_dtype("int8", GPUS["cpu"]).attention is None


@pytest.mark.parametrize(
    ("gpu", "name", "reason"),
    [
        ("nvidia-t4", "fp8", "Fp8KvNeedsAmpere"),
        ("nvidia-a100-80gb", "fp8_per_token_head", "Fp8KvNeedsHopperOrAda"),
        ("nvidia-h100-80gb", "int3", "KvDtypeUnknown"),
    ],
)
def test_kv_types_that_are_refused(gpu: str, name: str, reason: str) -> None:
    kept = VLLM.kv_dtype(name, GPUS[gpu])
    assert (kept.usable, kept.honoured, kept.reason) == (False, False, reason)


def test_versions_bring_and_take_away() -> None:
    gpu = GPUS["nvidia-h100-80gb"]
    vllm = ENGINES["vllm"]
    assert not OLD.kv_dtype("int8", gpu).usable
    assert vllm.at("0.20.0").kv_dtype("int8", gpu).usable
    assert not vllm.at("0.23.0").kv_dtype("int4", gpu).usable
    assert vllm.at("0.24.0").kv_dtype("int4", gpu).usable
    assert OLD.sparse_checkpoint().usable
    assert VLLM.sparse_checkpoint().reason == "SparsityNotSupported"
    assert (OLD.gpu_memory_utilization, VLLM.gpu_memory_utilization) == (0.9, 0.92)
    assert (OLD.driver, VLLM.driver) == (575, 580)
    # What a range does not mention stays as it was.
    assert VLLM.dtypes == OLD.dtypes


@pytest.mark.parametrize(
    ("version", "since", "assumed"),
    [
        ("0.33.0", "0.32", False),
        ("v0.33.1", "0.32", False),
        ("0.32.0+cpu", "0.32", False),
        ("0.24.1", "0.24", False),
        ("0.34.0", "0.32", True),
        ("1.0.0", "0.32", True),
        ("", "0.32", True),
        ("nightly", "0.32", True),
        ("0.6.3", "0.19", True),
    ],
)
def test_a_version_that_nobody_looked_at_is_assumed(
    version: str, since: str, *, assumed: bool
) -> None:
    features = ENGINES["vllm"].at(version)
    assert (features.since, features.assumed, features.version) == (since, assumed, version)


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("docker.io/vllm/vllm-openai:v0.33.0", "0.33.0"),
        ("vllm/vllm-openai:v0.33.0-cu129@sha256:0123", "0.33.0"),
        ("localhost:5000/vllm:0.32", "0.32.0"),
        ("localhost:5000/vllm", ""),
        ("vllm/vllm-openai:latest", ""),
        ("vllm/vllm-openai@sha256:0.33", ""),
    ],
)
def test_the_version_is_in_the_tag(image: str, version: str) -> None:
    assert version_of_image(image) == version


def test_hardware_that_the_image_has_no_code_for() -> None:
    for name in ("nvidia-v100-16gb", "nvidia-v100-32gb"):
        assert VLLM.runs_on(GPUS[name]).reason == "ComputeCapabilityTooLow"
    rest = [name for name in GPUS if "v100" not in name]
    assert all(VLLM.runs_on(GPUS[name]).usable for name in rest)


def test_no_bfloat16_before_ampere() -> None:
    assert VLLM.dtype("bfloat16", GPUS["nvidia-t4"]).reason == "Bf16NeedsAmpere"
    assert VLLM.dtype("float16", GPUS["nvidia-t4"]).usable
    for name, gpu in GPUS.items():
        # What the hardware has no rate for the engine must refuse.
        assert VLLM.dtype("bfloat16", gpu).usable == ("bfloat16" in gpu.flops), name


@pytest.mark.parametrize(
    ("gpu", "backends"),
    [
        ("cpu", ["CPU_ATTN"]),
        ("amd-mi300x", ["ROCM_ATTN", "TRITON_ATTN"]),
        ("nvidia-t4", ["TRITON_ATTN", "FLEX_ATTENTION"]),
        ("nvidia-h100-80gb", ["FLASH_ATTN", "FLASHINFER", "TRITON_ATTN", "FLEX_ATTENTION"]),
        ("nvidia-b200", ["FLASHINFER", "FLASH_ATTN", "TRITON_ATTN", "FLEX_ATTENTION"]),
        ("nvidia-rtx-pro-6000", ["FLASH_ATTN", "FLASHINFER", "TRITON_ATTN", "FLEX_ATTENTION"]),
    ],
)
def test_attention_backends_in_the_engines_order(gpu: str, backends: list[str]) -> None:
    assert list(VLLM.attention_backends(GPUS[gpu])) == backends
    assert VLLM.attention_backend(backends[0], GPUS[gpu]).usable


def test_the_rest() -> None:
    cpu, gpu = GPUS["cpu"], GPUS["nvidia-l4"]
    assert VLLM.parallelism("pipeline", cpu).reason == "NoPipelineOnCpu"
    assert VLLM.parallelism("tensor", cpu).usable
    assert not VLLM.technique("graphs", cpu).usable
    assert VLLM.technique("compile", cpu).usable
    assert VLLM.technique("cpuOffload", gpu).state is State.SLOW
    assert VLLM.technique("kvOffload", cpu).reason == "GpuOnly"
    assert VLLM.technique("magic", gpu).reason == "TechniqueUnknown"
    assert VLLM.loader("auto", cpu).usable
    assert VLLM.loader("fastsafetensors", gpu).reason == "NeedsPlugin"
    brought = ENGINES["vllm"].at("0.33.0", ["fastsafetensors"])
    assert brought.loader("fastsafetensors", gpu).usable
    assert brought.loader("fastsafetensors", cpu).reason == "LoaderNeedsNvidia"
    assert VLLM.speculation("none", gpu).usable
    assert "ngram" in VLLM.speculation("medusa", gpu).why


@pytest.mark.parametrize("name", [name for name in ENGINES if name != "vllm"])
def test_other_engines_are_listed_with_a_way_out(name: str) -> None:
    support = ENGINES[name].at("1.0").runs_on(GPUS["nvidia-l4"])
    assert (support.usable, support.reason) == (False, "EngineNotOffered")
    assert "vllm" in support.why.lower()
    assert not ENGINES[name].at("").sparse_checkpoint().usable
    assert not ENGINES[name].offered


def test_tgi_is_said_to_be_archived() -> None:
    assert "archived" in ENGINES["tgi"].at("3.0").runs_on(GPUS["nvidia-l4"]).why


def features_of(features: EngineFeatures) -> list[Feature]:
    sections = (
        features.dtypes, features.weights, features.loadtime, features.speculations,
        features.loaders, features.attention, features.parallel, features.techniques,
    )  # fmt: skip
    found = [feature for section in sections for feature in section.values()]
    return [features.hardware, *found, *(kind.feature for kind in features.kv.values())]


@pytest.mark.parametrize("version", ["0.19", "0.20", "0.24", "0.28", "0.32"])
def test_every_answer_has_a_reason_and_a_sentence(version: str) -> None:
    for feature in features_of(ENGINES["vllm"].at(version)):
        for gpu in GPUS.values():
            support = feature.on(gpu)
            assert re.fullmatch("[A-Z][A-Za-z0-9]+", support.reason)
            assert re.fullmatch(r"\S.*\.", support.why)
            assert support.reason != "NotSupported", "a rule is missing for a known type"


def changed(change: Any, **fields: Any) -> Any:
    data = read("engines.yaml")
    data["vllm"].update(fields)
    change(data["vllm"]["versions"])
    return data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "engines.yaml: must be a mapping"),
        (changed(lambda v: v[1].update(drivr=1)), "vllm 0.20: drivr: Extra inputs"),
        (changed(lambda v: v.reverse()), "Field required"),
        (changed(lambda v: v.insert(1, {"since": "0.19"})), "must go from old to new"),
        (changed(lambda _: None, offered=False), "an engine that is offered needs versions"),
        (
            changed(lambda v: v[0]["weights"]["fp8"]["rules"][0].update(since="ada")),
            "vllm 0.19: weights.fp8.rules.0.since: String should match",
        ),
        (
            changed(lambda v: v[0]["weights"]["fp8"]["rules"][0].update(state="great")),
            "vllm 0.19: weights.fp8.rules.0.state:",
        ),
    ],
)
def test_a_slip_in_the_file_names_its_place(data: Any, words: str) -> None:
    with pytest.raises(CatalogError, match=re.escape(words)):
        parse_engines(data)


def test_a_null_takes_away() -> None:
    data = changed(lambda v: v.append({"since": "0.40", "kv": {"int4": None}}))
    engines = parse_engines(data)
    assert "int4" not in engines["vllm"].at("0.40").kv
    assert "int4" in engines["vllm"].at("0.39").kv


def test_versions_are_compared_as_numbers() -> None:
    assert parse_version("0.9.1") == (0, 9, 1)
    low, high = parse_version("v0.9"), parse_version("0.19.0rc1")
    assert low is not None
    assert high is not None
    assert low < high
    assert parse_version("latest") is None
