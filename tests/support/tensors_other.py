"""Tensors of the families that are built unlike Llama: see `tests.support.tensors`."""

from __future__ import annotations

from collections.abc import Iterator

from stoker_worker.inspect.headers import Tensor
from tests.support.tensors import (
    Config,
    Store,
    attention,
    bf16,
    biased,
    ends,
    gated,
    norm,
    tensor,
)


def phi3(c: Config, store: Store = bf16) -> Iterator[Tensor]:
    """Phi-3 and Phi-4: one tensor for queries, keys and values, one for gate and up."""
    yield from ends(c)
    hidden, width = c["hidden_size"], c["intermediate_size"]
    dim = hidden // c["num_attention_heads"]
    rows = (c["num_attention_heads"] + 2 * c["num_key_value_heads"]) * dim
    for n in range(c["num_hidden_layers"]):
        layer = f"model.layers.{n}"
        yield from store(f"{layer}.self_attn.qkv_proj", rows, hidden)
        yield from store(f"{layer}.self_attn.o_proj", hidden, hidden)
        yield from store(f"{layer}.mlp.gate_up_proj", 2 * width, hidden)
        yield from store(f"{layer}.mlp.down_proj", hidden, width)
        yield from norm(f"{layer}.input_layernorm", hidden)
        yield from norm(f"{layer}.post_attention_layernorm", hidden)


def falcon(c: Config, store: Store = bf16) -> Iterator[Tensor]:
    """Falcon, as its files hold it: the tied head is stored once more."""
    hidden, heads = c["hidden_size"], c["num_attention_heads"]
    dim = hidden // heads
    new = c["new_decoder_architecture"]
    kv_heads = c["num_kv_heads"] if new else 1
    yield tensor("transformer.word_embeddings.weight", c["vocab_size"], hidden)
    yield tensor("lm_head.weight", c["vocab_size"], hidden)
    yield from norm("transformer.ln_f", hidden, bias=True)
    for n in range(c["num_hidden_layers"]):
        layer = f"transformer.h.{n}"
        rows = (heads + 2 * kv_heads) * dim
        yield from store(f"{layer}.self_attention.query_key_value", rows, hidden)
        yield from store(f"{layer}.self_attention.dense", hidden, hidden)
        yield from store(f"{layer}.mlp.dense_h_to_4h", 4 * hidden, hidden)
        yield from store(f"{layer}.mlp.dense_4h_to_h", hidden, 4 * hidden)
        for name in ("ln_attn", "ln_mlp") if new else ("input_layernorm",):
            yield from norm(f"{layer}.{name}", hidden, bias=True)


def llama4(c: Config, store: Store = bf16) -> Iterator[Tensor]:
    """Llama 4 with its image tower; all experts of a layer in one tensor."""
    text = c["text_config"]
    hidden, experts = text["hidden_size"], text["num_local_experts"]
    yield from ends(text, "language_model.model", head="language_model.")
    for n in range(text["num_hidden_layers"]):
        layer = f"language_model.model.layers.{n}"
        yield from attention(text, f"{layer}.self_attn", store)
        yield from norm(f"{layer}.input_layernorm", hidden)
        yield from norm(f"{layer}.post_attention_layernorm", hidden)
        feed, width = f"{layer}.feed_forward", text["intermediate_size"]
        if (n + 1) % text["interleave_moe_layer_step"]:
            yield from gated(feed, hidden, text["intermediate_size_mlp"], store)
            continue
        yield tensor(f"{feed}.router.weight", experts, hidden)
        yield tensor(f"{feed}.experts.gate_up_proj", experts, hidden, 2 * width)
        yield tensor(f"{feed}.experts.down_proj", experts, width, hidden)
        yield from gated(f"{feed}.shared_expert", hidden, width, store)
    yield tensor("multi_modal_projector.linear_1.weight", hidden, 4096)
    width, vision = 1408, "vision_model"
    yield tensor(f"{vision}.class_embedding", width)
    yield tensor(f"{vision}.positional_embedding_vlm", 577, width)
    yield from bf16(f"{vision}.patch_embedding.linear", width, 588)
    yield from norm(f"{vision}.layernorm_pre", width, bias=True)
    yield from norm(f"{vision}.layernorm_post", width, bias=True)
    for n in range(34):
        layer = f"{vision}.model.layers.{n}"
        for letter in "qkvo":
            yield from biased(bf16, f"{layer}.self_attn.{letter}_proj", width, width)
        yield from biased(bf16, f"{layer}.mlp.fc1", 4 * width, width)
        yield from biased(bf16, f"{layer}.mlp.fc2", width, 4 * width)
        yield from norm(f"{layer}.input_layernorm", width, bias=True)
        yield from norm(f"{layer}.post_attention_layernorm", width, bias=True)
    yield from bf16(f"{vision}.vision_adapter.mlp.fc1", 4096, 5632)
    yield from bf16(f"{vision}.vision_adapter.mlp.fc2", 4096, 4096)


