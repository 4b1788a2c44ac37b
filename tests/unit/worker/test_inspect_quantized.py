"""Quantized checkpoints: the same parameters in fewer bytes, and the method by its name."""

from __future__ import annotations

from typing import Any

import pytest

from stoker_worker.inspect import facts_of
from stoker_worker.inspect.headers import Tensor
from stoker_worker.inspect.quantized import quantization
from stoker_worker.inspect.sizes import sizes
from stoker_worker.modelfacts import Quantization
from tests.support import tensors as t
from tests.support.families import FAMILIES, layout

_DENSE = {
    key: value
    for key, value in FAMILIES["llama-3.1-8b"].config.items()
    if key != "quantization_config"
}
_SPARSE = {**FAMILIES["qwen3-30b-a3b"].config, "num_hidden_layers": 2}


def _group(weights: dict[str, Any], active: dict[str, Any] | None = None, **more: Any) -> Any:
    scheme = {"targets": ["Linear"], "weights": weights, "input_activations": active}
    return {"quant_method": "compressed-tensors", "config_groups": {"group_0": scheme}, **more}


_INT4 = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128}
_INT8 = {"num_bits": 8, "type": "int", "strategy": "channel"}
_FP8 = {"num_bits": 8, "type": "float", "strategy": "tensor"}

