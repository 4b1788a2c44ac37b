"""Public models: what the inspection says of them agrees with what is published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from stoker_worker.inspect import InspectError, Reason, facts_of
from stoker_worker.modelfacts import (
    FULL,
    LATENT,
    MAX_BYTES,
    NONE,
    SLIDING,
    STATE,
    Layers,
    ModelFacts,
    from_json,
    to_dict,
    to_json,
)
from tests.support.families import FAMILIES, layout

NAMES = sorted(FAMILIES)


def _per_token(facts: ModelFacts, width: int = 2) -> int:
    """Bytes that one more token takes on the whole replica, while no window is full."""
    each = {
        FULL: lambda run: run.kv_heads * (run.head_dim + (run.value_dim or run.head_dim)),
        SLIDING: lambda run: run.kv_heads * (run.head_dim + (run.value_dim or run.head_dim)),
        LATENT: lambda run: run.latent,
    }
    return sum(run.count * each[run.kind](run) * width for run in facts.layers if run.kind in each)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_that_are_published(name: str) -> None:
    family = FAMILIES[name]
    assert family.facts.parameters == pytest.approx(family.published, rel=0.0005)


@pytest.mark.parametrize("name", NAMES)
def test_facts_are_known_without_a_doubt_and_fit(name: str) -> None:
    facts = FAMILIES[name].facts
    assert facts.known
    assert facts.warnings == ()
    assert len(to_json(facts)) < MAX_BYTES // 3
    assert from_json(to_json(facts)) == facts


@pytest.mark.parametrize(
    ("name", "kib"),
    [
        ("llama-3.1-8b", 128),
        ("llama-3.1-70b", 320),
        ("llama-2-7b", 512),
        ("qwen3-32b", 256),
        ("qwen3-30b-a3b", 96),
        ("mistral-7b-v0.3", 128),
        ("qwen2.5-7b", 56),
        ("phi-4", 200),
        ("falcon-7b", 8),
        ("falcon-40b", 120),
        ("deepseek-v3", 61 * 576 * 2 / 1024),
        ("deepseek-v2-lite", 27 * 576 * 2 / 1024),
        ("jamba-v0.1", 16),
        ("bge-large-en", 0),
    ],
)
def test_memory_of_a_token(name: str, kib: float) -> None:
    assert _per_token(FAMILIES[name].facts) == kib * 1024


@pytest.mark.parametrize(
    ("name", "order", "windows"),
    [
        ("gemma-2-9b", "ab" * 21, [4096, 0]),
        ("gemma-3-27b", "5ab" * 10 + "2a", [1024, 0]),
        ("gpt-oss-20b", "ab" * 12, [128, 0]),
        ("llama-4-scout", "3ab" * 12, [8192, 0]),
        ("mistral-7b-v0.1", "32a", [4096]),
        ("mistral-7b-v0.3", "32a", [0]),
        ("phi-3-mini-4k", "32a", [2047]),
        ("qwen2.5-7b", "28a", [0]),
        ("jamba-v0.1", "4ab" + "7ab" * 3 + "3a", [0, 0]),
    ],
)
def test_the_pattern_of_the_layers(name: str, order: str, windows: list[int]) -> None:
    layers = to_dict(FAMILIES[name].facts)["layers"]
    assert layers["order"] == order
    assert [kind.get("window", 0) for kind in layers["kinds"]] == windows


@pytest.mark.parametrize(
    ("name", "experts", "active", "billions"),
    [
        ("qwen3-30b-a3b", 128, 8, 3.3),
        ("qwen3-235b-a22b", 128, 8, 22),
        ("mixtral-8x7b", 8, 2, 12.9),
        ("deepseek-v3", 256, 8, 37),
        ("deepseek-v2-lite", 64, 6, 2.7),
        ("llama-4-scout", 16, 1, 17),
        ("gpt-oss-20b", 32, 4, 3.6 + 0.58),  # its makers leave the input embedding out
        ("gpt-oss-120b", 128, 4, 5.1 + 0.58),
        ("jamba-v0.1", 16, 2, 12),
    ],
)
def test_experts_and_what_a_token_meets(
    name: str, experts: int, active: int, billions: float
) -> None:
    facts = FAMILIES[name].facts
    assert (facts.experts, facts.experts_active) == (experts, active)
    assert facts.active_parameters / 1e9 == pytest.approx(billions, rel=0.07)


def test_experts_of_gpt_oss_are_most_of_its_bytes() -> None:
    facts = FAMILIES["gpt-oss-120b"].facts
    # 4.25 bits a weight, and the biases.
    assert facts.expert_bytes / facts.expert_parameters == pytest.approx(4.25 / 8, rel=0.002)
    assert facts.expert_bytes / facts.weight_bytes > 0.9


def test_deepseek_keeps_its_draft_layer_apart() -> None:
    facts = FAMILIES["deepseek-v3"].facts
    assert facts.draft_layers == 1
    assert facts.layer_count == 61
    # 11.5 billion of its own, and the embedding and the head once more.
    assert facts.draft_parameters / 1e9 == pytest.approx(11.6 + 2 * 0.927, rel=0.01)
    assert facts.parameters + facts.draft_parameters == pytest.approx(684_531_386_000, rel=0.0005)
    assert facts.draft_bytes < 0.03 * facts.weight_bytes


def test_remote_code_of_a_known_architecture_is_not_needed() -> None:
    assert FAMILIES["deepseek-v3"].config["auto_map"]
    assert FAMILIES["deepseek-v3"].facts.known


def test_states_of_mamba_layers() -> None:
    jamba = next(run for run in FAMILIES["jamba-v0.1"].facts.layers if run.kind == STATE)
    assert jamba.state_values == 8192 * 16 + 8192 * 3
    runs = FAMILIES["nemotron-h-8b"].facts.layers
    state = next(run for run in runs if run.kind == STATE)
    assert state.state_values == 128 * 64 * 128 + 3 * (128 * 64 + 2 * 8 * 128)
    counts = {
        kind: sum(run.count for run in runs if run.kind == kind) for kind in (STATE, FULL, NONE)
    }
    assert counts == {STATE: 24, FULL: 4, NONE: 24}


def test_an_embedder_keeps_nothing() -> None:
    facts = FAMILIES["bge-large-en"].facts
    assert facts.task == "embed"
    assert facts.layers == (Layers(24, NONE),)
    assert facts.dtype == "float32"
    assert facts.max_positions == 512


@pytest.mark.parametrize("name", ["gemma-2-9b", "gemma-3-27b", "falcon-7b"])
def test_a_tied_head_counts_once(name: str) -> None:
    facts = FAMILIES[name].facts
    assert facts.tied_embeddings
    assert facts.embedding_parameters == facts.vocab * facts.hidden


def test_a_head_of_its_own_counts_as_embedding_too() -> None:
    facts = FAMILIES["llama-3.1-8b"].facts
    assert not facts.tied_embeddings
    assert facts.embedding_parameters == 2 * facts.vocab * facts.hidden


@pytest.mark.parametrize(
    ("name", "longest"),
    [
        ("llama-3.1-8b", 131072),  # the stretched length stands in the configuration
        ("gpt-oss-20b", 131072),  # YaRN: 32 times 4,096
        ("deepseek-v3", 163840),  # YaRN: 40 times 4,096
        ("gemma-3-27b", 131072),  # left to the class, and not stretched again
        ("falcon-7b", 2048),
        ("llama-4-scout", 10485760),
    ],
)
def test_longest_request(name: str, longest: int) -> None:
    assert FAMILIES[name].facts.max_positions == longest


def _small(**change: Any) -> Mapping[str, Any]:
    base = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 8,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 1000,
        "max_position_embeddings": 4096,
    }
    return {**base, **change}


def _kinds(config: Mapping[str, Any]) -> list[tuple[int, str, int]]:
    return [(run.count, run.kind, run.window) for run in facts_of(config, ()).layers]


def test_a_window_that_is_switched_off_is_none() -> None:
    qwen = {"architectures": ["Qwen2ForCausalLM"], "sliding_window": 1024}
    assert _kinds(_small(**qwen)) == [(8, FULL, 0)]
    on = {**qwen, "use_sliding_window": True, "max_window_layers": 6}
    assert _kinds(_small(**on)) == [(6, FULL, 0), (2, SLIDING, 1024)]
    none = {**on, "max_window_layers": 8}
    assert _kinds(_small(**none)) == [(8, FULL, 0)]


def test_what_a_configuration_leaves_out_has_the_value_of_its_class() -> None:
    mistral = {"architectures": ["MistralForCausalLM"]}
    assert _kinds(_small(**mistral)) == [(8, SLIDING, 4096)]
    assert _kinds(_small(**mistral, sliding_window=None)) == [(8, FULL, 0)]


def test_words_per_layer_come_before_a_rule() -> None:
    words = ["full_attention", "sliding_attention"] * 4
    config = _small(layer_types=words, sliding_window=64)
    assert _kinds(config) == [(1, FULL, 0), (1, SLIDING, 64)] * 4


def test_too_few_words_are_no_pattern() -> None:
    with pytest.raises(InspectError) as caught:
        facts_of(_small(layer_types=["full_attention"]), ())
    assert caught.value.reason == Reason.MODEL_CONFIG_INVALID


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {
                "architectures": ["BambaForCausalLM"],
                "attn_layer_indices": [2, 5],
                "mamba_n_heads": 8,
                "mamba_d_head": "auto",
                "mamba_d_state": 16,
            },
            [(2, STATE), (1, FULL), (2, STATE), (1, FULL), (2, STATE)],
        ),
        (
            {
                "architectures": ["GraniteMoeHybridForCausalLM"],
                "layer_types": ["mamba"] * 7 + ["attention"],
                "mamba_n_heads": 8,
                "mamba_d_head": 64,
                "mamba_d_state": 16,
            },
            [(7, STATE), (1, FULL)],
        ),
        (
            {"architectures": ["Qwen3NextForCausalLM"]},
            [(3, STATE), (1, FULL), (3, STATE), (1, FULL)],
        ),
        (
            {
                "architectures": ["FalconH1ForCausalLM"],
                "num_hidden_layers": 2,
                "mamba_n_heads": 8,
                "mamba_d_ssm": 512,
            },
            [(1, FULL), (1, STATE), (1, FULL), (1, STATE)],
        ),
        ({"architectures": ["MambaForCausalLM"], "state_size": 16}, [(8, STATE)]),
    ],
)
def test_hybrids(config: dict[str, Any], expected: list[tuple[int, str]]) -> None:
    found = facts_of(_small(**config), ())
    assert [(run.count, run.kind) for run in found.layers] == expected


def test_mamba_2_with_automatic_heads() -> None:
    config = _small(
        architectures=["BambaForCausalLM"],
        attn_layer_indices=[],
        mamba_n_heads=8,
        mamba_d_head="auto",
        mamba_d_state=16,
    )
    inner = 2 * 256
    state = facts_of(config, ()).layers[0]
    assert state.state_values == 3 * (inner + 2 * 16) + inner * 16


def test_a_gated_delta_net_keeps_a_matrix_per_head() -> None:
    state = facts_of(_small(architectures=["Qwen3NextForCausalLM"]), ()).layers[0]
    assert state.state_values == 32 * 128 * 128 + 3 * (2 * 16 * 128 + 32 * 128)


def test_layers_that_differ_much_count_as_the_largest() -> None:
    # A known pattern has few kinds, so this takes an architecture that is not known.
    tensors = [
        each._replace(
            name=each.name, shape=(64 * (1 + number), 256), size=2 * 64 * (1 + number) * 256
        )
        for number in range(20)
        for each in layout(_small(num_hidden_layers=20))
        if each.name.startswith(f"model.layers.{number}.self_attn.k_proj")
        or each.name.startswith(f"model.layers.{number}.self_attn.v_proj")
    ]
    facts = facts_of(_small(architectures=["Unheard"], num_key_value_heads=1), tensors)
    assert [(run.count, run.kv_heads * run.head_dim) for run in facts.layers] == [(20, 64 * 20)]
    assert any("largest of its kind" in said for said in facts.warnings)


def test_fewer_layers_in_the_files_than_in_the_configuration_are_said() -> None:
    stored = tuple(layout(_small(num_hidden_layers=6)))
    facts = facts_of(_small(), stored)
    assert any("8 layers, the weights have 6" in said for said in facts.warnings)


def test_roberta_counts_positions_from_behind_its_padding() -> None:
    config = _small(
        architectures=["XLMRobertaModel"], model_type="xlm-roberta", max_position_embeddings=514
    )
    assert facts_of(config, ()).max_positions == 512


@pytest.mark.parametrize(
    ("rope", "longest"),
    [
        ({"rope_type": "linear", "factor": 4.0}, 16384),
        ({"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 1024}, 8192),
        ({"type": "su", "factor": 32.0}, 4096),
        ({"rope_type": "dynamic", "factor": 2.0}, 8192),
        ({"rope_type": "linear", "factor": -4.0}, 4096),
        ("none", 4096),
    ],
)
def test_stretched_positions(rope: object, longest: int) -> None:
    assert facts_of(_small(rope_scaling=rope), ()).max_positions == longest
    assert facts_of(_small(rope_parameters=rope), ()).max_positions == longest
