"""Public models as facts: the keys of their configurations that are read, and their tensors.

`FAMILIES[name].facts` are what `stoker_worker.inspect` says of the model; `published` is the number
of parameters that its makers or the model hub give, so that the totals can be checked against
something that was not computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from stoker_worker.inspect import facts_of
from stoker_worker.inspect.headers import Tensor
from stoker_worker.modelfacts import ModelFacts
from tests.support import tensors as t


@dataclass(frozen=True)
class Family:
    """One public model."""

    name: str
    published: int  # parameters, without a draft head
    config: Mapping[str, Any]
    layout: Callable[[Mapping[str, Any]], Iterator[Tensor]]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What the headers of its files list."""
        return _tensors(self.name)

    @property
    def facts(self) -> ModelFacts:
        """What the inspection says of it."""
        return _facts(self.name)


@cache
def _facts(name: str) -> ModelFacts:
    return facts_of(FAMILIES[name].config, FAMILIES[name].tensors)


@lru_cache(maxsize=2)
def _tensors(name: str) -> tuple[Tensor, ...]:
    family = FAMILIES[name]
    return tuple(family.layout(family.config))


def _llama(hidden: int, layers: int, heads: int, **more: Any) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "torch_dtype": "bfloat16",
        **more,
    }


def _llama31(hidden: int, layers: int, heads: int, width: int) -> dict[str, Any]:
    return _llama(
        hidden,
        layers,
        heads,
        num_key_value_heads=8,
        intermediate_size=width,
        vocab_size=128256,
        max_position_embeddings=131072,
        rope_scaling={
            "factor": 8.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
        tie_word_embeddings=False,
    )


def _qwen3(kind: str, hidden: int, layers: int, heads: int, **more: Any) -> dict[str, Any]:
    return {
        "architectures": [kind],
        "model_type": "qwen3_moe" if "Moe" in kind else "qwen3",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "head_dim": 128,
        "vocab_size": 151936,
        "max_position_embeddings": 40960,
        "sliding_window": None,
        "use_sliding_window": False,
        "max_window_layers": layers,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        **more,
    }


def _gpt_oss(layers: int, experts: int) -> dict[str, Any]:
    return {
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        "hidden_size": 2880,
        "intermediate_size": 2880,
        "num_hidden_layers": layers,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "num_local_experts": experts,
        "num_experts_per_tok": 4,
        "vocab_size": 201088,
        "max_position_embeddings": 131072,
        "rope_scaling": {
            "factor": 32.0,
            "original_max_position_embeddings": 4096,
            "rope_type": "yarn",
        },
        "sliding_window": 128,
        "layer_types": ["sliding_attention", "full_attention"] * (layers // 2),
        "tie_word_embeddings": False,
        "quantization_config": {"quant_method": "mxfp4"},
    }


_ALL = (
    Family("llama-3.1-8b", 8_030_261_248, _llama31(4096, 32, 32, 14336), t.llama),
    Family("llama-3.1-70b", 70_553_706_496, _llama31(8192, 80, 64, 28672), t.llama),
    Family(
        "llama-2-7b",
        6_738_415_616,
        _llama(
            4096,
            32,
            32,
            num_key_value_heads=32,
            intermediate_size=11008,
            vocab_size=32000,
            max_position_embeddings=4096,
            tie_word_embeddings=False,
            torch_dtype="float16",
        ),
        lambda c: t.llama(c, t.fp16),
    ),
    Family(
        "qwen3-32b",
        32_762_123_264,
        _qwen3("Qwen3ForCausalLM", 5120, 64, 64, num_key_value_heads=8, intermediate_size=25600),
        t.qwen3,
    ),
    Family(
        "qwen3-30b-a3b",
        30_532_122_624,
        _qwen3(
            "Qwen3MoeForCausalLM",
            2048,
            48,
            32,
            num_key_value_heads=4,
            intermediate_size=6144,
            moe_intermediate_size=768,
            num_experts=128,
            num_experts_per_tok=8,
        ),
        t.qwen3_moe,
    ),
    Family(
        "deepseek-v3",
        671_026_419_200,
        {
            "architectures": ["DeepseekV3ForCausalLM"],
            "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV3Config"},
            "model_type": "deepseek_v3",
            "hidden_size": 7168,
            "num_hidden_layers": 61,
            "num_attention_heads": 128,
            "num_key_value_heads": 128,
            "q_lora_rank": 1536,
            "kv_lora_rank": 512,
            "qk_nope_head_dim": 128,
            "qk_rope_head_dim": 64,
            "v_head_dim": 128,
            "intermediate_size": 18432,
            "moe_intermediate_size": 2048,
            "first_k_dense_replace": 3,
            "n_routed_experts": 256,
            "n_shared_experts": 1,
            "num_experts_per_tok": 8,
            "num_nextn_predict_layers": 1,
            "topk_method": "noaux_tc",
            "vocab_size": 129280,
            "max_position_embeddings": 163840,
            "rope_scaling": {
                "factor": 40,
                "original_max_position_embeddings": 4096,
                "type": "yarn",
            },
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "quantization_config": {
                "activation_scheme": "dynamic",
                "fmt": "e4m3",
                "quant_method": "fp8",
                "weight_block_size": [128, 128],
            },
        },
        lambda c: t.deepseek(c, t.fp8_blocks),
    ),
    Family(
        "gemma-3-27b",
        27_432_406_640,
        {
            "architectures": ["Gemma3ForConditionalGeneration"],
            "model_type": "gemma3",
            # Vocabulary, positions and the pattern are left to the class, as in the real file.
            "text_config": {
                "model_type": "gemma3_text",
                "hidden_size": 5376,
                "intermediate_size": 21504,
                "num_hidden_layers": 62,
                "num_attention_heads": 32,
                "num_key_value_heads": 16,
                "head_dim": 128,
                "sliding_window": 1024,
                "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            },
            "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 1152},
            "torch_dtype": "bfloat16",
        },
        t.gemma3_vision,
    ),
    Family("gpt-oss-20b", 20_914_757_184, _gpt_oss(24, 32), t.gpt_oss),
    Family("gpt-oss-120b", 116_829_156_672, _gpt_oss(36, 128), t.gpt_oss),
)

FAMILIES: Mapping[str, Family] = {family.name: family for family in _ALL}