CASES = {
    "fp8 blocks": (
        {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"},
        t.fp8_blocks,
        Quantization("fp8", 8, 128, 8, floating=True),
    ),
    "fp8": (
        {"quant_method": "fp8", "activation_scheme": "static"},
        t.fp8_tensors,
        Quantization("fp8", 8, 0, 8, floating=True, static=True),
    ),
    "modelopt fp8": (
        {"quant_method": "modelopt", "quant_algo": "FP8", "kv_cache_quant_algo": "FP8"},
        t.fp8_tensors,
        Quantization("modelopt", 8, 0, 8, floating=True, kv_dtype="fp8"),
    ),
    "modelopt nvfp4": (
        {"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16},
        t.nvfp4,
        Quantization("modelopt_fp4", 4, 16, 4, floating=True),
    ),
    "w8a8": (
        _group(_INT8, {"num_bits": 8, "type": "int", "dynamic": True}),
        t.int8_channels,
        Quantization("compressed-tensors", 8, 0, 8),
    ),
    "fp8 dynamic": (
        _group(_FP8, {"num_bits": 8, "type": "float", "dynamic": True}),
        t.fp8_tensors,
        Quantization("compressed-tensors", 8, 0, 8, floating=True),
    ),
    "w4a16": (
        _group(_INT4, kv_cache_scheme={"num_bits": 8, "type": "float"}),
        t.packed_int4,
        Quantization("compressed-tensors", 4, 128, 16, kv_dtype="fp8"),
    ),
    "sparse": (
        _group(_INT8, {"num_bits": 8}, sparsity_config={"format": "dense", "targets": ["Linear"]}),
        t.int8_channels,
        Quantization("compressed-tensors", 8, 0, 8, sparse=True, static=True),
    ),
    "a word about sparsity": (
        _group(_INT8, {"num_bits": 8}, sparsity_config={"format": "dense", "targets": []}),
        t.int8_channels,
        Quantization("compressed-tensors", 8, 0, 8, static=True),
    ),
    "awq": (
        {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm"},
        t.awq,
        Quantization("awq", 4, 128),
    ),
    "gptq": (
        {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": True},
        t.gptq,
        Quantization("gptq", 4, 128),
    ),
    "bitsandbytes": (
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        t.nf4,
        Quantization("bitsandbytes", 4, 64),
    ),
}


@pytest.mark.parametrize("base", [_DENSE, _SPARSE], ids=["dense", "experts"])
@pytest.mark.parametrize("case", sorted(CASES))
def test_parameters_stay_what_they_are(case: str, base: dict[str, Any]) -> None:
    written, store, expected = CASES[case]
    plain = facts_of(base, tuple(layout(base)))
    found = facts_of({**base, "quantization_config": written}, tuple(layout(base, store)))
    assert found.quantization == expected
    assert found.parameters == plain.parameters
    assert found.embedding_parameters == plain.embedding_parameters
    assert found.expert_parameters == plain.expert_parameters
    assert found.warnings == ()
    assert found.dtype == "bfloat16"
    # Linear layers shrink to their bits and at most an eighth of overhead; embeddings do not.
    linear = plain.parameters - plain.embedding_parameters
    rest = found.weight_bytes - 2 * plain.embedding_parameters
    assert expected.bits / 8 <= rest / linear <= expected.bits / 8 * 1.13


def test_bytes_are_those_on_disk() -> None:
    found = facts_of({**_DENSE, "quantization_config": CASES["awq"][0]}, (*layout(_DENSE, t.awq),))
    assert found.weight_bytes == sum(found.bytes_by_dtype.values())
    assert found.weight_bytes == pytest.approx(5.73e9, rel=0.01)  # what the hub shows


@pytest.mark.parametrize(
    ("separate", "expected"),
    [
        (
            {"w_bit": 4, "q_group_size": 128, "zero_point": True, "version": "GEMM"},
            Quantization("awq", 4, 128),
        ),
        ({"bits": 3, "group_size": -1, "desc_act": False}, Quantization("gptq", 3, 0)),
        (
            {
                "producer": {"name": "modelopt", "version": "0.15"},
                "quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": None},
            },
            Quantization("modelopt", 8, 0, 8, floating=True),
        ),
        (
            {
                "producer": {"name": "modelopt"},
                "quantization": {"quant_algo": "W4A8_AWQ", "group_size": 128},
            },
            Quantization("modelopt", 4, 128, 8),
        ),
    ],
)
def test_files_of_older_tools(separate: dict[str, Any], expected: Quantization) -> None:
    assert quantization({}, separate) == (expected, [])


def test_config_json_comes_before_a_file_of_its_own() -> None:
    found, _ = quantization({"quantization_config": {"quant_method": "fp8"}}, {"w_bit": 4})
    assert found is not None
    assert found.method == "fp8"


def test_a_nested_configuration_counts() -> None:
    written = {"text_config": {"quantization_config": {"quant_method": "awq", "bits": 4}}}
    found, _ = quantization(written)
    assert found == Quantization("awq", 4, 128)


def test_eight_bits_of_bitsandbytes() -> None:
    written = {"quant_method": "bitsandbytes", "load_in_8bit": True, "load_in_4bit": False}
    assert quantization({"quantization_config": written})[0] == Quantization(
        "bitsandbytes", 8, activation_bits=8
    )


def test_no_quantization_is_none() -> None:
    assert quantization({}) == (None, [])
    assert quantization({"quantization_config": None}) == (None, [])


def test_the_scheme_with_the_fewest_bits_speaks() -> None:
    written = _group(_INT8, {"num_bits": 8})
    written["config_groups"]["group_1"] = {"weights": _INT4}
    found, said = quantization({"quantization_config": written})
    assert found == Quantization("compressed-tensors", 4, 128)
    assert "4 and 8 bits" in said[0]


def test_four_bits_with_eight_bit_activations_take_a_byte_each() -> None:
    written = _group(_INT4, {"num_bits": 8, "type": "int", "dynamic": True})
    tensors = tuple(layout(_DENSE, t.int8_channels))
    found = facts_of({**_DENSE, "quantization_config": written}, tensors)
    assert found.parameters == FAMILIES["llama-3.1-8b"].published
    assert found.quantization == Quantization("compressed-tensors", 4, 128, 8)


def test_eight_bits_packed_into_words() -> None:
    written = _group({"num_bits": 8, "type": "int", "group_size": 64})
    tensors = [
        t.tensor("model.layers.0.mlp.up_proj.weight_packed", 192, 128, dtype="I32"),
        t.tensor("model.layers.0.mlp.up_proj.weight_scale", 192, 8),
    ]
    found = facts_of({**_DENSE, "quantization_config": written}, tensors)
    assert found.parameters == 192 * 512


def test_a_method_that_is_not_known_is_named() -> None:
    found, said = quantization({"quantization_config": {"quant_method": "sparkle", "bits": 5}})
    assert found == Quantization("sparkle", 5)
    assert "sparkle" in said[0]


@pytest.mark.parametrize(
    "junk",
    [
        {"quant_method": 7, "bits": "four", "group_size": [1]},
        {"quant_method": "compressed-tensors", "config_groups": [1, 2]},
        {"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": 3}}},
        {"quant_method": "fp8", "weight_block_size": ["a"]},
        {"quant_method": "modelopt", "quant_algo": 5},
        {"quant_method": "awq", "bits": float("nan")},
        {"quant_method": "gptq", "bits": 10**30, "group_size": -(10**30)},
    ],
)
def test_junk_gives_a_default_and_no_crash(junk: dict[str, Any]) -> None:
    found, _ = quantization({"quantization_config": junk})
    assert found is not None
    assert 1 <= found.bits <= 64
    assert found.group >= 0


def test_buffers_are_no_parameters() -> None:
    buffers = [
        Tensor("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", (64,), 256),
        Tensor("transformer.h.0.attn.masked_bias", "F32", (), 4),
        Tensor("transformer.h.0.attn.bias", "BOOL", (1, 1, 8, 8), 64),
        Tensor("embeddings.position_ids", "I64", (1, 512), 4096),
    ]
    found = sizes(buffers)
    assert found.parameters == 0
    assert found.weight_bytes == 256 + 4 + 64 + 4096
