"""Facts of the models that were measured: those of the tests, and three that they do not have."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from stoker_worker.modelfacts import FULL, Layers, ModelFacts
from tests.support.families import FAMILIES

_FAMILIES = {
    "Llama-3.1-8B": "llama-3.1-8b",
    "Llama-3.3-70B": "llama-3.1-70b",  # the same shapes
    "Llama-2-7B": "llama-2-7b",
    "Qwen2.5-7B": "qwen2.5-7b",
    "Qwen3-30B-A3B": "qwen3-30b-a3b",
    "Qwen3-235B-A22B": "qwen3-235b-a22b",
    "Mixtral-8x7B": "mixtral-8x7b",
    "DeepSeek-V2-Lite": "deepseek-v2-lite",
    "Gemma-2-9B": "gemma-2-9b",
    "phi-4": "phi-4",
}


@cache
def model(name: str) -> ModelFacts:
    """Facts by the name that `points.yaml` uses; KeyError for one that is not known."""
    if name in _FAMILIES:
        return FAMILIES[_FAMILIES[name]].facts
    return _OTHERS[name]


def dense(
    architecture: str,
    *,
    layers: int,
    hidden: int,
    heads: int,
    kv_heads: int,
    intermediate: int,
    vocab: int,
    tied: bool = False,
    gated: bool = True,
) -> ModelFacts:
    """A decoder with heads of 128; biases are left out."""
    attention = hidden * 128 * (2 * heads + 2 * kv_heads)
    layer = attention + (3 if gated else 2) * hidden * intermediate + 2 * hidden
    embedding = vocab * hidden * (1 if tied else 2)
    parameters = layers * layer + embedding + hidden
    return ModelFacts(
        digest="",
        architecture=architecture,
        model_type="",
        dtype="bfloat16",
        hidden=hidden,
        heads=heads,
        vocab=vocab,
        max_positions=131072,
        layers=(Layers(layers, FULL, kv_heads, 128),),
        parameters=parameters,
        embedding_parameters=embedding,
        weight_bytes=2 * parameters,
        tied_embeddings=tied,
        intermediate=intermediate,
    )


_OTHERS = {
    "Qwen3-14B": dense(
        "Qwen3ForCausalLM",
        layers=40,
        hidden=5120,
        heads=40,
        kv_heads=8,
        intermediate=17408,
        vocab=151936,
    ),
    "Qwen3-1.7B": dense(
        "Qwen3ForCausalLM",
        layers=28,
        hidden=2048,
        heads=16,
        kv_heads=8,
        intermediate=6144,
        vocab=151936,
        tied=True,
    ),
    "OPT-13B": dense(
        "OPTForCausalLM",
        layers=40,
        hidden=5120,
        heads=40,
        kv_heads=40,
        intermediate=20480,
        vocab=50272,
        tied=True,
        gated=False,
    ),
    "Llama-2-13B": dense(
        "LlamaForCausalLM",
        layers=40,
        hidden=5120,
        heads=40,
        kv_heads=40,
        intermediate=13824,
        vocab=32000,
    ),
    "Llama-2-70B": replace(
        dense(
            "LlamaForCausalLM",
            layers=80,
            hidden=8192,
            heads=64,
            kv_heads=8,
            intermediate=28672,
            vocab=32000,
        ),
        max_positions=4096,
    ),
}
