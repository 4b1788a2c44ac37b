"""The architectures that are known: which rule reads their layers, and what their code assumes.

Keyed by the first name of `architectures` in config.json, as vLLM's registry is. `defaults` are
those of the family's configuration class in transformers: a key that config.json leaves out has the
class's value, while an explicit null stays a null.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Mapping

from stoker_worker.inspect import attention, hybrids
from stoker_worker.inspect.attention import LayerRule, chunked, encoder, latent, periodic, plain

EMBED = "embed"
GENERATE = "generate"


@dataclass(frozen=True)
class Architecture:
    """How to read a family's configuration."""

    layers: LayerRule
    defaults: Mapping[str, Any] = field(default_factory=dict)
    tied: bool = False  # input embedding and output head are one where the configuration is silent
    task: str = GENERATE


_MISTRAL = {"sliding_window": 4096, "num_key_value_heads": 8, "max_position_embeddings": 131072}
_QWEN = {"use_sliding_window": False, "max_window_layers": 28}
_MIXTRAL = {"num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2}
_GEMMA2 = {
    "sliding_window": 4096,
    "head_dim": 256,
    "num_key_value_heads": 4,
    "max_position_embeddings": 8192,
    "vocab_size": 256000,
}
_GEMMA3 = {
    "sliding_window": 4096,
    "head_dim": 256,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 131072,
    "vocab_size": 262208,
}
_GPT_OSS = {
    "sliding_window": 128,
    "head_dim": 64,
    "num_local_experts": 128,
    "num_experts_per_tok": 4,
}
_LLAMA4 = {
    "attention_chunk_size": 8192,
    "no_rope_layer_interval": 4,
    "head_dim": 128,
    "num_local_experts": 16,
    "num_experts_per_tok": 1,
}
_JAMBA = {
    "attn_layer_period": 8,
    "attn_layer_offset": 4,
    "num_key_value_heads": 8,
    "num_experts": 16,
    "num_experts_per_tok": 2,
}
_BAMBA = {"mamba_n_heads": 128, "mamba_d_state": 256, "num_key_value_heads": 8}
_GRANITE_HYBRID = {"mamba_n_heads": 128, "mamba_d_state": 256}
_NEMOTRON_H = {
    "mamba_num_heads": 128,
    "mamba_head_dim": 64,
    "ssm_state_size": 128,
    "n_groups": 8,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
_QWEN_NEXT = {
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "head_dim": 256,
    "num_key_value_heads": 2,
}

_FALCON = {"max_position_embeddings": 2048}

_LLAMA_LIKE = (
    "LlamaForCausalLM",
    "AquilaForCausalLM",
    "ArceeForCausalLM",
    "DeciLMForCausalLM",
    "ExaoneForCausalLM",
    "GPTJForCausalLM",
    "GPTNeoXForCausalLM",
    "Glm4ForCausalLM",
    "Glm4MoeForCausalLM",
    "GlmForCausalLM",
    "GraniteForCausalLM",
    "GraniteMoeForCausalLM",
    "InternLM2ForCausalLM",
    "InternLM3ForCausalLM",
    "InternLMForCausalLM",
    "MistralNeMoForCausalLM",
    "Olmo2ForCausalLM",
    "Olmo3ForCausalLM",
    "OlmoForCausalLM",
    "OlmoeForCausalLM",
    "PhiForCausalLM",
    "Phi3ForCausalLM",
    "PhiMoEForCausalLM",
    "SmolLM3ForCausalLM",
    "StableLmForCausalLM",
    "Starcoder2ForCausalLM",
)

KNOWN: Dict[str, Architecture] = {
    **{name: Architecture(plain) for name in _LLAMA_LIKE},
    "MistralForCausalLM": Architecture(plain, _MISTRAL),
    "Mistral3ForConditionalGeneration": Architecture(plain, _MISTRAL),
    "MixtralForCausalLM": Architecture(plain, _MIXTRAL),
    "Qwen2ForCausalLM": Architecture(plain, _QWEN),
    "Qwen2MoeForCausalLM": Architecture(plain, _QWEN),
    "Qwen2VLForConditionalGeneration": Architecture(plain, _QWEN),
    "Qwen2_5_VLForConditionalGeneration": Architecture(plain, _QWEN),
    "Qwen3ForCausalLM": Architecture(plain, {**_QWEN, "head_dim": 128}),
    "Qwen3MoeForCausalLM": Architecture(plain, {**_QWEN, "num_key_value_heads": 4}),
    "Qwen3NextForCausalLM": Architecture(
        hybrids.interval("full_attention_interval", 4, hybrids.gated_delta), _QWEN_NEXT
    ),
    "Llama4ForCausalLM": Architecture(chunked, _LLAMA4),
    "Llama4ForConditionalGeneration": Architecture(chunked, _LLAMA4),
    "DeepseekV2ForCausalLM": Architecture(latent),
    "DeepseekV3ForCausalLM": Architecture(latent),
    "DeepseekV32ForCausalLM": Architecture(latent),
    "KimiK2ForCausalLM": Architecture(latent),
    "GemmaForCausalLM": Architecture(plain, {"head_dim": 256}, tied=True),
    "Gemma2ForCausalLM": Architecture(periodic(2), _GEMMA2, tied=True),
    "Gemma3ForCausalLM": Architecture(periodic(6, "sliding_window_pattern"), _GEMMA3, tied=True),
    "Gemma3ForConditionalGeneration": Architecture(
        periodic(6, "sliding_window_pattern"), _GEMMA3, tied=True
    ),
    "CohereForCausalLM": Architecture(plain, tied=True),
    "Cohere2ForCausalLM": Architecture(
        periodic(4, "sliding_window_pattern"), {"sliding_window": 4096}, tied=True
    ),
    "GptOssForCausalLM": Architecture(periodic(2), _GPT_OSS),
    "FalconForCausalLM": Architecture(attention.falcon, _FALCON, tied=True),
    "RWForCausalLM": Architecture(attention.falcon, _FALCON, tied=True),
    "GPT2LMHeadModel": Architecture(plain, tied=True),
    "BloomForCausalLM": Architecture(plain, tied=True),
    "OPTForCausalLM": Architecture(plain, tied=True),
    "MPTForCausalLM": Architecture(plain, tied=True),
    "JambaForCausalLM": Architecture(
        hybrids.every("attn_layer_period", "attn_layer_offset", hybrids.mamba1), _JAMBA
    ),
    "BambaForCausalLM": Architecture(hybrids.at("attn_layer_indices", hybrids.mamba2), _BAMBA),
    "GraniteMoeHybridForCausalLM": Architecture(hybrids.words(hybrids.mamba2), _GRANITE_HYBRID),
    "NemotronHForCausalLM": Architecture(hybrids.words(hybrids.mamba2), _NEMOTRON_H),
    "FalconH1ForCausalLM": Architecture(hybrids.always_both(hybrids.mamba2)),
    "MambaForCausalLM": Architecture(hybrids.only(hybrids.mamba1), tied=True),
    "FalconMambaForCausalLM": Architecture(hybrids.only(hybrids.mamba1)),
    "Mamba2ForCausalLM": Architecture(hybrids.only(hybrids.mamba2), {"num_heads": 128}),
    # Embedders: encoders keep nothing, decoders keep what their family keeps.
    **{
        name: Architecture(encoder, task=EMBED)
        for name in (
            "BertModel",
            "BertForMaskedLM",
            "BertForSequenceClassification",
            "RobertaModel",
            "RobertaForMaskedLM",
            "RobertaForSequenceClassification",
            "XLMRobertaModel",
            "XLMRobertaForSequenceClassification",
            "ModernBertModel",
            "ModernBertForSequenceClassification",
            "NomicBertModel",
            "GteModel",
            "DistilBertModel",
            "MPNetModel",
        )
    },
    "LlamaModel": Architecture(plain, task=EMBED),
    "MistralModel": Architecture(plain, _MISTRAL, task=EMBED),
    "Qwen2Model": Architecture(plain, _QWEN, task=EMBED),
    "Qwen3Model": Architecture(plain, {**_QWEN, "head_dim": 128}, task=EMBED),
    "Gemma2Model": Architecture(periodic(2), _GEMMA2, task=EMBED),
}
