"""Names, types and shapes of the tensors in a public checkpoint, laid out from its configuration.

No weights, no files: what a safetensors header of the real checkpoint lists, per family. `Store`
says how linear layers are stored, so that one model can be laid out quantized in different ways.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stoker_worker.inspect.headers import DTYPE_BITS, Tensor

Config = Mapping[str, Any]
# name without ".weight", rows, columns → the tensors that hold this linear layer
Store = Callable[[str, int, int], Iterator[Tensor]]


def tensor(name: str, *shape: int, dtype: str = "BF16") -> Tensor:
    return Tensor(name, dtype, shape, -(-math.prod(shape) * DTYPE_BITS[dtype] // 8))


def bf16(name: str, rows: int, columns: int) -> Iterator[Tensor]:
    yield tensor(f"{name}.weight", rows, columns)


def fp16(name: str, rows: int, columns: int) -> Iterator[Tensor]:
    yield tensor(f"{name}.weight", rows, columns, dtype="F16")


def fp8_blocks(name: str, rows: int, columns: int) -> Iterator[Tensor]:
    """One scale per block of 128 by 128, as DeepSeek and Qwen publish."""
    yield tensor(f"{name}.weight", rows, columns, dtype="F8_E4M3")
    yield tensor(f"{name}.weight_scale_inv", -(-rows // 128), -(-columns // 128), dtype="F32")


def fp8_tensors(name: str, rows: int, columns: int) -> Iterator[Tensor]:
    """One scale per tensor and one for its input: ModelOpt, AutoFP8."""
    yield tensor(f"{name}.weight", rows, columns, dtype="F8_E4M3")
    yield tensor(f"{name}.weight_scale", dtype="F32")
    yield tensor(f"{name}.input_scale", dtype="F32")


def int8_channels(name: str, rows: int, columns: int) -> Iterator[Tensor]:
    """compressed-tensors int-quantized; 4 bits take a byte as well."""
    yield tensor(f"{name}.weight", rows, columns, dtype="I8")
    yield tensor(f"{name}.weight_scale", rows, 1)


def packed_int4(name: str, rows: int, columns: int) -> Iterator[Tensor]:
    """compressed-tensors pack-quantized: eight weights in a word, groups of 128."""
    yield tensor(f"{name}.weight_packed", rows, columns // 8, dtype="I32")
    yield tensor(f"{name}.weight_scale", rows, columns // 128)
    yield tensor(f"{name}.weight_shape", 2, dtype="I64")


def awq(name: str, rows: int, columns: int) -> Iterator[Tensor]:
    yield tensor(f"{name}.qweight", columns, rows // 8, dtype="I32")
    yield tensor(f"{name}.qzeros", columns // 128, rows // 8, dtype="I32")
    yield tensor(f"{name}.scales", columns // 128, rows, dtype="F16")


def gptq(name: str, rows: int, columns: int) -> Iterator[Tensor]:
    yield tensor(f"{name}.qweight", columns // 8, rows, dtype="I32")
    yield tensor(f"{name}.qzeros", columns // 128, rows // 8, dtype="I32")
    yield tensor(f"{name}.scales", columns // 128, rows, dtype="F16")
    yield tensor(f"{name}.g_idx", columns, dtype="I32")


def nf4(name: str, rows: int, columns: int) -> Iterator[Tensor]:
    """Bitsandbytes: two weights in a byte, a table and a state beside each."""
    yield tensor(f"{name}.weight", rows * columns // 2, 1, dtype="U8")
    yield tensor(f"{name}.weight.absmax", rows * columns // 64, dtype="U8")
    yield tensor(f"{name}.weight.quant_map", 16, dtype="F32")
    yield tensor(f"{name}.weight.nested_absmax", rows * columns // 64 // 256, dtype="F32")
    yield tensor(f"{name}.weight.nested_quant_map", 256, dtype="F32")
    yield tensor(f"{name}.weight.quant_state.bitsandbytes__nf4", 82, dtype="U8")


def nvfp4(name: str, rows: int, columns: int) -> Iterator[Tensor]:
    """ModelOpt: two weights in a byte, a scale for each sixteen."""
    yield tensor(f"{name}.weight", rows, columns // 2, dtype="U8")
    yield tensor(f"{name}.weight_scale", rows, columns // 16, dtype="F8_E4M3")
    yield tensor(f"{name}.weight_scale_2", dtype="F32")
    yield tensor(f"{name}.input_scale", dtype="F32")


def biased(store: Store, name: str, rows: int, columns: int) -> Iterator[Tensor]:
    yield from store(name, rows, columns)
    yield tensor(f"{name}.bias", rows)


def norm(name: str, width: int, *, bias: bool = False) -> Iterator[Tensor]:
    yield tensor(f"{name}.weight", width)
    if bias:
        yield tensor(f"{name}.bias", width)


def attention(
    c: Config, name: str, store: Store, *, bias: str = "", qk_norm: bool = False
) -> Iterator[Tensor]:
    """Separate projections; `bias` names those that have one, of "qkvo"."""
    hidden, heads = c["hidden_size"], c["num_attention_heads"]
    dim = c.get("head_dim") or hidden // heads
    kv_heads = c["num_key_value_heads"]
    widths = {"q": heads * dim, "k": kv_heads * dim, "v": kv_heads * dim}
    for letter, rows in widths.items():
        yield from store(f"{name}.{letter}_proj", rows, hidden)
    yield from store(f"{name}.o_proj", hidden, heads * dim)
    for letter in bias:
        yield tensor(f"{name}.{letter}_proj.bias", {**widths, "o": hidden}[letter])
    if qk_norm:
        yield from norm(f"{name}.q_norm", dim)
        yield from norm(f"{name}.k_norm", dim)


def gated(name: str, hidden: int, width: int, store: Store) -> Iterator[Tensor]:
    yield from store(f"{name}.gate_proj", width, hidden)
    yield from store(f"{name}.up_proj", width, hidden)
    yield from store(f"{name}.down_proj", hidden, width)


def ends(c: Config, prefix: str = "model", last: str = "norm", head: str = "") -> Iterator[Tensor]:
    """Embedding, last norm and, where it is not tied, the head; never quantized."""
    yield tensor(f"{prefix}.embed_tokens.weight", c["vocab_size"], c["hidden_size"])
    yield from norm(f"{prefix}.{last}", c["hidden_size"])
    if not c.get("tie_word_embeddings", False):
        yield tensor(f"{head}lm_head.weight", c["vocab_size"], c["hidden_size"])


def llama(
    c: Config, store: Store = bf16, *, bias: str = "", qk_norm: bool = False
) -> Iterator[Tensor]:
    """Llama, Mistral, Qwen2, Qwen3."""
    yield from ends(c)
    for n in range(c["num_hidden_layers"]):
        layer = f"model.layers.{n}"
        yield from attention(c, f"{layer}.self_attn", store, bias=bias, qk_norm=qk_norm)
        yield from gated(f"{layer}.mlp", c["hidden_size"], c["intermediate_size"], store)
        yield from norm(f"{layer}.input_layernorm", c["hidden_size"])
        yield from norm(f"{layer}.post_attention_layernorm", c["hidden_size"])


def qwen2(c: Config, store: Store = bf16) -> Iterator[Tensor]:
    return llama(c, store, bias="qkv")


def qwen3(c: Config, store: Store = bf16) -> Iterator[Tensor]:
    return llama(c, store, qk_norm=True)


def mixtral(c: Config, store: Store = bf16) -> Iterator[Tensor]:
    yield from ends(c)
    hidden, width = c["hidden_size"], c["intermediate_size"]
    for n in range(c["num_hidden_layers"]):
        layer = f"model.layers.{n}"
        yield from attention(c, f"{layer}.self_attn", store)
        yield tensor(f"{layer}.block_sparse_moe.gate.weight", c["num_local_experts"], hidden)
        for expert in range(c["num_local_experts"]):
            name = f"{layer}.block_sparse_moe.experts.{expert}"
            yield from store(f"{name}.w1", width, hidden)
            yield from store(f"{name}.w2", hidden, width)
            yield from store(f"{name}.w3", width, hidden)
        yield from norm(f"{layer}.input_layernorm", hidden)
        yield from norm(f"{layer}.post_attention_layernorm", hidden)


def qwen3_moe(c: Config, store: Store = bf16) -> Iterator[Tensor]:
    yield from ends(c)
    hidden = c["hidden_size"]
    for n in range(c["num_hidden_layers"]):
        layer = f"model.layers.{n}"
        yield from attention(c, f"{layer}.self_attn", store, qk_norm=True)
        yield tensor(f"{layer}.mlp.gate.weight", c["num_experts"], hidden)
        for expert in range(c["num_experts"]):
            name = f"{layer}.mlp.experts.{expert}"
            yield from gated(name, hidden, c["moe_intermediate_size"], store)
        yield from norm(f"{layer}.input_layernorm", hidden)
        yield from norm(f"{layer}.post_attention_layernorm", hidden)


def deepseek(c: Config, store: Store = bf16) -> Iterator[Tensor]:
    """DeepSeek V2 and V3, with the layer that predicts a second token behind the last one."""
    yield from ends(c)
    for n in range(c["num_hidden_layers"]):
        yield from _deepseek_layer(c, n, store)
    hidden = c["hidden_size"]
    for n in range(c.get("num_nextn_predict_layers", 0)):
        layer = f"model.layers.{c['num_hidden_layers'] + n}"
        yield from _deepseek_layer(c, c["num_hidden_layers"] + n, store)
        yield tensor(f"{layer}.embed_tokens.weight", c["vocab_size"], hidden)
        yield tensor(f"{layer}.eh_proj.weight", hidden, 2 * hidden)
        yield tensor(f"{layer}.shared_head.head.weight", c["vocab_size"], hidden)
        for name in ("enorm", "hnorm", "shared_head.norm"):
            yield from norm(f"{layer}.{name}", hidden)


def _deepseek_layer(c: Config, n: int, store: Store) -> Iterator[Tensor]:
    layer, hidden, heads = f"model.layers.{n}", c["hidden_size"], c["num_attention_heads"]
    key = c["qk_nope_head_dim"] + c["qk_rope_head_dim"]
    name = f"{layer}.self_attn"
    if c.get("q_lora_rank"):
        yield from store(f"{name}.q_a_proj", c["q_lora_rank"], hidden)
        yield from norm(f"{name}.q_a_layernorm", c["q_lora_rank"])
        yield from store(f"{name}.q_b_proj", heads * key, c["q_lora_rank"])
    else:
        yield from store(f"{name}.q_proj", heads * key, hidden)
    rank = c["kv_lora_rank"]
    yield from store(f"{name}.kv_a_proj_with_mqa", rank + c["qk_rope_head_dim"], hidden)
    yield from norm(f"{name}.kv_a_layernorm", rank)
    out = heads * (c["qk_nope_head_dim"] + c["v_head_dim"])
    yield from store(f"{name}.kv_b_proj", out, rank)
    yield from store(f"{name}.o_proj", hidden, heads * c["v_head_dim"])
    yield from norm(f"{layer}.input_layernorm", hidden)
    yield from norm(f"{layer}.post_attention_layernorm", hidden)
    if n < c["first_k_dense_replace"]:
        yield from gated(f"{layer}.mlp", hidden, c["intermediate_size"], store)
        return
    yield tensor(f"{layer}.mlp.gate.weight", c["n_routed_experts"], hidden)
    if c.get("topk_method") == "noaux_tc":
        bias = f"{layer}.mlp.gate.e_score_correction_bias"
        yield tensor(bias, c["n_routed_experts"], dtype="F32")
    width = c["moe_intermediate_size"]
    yield from gated(f"{layer}.mlp.shared_experts", hidden, c["n_shared_experts"] * width, store)
    for expert in range(c["n_routed_experts"]):
        yield from gated(f"{layer}.mlp.experts.{expert}", hidden, width, store)


def gemma(c: Config, store: Store = bf16, *, prefix: str = "model") -> Iterator[Tensor]:
    """Gemma 2 and 3: four norms a layer, head tied; Gemma 3 normalizes queries and keys."""
    yield from ends(c, prefix)
    for n in range(c["num_hidden_layers"]):
        layer = f"{prefix}.layers.{n}"
        qk_norm = c["model_type"].startswith("gemma3")
        yield from attention(c, f"{layer}.self_attn", store, qk_norm=qk_norm)
        yield from gated(f"{layer}.mlp", c["hidden_size"], c["intermediate_size"], store)
        for name in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
            yield from norm(f"{layer}.{name}_layernorm", c["hidden_size"])


def gemma3_vision(c: Config, store: Store = bf16) -> Iterator[Tensor]:
    """Gemma 3 with its SigLIP tower (27 layers of width 1152)."""
    text = {"vocab_size": 262208, "tie_word_embeddings": True, **c["text_config"]}
    yield from gemma(text, store, prefix="language_model.model")
    width, mlp, vision = 1152, 4304, "vision_tower.vision_model"
    yield tensor(f"{vision}.embeddings.patch_embedding.weight", width, 3, 14, 14)
    yield tensor(f"{vision}.embeddings.patch_embedding.bias", width)
    yield tensor(f"{vision}.embeddings.position_embedding.weight", 4096, width)
    for n in range(27):
        layer = f"{vision}.encoder.layers.{n}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from biased(bf16, f"{layer}.self_attn.{name}", width, width)
        yield from biased(bf16, f"{layer}.mlp.fc1", mlp, width)
        yield from biased(bf16, f"{layer}.mlp.fc2", width, mlp)
        yield from norm(f"{layer}.layer_norm1", width, bias=True)
        yield from norm(f"{layer}.layer_norm2", width, bias=True)
    yield from norm(f"{vision}.post_layernorm", width, bias=True)
    projector = "multi_modal_projector"
    yield tensor(f"{projector}.mm_input_projection_weight", width, text["hidden_size"])
    yield from norm(f"{projector}.mm_soft_emb_norm", width)


def gpt_oss(c: Config, store: Store = bf16) -> Iterator[Tensor]:
    """Experts in MXFP4: 32 weights in 16 bytes and one byte of scale, all experts in one tensor."""
    yield from ends(c)
    hidden, width, experts = c["hidden_size"], c["intermediate_size"], c["num_local_experts"]
    for n in range(c["num_hidden_layers"]):
        layer = f"model.layers.{n}"
        yield from attention(c, f"{layer}.self_attn", store, bias="qkvo")
        yield tensor(f"{layer}.self_attn.sinks", c["num_attention_heads"])
        yield from biased(bf16, f"{layer}.mlp.router", experts, hidden)
        for name, rows, columns in (("gate_up", 2 * width, hidden), ("down", hidden, width)):
            proj = f"{layer}.mlp.experts.{name}_proj"
            yield tensor(f"{proj}_blocks", experts, rows, columns // 32, 16, dtype="U8")
            yield tensor(f"{proj}_scales", experts, rows, columns // 32, dtype="U8")
            yield tensor(f"{proj}_bias", experts, rows)
        yield from norm(f"{layer}.input_layernorm", hidden)
        yield from norm(f"{layer}.post_attention_layernorm", hidden)