def bert(c: Config, store: Store = bf16) -> Iterator[Tensor]:
    """BERT in single precision, with its buffer of positions."""
    found = _bert(c, store)
    yield tensor("embeddings.position_ids", 1, c["max_position_embeddings"], dtype="I64")
    for each in found:
        yield tensor(each.name, *each.shape, dtype="F32")


def _bert(c: Config, store: Store) -> Iterator[Tensor]:
    hidden, width = c["hidden_size"], c["intermediate_size"]
    rows = {
        "word": "vocab_size",
        "position": "max_position_embeddings",
        "token_type": "type_vocab_size",
    }
    for name, key in rows.items():
        yield tensor(f"embeddings.{name}_embeddings.weight", c[key], hidden)
    yield from norm("embeddings.LayerNorm", hidden, bias=True)
    for n in range(c["num_hidden_layers"]):
        layer = f"encoder.layer.{n}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            yield from biased(store, f"{layer}.attention.{name}", hidden, hidden)
        yield from norm(f"{layer}.attention.output.LayerNorm", hidden, bias=True)
        yield from biased(store, f"{layer}.intermediate.dense", width, hidden)
        yield from biased(store, f"{layer}.output.dense", hidden, width)
        yield from norm(f"{layer}.output.LayerNorm", hidden, bias=True)
    yield from biased(store, "pooler.dense", hidden, hidden)


def jamba(c: Config, store: Store = bf16) -> Iterator[Tensor]:
    """Jamba: one attention layer in eight, experts in every other layer."""
    yield from ends(c, last="final_layernorm")
    hidden, width, experts = c["hidden_size"], c["intermediate_size"], c["num_experts"]
    for n in range(c["num_hidden_layers"]):
        layer = f"model.layers.{n}"
        if n % c["attn_layer_period"] == c["attn_layer_offset"]:
            yield from attention(c, f"{layer}.self_attn", store)
        else:
            yield from _mamba1(c, f"{layer}.mamba", store)
        feed = f"{layer}.feed_forward"
        if n % c["expert_layer_period"] == c["expert_layer_offset"]:
            yield tensor(f"{feed}.router.weight", experts, hidden)
            for expert in range(experts):
                yield from gated(f"{feed}.experts.{expert}", hidden, width, store)
        else:
            yield from gated(feed, hidden, width, store)
        yield from norm(f"{layer}.input_layernorm", hidden)
        yield from norm(f"{layer}.pre_ff_layernorm", hidden)


def _mamba1(c: Config, name: str, store: Store) -> Iterator[Tensor]:
    hidden, state, rank = c["hidden_size"], c["mamba_d_state"], c["mamba_dt_rank"]
    inner = c["mamba_expand"] * hidden
    yield from store(f"{name}.in_proj", 2 * inner, hidden)
    yield tensor(f"{name}.conv1d.weight", inner, 1, c["mamba_d_conv"])
    yield tensor(f"{name}.conv1d.bias", inner)
    yield from store(f"{name}.x_proj", rank + 2 * state, inner)
    yield from biased(store, f"{name}.dt_proj", inner, rank)
    yield tensor(f"{name}.A_log", inner, state)
    yield tensor(f"{name}.D", inner)
    yield from store(f"{name}.out_proj", hidden, inner)
    for part, size in (("dt", rank), ("b", state), ("c", state)):
        yield from norm(f"{name}.{part}_layernorm", size)


def nemotron_h(c: Config, store: Store = bf16) -> Iterator[Tensor]:
    """Nemotron-H: each layer is Mamba 2, attention or an MLP without gate, as its letter says."""
    hidden, heads = c["hidden_size"], c["mamba_num_heads"]
    inner = heads * c["mamba_head_dim"]
    conv = inner + 2 * c["n_groups"] * c["ssm_state_size"]
    yield tensor("backbone.embeddings.weight", c["vocab_size"], hidden)
    yield from norm("backbone.norm_f", hidden)
    yield tensor("lm_head.weight", c["vocab_size"], hidden)
    for n, letter in enumerate(c["hybrid_override_pattern"]):
        yield from norm(f"backbone.layers.{n}.norm", hidden)
        name = f"backbone.layers.{n}.mixer"
        if letter == "*":
            yield from attention({**c, "head_dim": c["attention_head_dim"]}, name, store)
        elif letter == "-":
            yield from store(f"{name}.up_proj", c["intermediate_size"], hidden)
            yield from store(f"{name}.down_proj", hidden, c["intermediate_size"])
        else:
            yield from store(f"{name}.in_proj", inner + conv + heads, hidden)
            yield tensor(f"{name}.conv1d.weight", conv, 1, c["conv_kernel"])
            yield tensor(f"{name}.conv1d.bias", conv)
            for part in ("A_log", "D", "dt_bias"):
                yield tensor(f"{name}.{part}", heads)
            yield from norm(f"{name}.norm", inner)
            yield from store(f"{name}.out_proj", hidden, inner)
