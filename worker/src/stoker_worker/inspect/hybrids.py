"""Families with state-space or linear-attention layers: memory per request, however long it is.

A state layer keeps the last inputs of its convolution and one recurrent state; their sizes follow
vLLM's state shapes (vllm/model_executor/layers/mamba/mamba_utils.py) on one rank. A layer that
both attends and keeps a state counts as two entries, one of each kind: entries describe memory.
"""

from __future__ import annotations

from typing import Callable, List

from stoker_worker.inspect.attention import LayerRule, attention, layer_count
from stoker_worker.inspect.errors import InspectError, Reason
from stoker_worker.inspect.values import Values
from stoker_worker.modelfacts import NONE, STATE, Layers

_STATE_WORDS = {"mamba", "mamba2", "linear_attention", "linear", "m"}
_EMPTY_WORDS = {"moe", "mlp", "e", "-"}
_BOTH_WORDS = {"hybrid"}

_STATE = ("mamba_d_state", "ssm_state_size", "state_size")
_KERNEL = ("mamba_d_conv", "conv_kernel")
_EXPAND = ("mamba_expand", "expand")
_MOST = 2**36  # values of one layer's state

State = Callable[[Values], Layers]


def mamba1(values: Values) -> Layers:
    """Mamba of the first kind (Jamba, Mamba, FalconMamba): a state for each inner channel."""
    hidden = values.whole("hidden", "hidden_size", "d_model")
    inner = values.whole("width", *_EXPAND, default=2) * hidden
    if not values.has("mamba_expand"):
        inner = values.whole("width", "d_inner", default=inner)
    state = values.whole("head_dim", *_STATE, default=16)
    kernel = values.whole("head_dim", *_KERNEL, default=4)
    return _state(values, inner * (kernel - 1) + inner * state)


def mamba2(values: Values) -> Layers:
    """Mamba 2: a state of head dimension times `d_state` for each head."""
    heads = values.whole("heads", "mamba_n_heads", "mamba_num_heads", "n_mamba_heads", "num_heads")
    head_dim = _mamba_head_dim(values, heads)
    state = values.whole("head_dim", *_STATE, default=128)
    groups = values.whole("heads", "mamba_n_groups", "mamba_ngroups", "n_groups", default=1)
    kernel = values.whole("head_dim", *_KERNEL, default=4)
    inner = heads * head_dim
    return _state(values, (kernel - 1) * (inner + 2 * groups * state) + inner * state)


def _mamba_head_dim(values: Values, heads: int) -> int:
    names = ("mamba_d_head", "mamba_head_dim", "mamba_headdim")
    name = next((each for each in names if isinstance(values.data.get(each), int)), None)
    if name is not None:
        return values.whole("head_dim", name)
    # "auto", or absent: the inner width over the heads.
    hidden = values.whole("hidden", "hidden_size", "d_model")
    inner = values.whole("width", *_EXPAND, default=2) * hidden
    inner = values.whole("width", "mamba_d_ssm", default=inner)
    return max(1, inner // heads)


def gated_delta(values: Values) -> Layers:
    """Gated delta net (Qwen3-Next): a key by value matrix for each value head."""
    keys = values.whole("heads", "linear_num_key_heads")
    heads = values.whole("heads", "linear_num_value_heads")
    key_dim = values.whole("head_dim", "linear_key_head_dim")
    value_dim = values.whole("head_dim", "linear_value_head_dim")
    kernel = values.whole("head_dim", "linear_conv_kernel_dim", default=4)
    conv = (kernel - 1) * (2 * keys * key_dim + heads * value_dim)
    return _state(values, conv + heads * key_dim * value_dim)


def only(state: State) -> LayerRule:
    """Nothing but state layers: Mamba and Mamba 2."""
    return lambda values: [state(values)] * layer_count(values)


def always_both(state: State) -> LayerRule:
    """Each layer attends and keeps a state: Falcon-H1."""
    return lambda values: [attention(values), state(values)] * layer_count(values)


def every(period: str, offset: str, state: State) -> LayerRule:
    """One attention layer in each period, at an offset: Jamba."""

    def rule(values: Values) -> List[Layers]:
        step = values.whole("layers", period)
        start = values.whole("layers", offset, low=0)
        count = layer_count(values)
        return [attention(values) if n % step == start else state(values) for n in range(count)]

    return rule


def at(indices: str, state: State) -> LayerRule:
    """Attention at the layers that a list names: Bamba."""

    def rule(values: Values) -> List[Layers]:
        named = set(values.wholes(indices))
        count = layer_count(values)
        return [attention(values) if n in named else state(values) for n in range(count)]

    return rule


def interval(name: str, step: int, state: State) -> LayerRule:
    """Attention in every so many layers, unless `layer_types` spells it out: Qwen3-Next."""
    listed = words(state)

    def rule(values: Values) -> List[Layers]:
        if values.has("layer_types") or values.has("layers_block_type"):
            return listed(values)
        distance = values.whole("layers", name, default=step)
        count = layer_count(values)
        return [state(values) if n % distance else attention(values) for n in range(1, count + 1)]

    return rule


def words(state: State) -> LayerRule:
    """A word or a letter per layer: Granite 4, Nemotron-H, Zamba2."""

    def rule(values: Values) -> List[Layers]:
        listed = values.words("layers_block_type") or values.words("layer_types")
        listed = listed or list(values.text("hybrid_override_pattern").replace("|", ""))
        if not listed or len(listed) > layer_bound(values):
            raise InspectError(
                Reason.MODEL_CONFIG_INVALID,
                f"{values.where} names the kinds of {len(listed)} layers (layers_block_type, "
                "layer_types or hybrid_override_pattern); copy the file from the model's source "
                "again",
            )
        layers: List[Layers] = []
        for word in listed:
            layers += _of_word(values, word.lower(), state)
        return layers

    return rule


def layer_bound(values: Values) -> int:
    """How many kinds of layers may be spelled out: those that there are."""
    return values.whole("layers", "num_hidden_layers", default=1024)


def _of_word(values: Values, word: str, state: State) -> List[Layers]:
    if word in _EMPTY_WORDS:
        return [Layers(1, NONE)]
    if word in _STATE_WORDS:
        return [state(values)]
    # A word that is not known keeps everything, which is the most that a layer can.
    return [attention(values), state(values)] if word in _BOTH_WORDS else [attention(values)]


def _state(values: Values, size: int) -> Layers:
    if size > _MOST:
        raise InspectError(
            Reason.DIMENSION_ABSURD,
            f"{values.where} describes a state of {size} values per layer and request; copy the "
            "file from the model's source again",
        )
    return Layers(1, STATE, state_values=size)
