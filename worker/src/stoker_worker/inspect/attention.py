"""What one layer keeps, and in which order the layers come: families whose layers all attend.

Each function takes a configuration and answers with one entry per layer, in the model's order.
Sources: the configuration and attention classes of Hugging Face transformers, and the attention
layers of vLLM's models, per family. An order that the configuration spells out (`layer_types`)
always comes before a family's rule.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, List

from stoker_worker.inspect.errors import InspectError, Reason
from stoker_worker.inspect.values import Values
from stoker_worker.modelfacts import FULL, LATENT, NONE, SLIDING, Layers

LayerRule = Callable[[Values], List[Layers]]

_HEADS = ("num_attention_heads", "n_head", "n_heads")
_KV_HEADS = ("num_key_value_heads", "n_head_kv", "num_kv_heads", "n_kv_heads")
_FULL_WORDS = {"full_attention", "attention", "global"}
_SLIDING_WORDS = {"sliding_attention", "local", "swa"}


def layer_count(values: Values) -> int:
    """Layers of the main stack, under any of its names."""
    return values.whole("layers", "num_hidden_layers", "n_layer", "n_layers", "num_layers")


def query_heads(values: Values) -> int:
    """Query heads, under any of their names; 0 for a model that has none."""
    return values.whole("heads", *_HEADS, default=0, low=0)


def attention(values: Values) -> Layers:
    """One layer that keeps every token: KV heads and head dimension."""
    heads = values.whole("heads", *_HEADS)
    kv_heads = values.whole("heads", *_KV_HEADS, default=heads)
    hidden = values.whole("hidden", "hidden_size", "n_embd", "d_model", default=heads)
    head_dim = values.whole(
        "head_dim", "head_dim", "attention_head_dim", default=max(1, hidden // heads)
    )
    if kv_heads > heads:
        raise InspectError(
            Reason.DIMENSION_ABSURD,
            f"{values.where}: {kv_heads} KV heads are more than {heads} query heads; copy the file "
            "from the model's source again",
        )
    return Layers(1, FULL, kv_heads=kv_heads, head_dim=head_dim)


def plain(values: Values) -> List[Layers]:
    """All layers alike: Llama, Mistral, Mixtral, Qwen, Phi, OLMo and most others.

    A window counts only where the configuration has one and does not switch it off
    (`use_sliding_window` of Qwen2, whose first `max_window_layers` layers keep everything).
    """
    count = layer_count(values)
    if values.has("layer_types"):
        return spelled(values, count)
    window = values.whole("tokens", "sliding_window", default=0, low=0)
    if not window or not values.flag("use_sliding_window", default=True):
        return [attention(values)] * count
    first = values.whole("layers", "max_window_layers", default=0, low=0)
    return [attention(values)] * min(first, count) + [_sliding(values, window)] * (count - first)


def periodic(every: int, *names: str) -> LayerRule:
    """One layer in every so many keeps everything, the others a window: Gemma, Cohere2, gpt-oss."""

    def rule(values: Values) -> List[Layers]:
        count = layer_count(values)
        if values.has("layer_types"):
            return spelled(values, count)
        window = values.whole("tokens", "sliding_window", default=0, low=0)
        if not window:
            return [attention(values)] * count
        step = values.whole("layers", *names, default=every) if names else every
        full, sliding = attention(values), _sliding(values, window)
        return [sliding if number % step else full for number in range(1, count + 1)]

    return rule


def chunked(values: Values) -> List[Layers]:
    """Llama 4: layers with rotary positions attend within a chunk, the others to everything."""
    count = layer_count(values)
    if values.has("layer_types"):
        return spelled(values, count)
    step = values.whole("layers", "no_rope_layer_interval", default=4)
    rotary = values.wholes("no_rope_layers") or [(n + 1) % step for n in range(count)]
    chunk = values.whole("tokens", "attention_chunk_size", default=0, low=0)
    full = attention(values)
    local = _sliding(values, chunk) if chunk else full
    # Fewer entries than layers: what is not spelled out keeps everything.
    return [local if n < len(rotary) and rotary[n] else full for n in range(count)]


def latent(values: Values) -> List[Layers]:
    """Multi-head latent attention of DeepSeek: one compressed vector and one rotary key a token.

    DeepSeek V3.2 also keeps the key of its indexer, counted here as values of the same width.
    """
    rank = values.whole("head_dim", "kv_lora_rank")
    rotary = values.whole("head_dim", "qk_rope_head_dim")
    index = values.whole("head_dim", "index_head_dim", default=0, low=0)
    layer = Layers(
        1,
        LATENT,
        head_dim=values.whole("head_dim", "qk_nope_head_dim") + rotary,
        value_dim=values.whole("head_dim", "v_head_dim"),
        latent=rank + rotary + index,
    )
    return [layer] * layer_count(values)


def falcon(values: Values) -> List[Layers]:
    """Falcon: one KV head for all in the old architecture, groups in the new one."""
    full = attention(values)
    if not values.flag("new_decoder_architecture", default=False):
        heads = values.whole("heads", *_HEADS)
        multi_query = values.flag("multi_query", default=True)
        full = replace(full, kv_heads=1 if multi_query else heads)
    return [full] * layer_count(values)


def encoder(values: Values) -> List[Layers]:
    """BERT and its kin: every token sees every other once, nothing is kept."""
    return [Layers(1, NONE)] * layer_count(values)


def spelled(values: Values, count: int) -> List[Layers]:
    """`layer_types`, a word per layer; a word that is not known keeps everything."""
    words = values.words("layer_types")
    if len(words) < count:
        raise InspectError(
            Reason.MODEL_CONFIG_INVALID,
            f"{values.where}: layer_types has {len(words)} words for {count} layers; copy the file "
            "from the model's source again",
        )
    return [_word(values, word) for word in words[:count]]


def _word(values: Values, word: str) -> Layers:
    names = {"chunked_attention": ("attention_chunk_size",)}.get(word)
    if word in _SLIDING_WORDS:
        names = ("sliding_window",)
    window = values.whole("tokens", *names, default=0, low=0) if names else 0
    return _sliding(values, window) if window else attention(values)


def _sliding(values: Values, window: int) -> Layers:
    return replace(attention(values), kind=SLIDING, window=window)
