"""Whatever a configuration holds: facts that fit, or one kind of error. Never a crash."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker_worker.contract import FactsReason
from stoker_worker.inspect import InspectError, facts_of, inspect_model
from stoker_worker.inspect.architectures import KNOWN
from stoker_worker.inspect.headers import DTYPE_BITS, Tensor
from stoker_worker.modelfacts import MAX_BYTES, ModelFacts, from_json, to_json
from tests.support.checkpoints import write_model
from tests.support.families import FAMILIES, layout

_REASONS = {value for name, value in vars(FactsReason).items() if name.isupper()}
_KEYS = sorted(
    {key for family in FAMILIES.values() for key in family.config}
    | {key for family in FAMILIES.values() for key in family.config.get("text_config", {})}
    | {key for known in KNOWN.values() for key in known.defaults}
    | {"layers_block_type", "attn_layer_indices", "index_head_dim", "model_max_length", "auto_map"}
    | {"compression_config", "num_heads", "state_size", "mamba_d_head", "sliding_window_pattern"}
)
_NUMBERS = st.one_of(
    st.integers(0, 300),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from([1, 2, 8, 64, 128, 4096, 512, 2**31]),
)
_WORDS = st.sampled_from(
    ["full_attention", "sliding_attention", "mamba", "hybrid", "moe", "yarn", "M-*E", "", "é" * 90]
)
_LEAVES = st.none() | st.booleans() | _NUMBERS | _WORDS | st.text(max_size=6)
_JSON = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=6), inner, max_size=6)
    ),
    max_leaves=12,
)
_CONFIGS = st.dictionaries(st.sampled_from(_KEYS), _JSON, max_size=12)
_SHAPES = st.lists(st.integers(0, 2**20), max_size=3).map(tuple)
_PARTS = st.sampled_from(
    [
        "self_attn.k_proj.weight",
        "self_attn.v_proj.qweight",
        "self_attn.qkv_proj.weight",
        "self_attn.o_proj.weight",
        "mixer.A_log",
        "mlp.experts.0.up_proj.weight",
        "mlp.experts.down_proj_blocks",
        "kv_a_proj_with_mqa.weight",
    ]
)
_TENSORS = st.lists(
    st.builds(
        Tensor,
        name=st.builds(lambda n, part: f"model.layers.{n}.{part}", st.integers(0, 700), _PARTS)
        | st.sampled_from(["lm_head.weight", "model.embed_tokens.weight", "mtp.layers.0.x"])
        | st.text(max_size=20),
        dtype=st.sampled_from([*DTYPE_BITS, "F3"]),
        shape=_SHAPES,
        size=st.integers(0, 2**50),
    ),
    max_size=12,
    unique_by=lambda each: each.name,
)


def _tried(config: Any, tensors: list[Tensor]) -> ModelFacts | InspectError:
    try:
        return facts_of(config, tensors)
    except InspectError as error:
        return error


def _holds(config: Any, tensors: list[Tensor]) -> None:
    facts = _tried(config, tensors)
    if isinstance(facts, InspectError):
        assert facts.reason in _REASONS
        assert facts.message
        return
    text = to_json(facts)
    assert len(text.encode()) <= MAX_BYTES
    assert from_json(text) == facts
    assert facts.weight_bytes == sum(each.size for each in tensors)
    assert 0 <= facts.embedding_parameters + facts.expert_parameters <= facts.parameters
    assert 0 <= facts.active_parameters <= facts.parameters
    assert facts.layers


@given(_CONFIGS, _TENSORS)
def test_any_configuration_gives_facts_or_a_reason(config: Any, tensors: list[Tensor]) -> None:
    _holds(config, tensors)
    layer = Tensor("model.layers.0.self_attn.k_proj.weight", "BF16", (64, 64), 8192)
    _holds({**config, "hidden_size": 64, "vocab_size": 100, "auto_map": None}, [*tensors, layer])


@settings(max_examples=150)
@given(st.sampled_from(sorted(KNOWN)), _CONFIGS, _TENSORS)
def test_any_change_to_a_known_one_gives_facts_or_a_reason(
    name: str, change: Any, tensors: list[Tensor]
) -> None:
    base = {
        "hidden_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "vocab_size": 100,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "layer_types": ["mamba", "attention", "hybrid", "moe"],
        "mamba_n_heads": 4,
    }
    _holds({**base, "architectures": [name], **change}, tensors)


@settings(max_examples=30)
@given(
    st.lists(
        st.sampled_from(["full_attention", "sliding_attention", "chunked_attention"]),
        min_size=128,
        max_size=512,
    )
)
def test_any_pattern_of_many_layers_fits(words: list[str]) -> None:
    config = {
        **FAMILIES["gpt-oss-20b"].config,
        "num_hidden_layers": len(words),
        "layer_types": words,
        "attention_chunk_size": 8192,
    }
    facts = facts_of(config, ())
    assert facts.layer_count == len(words)
    assert from_json(to_json(facts)) == facts


def test_the_worst_of_everything_fits() -> None:
    """Many kinds of layers, in the worst order, and everything else as long as it gets."""
    config = {
        "architectures": ["Unheard" + "é" * 200],
        "model_type": "é" * 200,
        "hidden_size": 4096,
        "vocab_size": 1000,
        "num_key_value_heads": 1,
        "quantization_config": {"quant_method": "é" * 200, "bits": 4},
    }
    tensors = [
        Tensor(f"layers.{n}.attn.{part}_proj.weight", f"T{n}", (10_000 + n % 8 * 7, 5), 10**15)
        for n in range(512)
        for part in "kv"
    ]
    adapters = [(f"{n}" + "é" * 200, 2**20 + n, 10**12) for n in range(500)]
    facts = facts_of(config, tensors, adapters=adapters, warnings=["é" * 500] * 50)
    assert len(to_json(facts).encode()) <= MAX_BYTES
    assert from_json(to_json(facts)) == facts
    assert facts.layer_count == 512
    assert sum(facts.bytes_by_dtype.values()) == facts.weight_bytes


@settings(max_examples=30)
@given(st.binary(max_size=300))
def test_any_bytes_as_a_configuration(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_bytes(raw)
    with pytest.raises(InspectError) as caught:
        inspect_model(folder)
    assert caught.value.reason in {"ModelConfigInvalid", "WeightsMissing"}


@settings(max_examples=30)
@given(data=st.data())
def test_any_flipped_byte_of_a_file_gives_facts_or_a_reason(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    small = {
        **FAMILIES["llama-2-7b"].config,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 32,
        "vocab_size": 10,
    }
    folder = write_model(tmp_path_factory.mktemp("model"), small, tuple(layout(small)))
    name = data.draw(st.sampled_from(["config.json", "model.safetensors"]))
    raw = bytearray((folder / name).read_bytes())
    head = len(raw) if name == "config.json" else int.from_bytes(raw[:8], "little") + 8
    raw[data.draw(st.integers(0, head - 1))] = data.draw(st.integers(0, 255))
    (folder / name).write_bytes(raw)
    with suppress(InspectError):
        facts = inspect_model(folder)
        assert from_json(to_json(facts)) == facts


def test_reading_is_the_same_in_any_order(tmp_path: Path) -> None:
    config = FAMILIES["llama-3.1-8b"].config
    tensors = FAMILIES["llama-3.1-8b"].tensors
    assert facts_of(config, tensors[::-1]) == facts_of(config, tensors)
    assert inspect_model(write_model(tmp_path, config, tensors[::-1])) == facts_of(config, tensors)
