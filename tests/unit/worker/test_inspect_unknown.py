"""Architectures that are not known: shapes speak, a doubt is said, and nothing is too small."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from stoker_worker.inspect import InspectError, Reason, facts_of
from stoker_worker.inspect.headers import Tensor
from stoker_worker.modelfacts import FULL, LATENT, NONE, STATE, Layers, ModelFacts
from tests.support import tensors as t
from tests.support.families import FAMILIES


def _as_unknown(name: str, **change: Any) -> ModelFacts:
    family = FAMILIES[name]
    config = {**family.config, "architectures": ["BrandNewForCausalLM"], **change}
    config.pop("auto_map", None)
    return facts_of(config, family.tensors)


def _kept(facts: ModelFacts) -> int:
    """Values of one token."""
    return sum(
        run.count * (run.kv_heads * (run.head_dim + (run.value_dim or run.head_dim)) + run.latent)
        for run in facts.layers
    )


@pytest.mark.parametrize(
    "name",
    ["llama-3.1-8b", "qwen3-32b", "mixtral-8x7b", "phi-4", "falcon-40b", "deepseek-v2-lite"],
)
def test_shapes_tell_what_a_token_takes(name: str) -> None:
    known, unknown = FAMILIES[name].facts, _as_unknown(name)
    assert not unknown.known
    assert _kept(unknown) == _kept(known)
    assert unknown.layer_count == known.layer_count
    assert unknown.weight_bytes == known.weight_bytes
    assert "'BrandNewForCausalLM' is not known" in unknown.warnings[0]


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"bge-large-en", "deepseek-v3"}))
def test_an_unknown_architecture_is_never_taken_for_less(name: str) -> None:
    known, unknown = FAMILIES[name].facts, _as_unknown(name)
    assert _kept(unknown) >= _kept(known)
    assert all(run.window == 0 for run in unknown.layers)

    def states(facts: ModelFacts) -> int:
        return sum(run.count * run.state_values for run in facts.layers)

    assert states(unknown) >= states(known)


def test_heads_that_divide_are_used_and_others_count_as_one() -> None:
    assert _as_unknown("llama-3.1-8b").layers == (Layers(32, FULL, kv_heads=8, head_dim=128),)
    assert _as_unknown("llama-3.1-8b", num_key_value_heads=7).layers == (
        Layers(32, FULL, kv_heads=1, head_dim=1024),
    )
    assert _as_unknown("llama-3.1-8b", num_key_value_heads=None).layers == (
        Layers(32, FULL, kv_heads=1, head_dim=1024),
    )


def test_a_latent_projection_is_seen() -> None:
    assert _as_unknown("deepseek-v2-lite").layers == (Layers(27, LATENT, latent=576),)


def test_recurrent_layers_are_seen() -> None:
    facts = _as_unknown("nemotron-h-8b")
    kinds = {
        kind: sum(run.count for run in facts.layers if run.kind == kind)
        for kind in (FULL, STATE, NONE)
    }
    assert kinds == {FULL: 4, STATE: 24, NONE: 24}


def _config(**change: Any) -> Mapping[str, Any]:
    return {
        "architectures": ["BrandNew"],
        "hidden_size": 256,
        "vocab_size": 1000,
        "num_attention_heads": 4,
        **change,
    }


def _layer(name: str, *shape: int) -> Tensor:
    return t.tensor(f"model.layers.0.{name}", *shape)


@pytest.mark.parametrize(
    ("tensors", "kept"),
    [
        ([_layer("attn.c_attn.weight", 768, 256)], 512),  # a third each
        ([_layer("attn.qkv.weight", 384, 256), _layer("attn.o_proj.weight", 256, 256)], 128),
        ([_layer("attn.k_proj.weight", 64, 256), _layer("attn.v_proj.weight", 32, 256)], 96),
        ([_layer("attention.strange.weight", 64, 256)], 512),  # as much as the hidden state
        ([_layer("mlp.up_proj.weight", 64, 256)], 0),
    ],
)
def test_what_projections_tell(tensors: list[Tensor], kept: int) -> None:
    assert _kept(facts_of(_config(), tensors)) == kept


@pytest.mark.parametrize(("store", "method"), [(t.awq, "awq"), (t.gptq, "gptq")])
def test_packed_projections_are_unpacked(store: t.Store, method: str) -> None:
    config = FAMILIES["llama-3.1-8b"].config
    tensors = tuple(t.llama(config, store))
    quantized = {
        **config,
        "architectures": ["BrandNew"],
        "quantization_config": {"quant_method": method, "bits": 4, "group_size": 128},
    }
    assert _kept(facts_of(quantized, tensors)) == _kept(FAMILIES["llama-3.1-8b"].facts)


def test_names_that_tell_no_layers_are_refused() -> None:
    with pytest.raises(InspectError) as caught:
        facts_of(_config(), [t.tensor("stem.weight", 5, 5)])
    assert caught.value.reason == Reason.STRUCTURE_UNKNOWN


def test_no_architecture_at_all_is_unknown() -> None:
    config = {**_config(), "architectures": None}
    facts = facts_of(config, [_layer("attn.k_proj.weight", 64, 256)])
    assert not facts.known
    assert facts.architecture == ""


def test_own_code_is_refused_and_an_empty_map_is_none() -> None:
    tensors = [_layer("attn.k_proj.weight", 64, 256)]
    assert not facts_of(_config(auto_map={}), tensors).known
    with pytest.raises(InspectError) as caught:
        facts_of(_config(auto_map={"AutoModel": "m.M"}), tensors)
    assert caught.value.reason == Reason.REMOTE_CODE
