"""An architecture that is not known: its shape from the tensors, and never too optimistic.

What a layer keeps follows from the outputs of its key and value projections, whatever the heads
are: keys and values together are what the projections give. Where only a fused projection is there,
what is not for the queries is kept; where not even that can be told, as much as the queries take.
Heads that cannot be told count as one KV head, which is kept whole on every tensor parallel rank.
A window is never assumed.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from stoker_worker.inspect.attention import query_heads
from stoker_worker.inspect.errors import InspectError, Reason
from stoker_worker.inspect.headers import Tensor
from stoker_worker.inspect.sizes import EMBEDDING, layer_number
from stoker_worker.inspect.structure import Structure, architecture_name, common, text_values
from stoker_worker.inspect.values import BOUNDS, Values
from stoker_worker.modelfacts import FULL, LATENT, NONE, STATE, Layers, Quantization, merged

_KEYS = re.compile(r"\.(k_proj|key|wk|k|key_proj|self_attn\.k|attention\.k)\.(weight|qweight)$")
_VALUES = re.compile(r"\.(v_proj|value|wv|v|value_proj)\.(weight|qweight)$")
_OUTPUT = re.compile(r"\.(o_proj|out_proj|wo|dense|c_proj|out)\.(weight|qweight)$")
_FUSED = re.compile(
    r"\.(qkv_proj|qkv|query_key_value|c_attn|Wqkv|W_pack|wqkv|in_proj_qkv|attn_qkv)\."
    r"(weight|qweight)$"
)
_LATENT = re.compile(r"\.(kv_a_proj_with_mqa|fused_qkv_a_proj)\.(weight|qweight)$")
_RECURRENT = re.compile(r"\.(A_log|conv1d\.weight|x_proj\.weight|dt_bias)$")


def structure(
    config: Mapping[str, Any], tensors: Sequence[Tensor], quantization: Optional[Quantization]
) -> Structure:
    """The shape of an unknown architecture; `StructureUnknown` where nothing can be told."""
    values = text_values(config, _silent(tensors))
    layers = _layers(values, tensors, quantization)
    name = architecture_name(config) or "none named"
    found = common(values, layers, query_heads(values))
    warning = (
        f"architecture {name!r} is not known: layers come from tensor shapes alone, no window and "
        "no shared memory is assumed"
    )
    return Structure(
        hidden=found.hidden,
        heads=found.heads,
        vocab=found.vocab,
        max_positions=found.max_positions,
        layers=found.layers,
        intermediate=found.intermediate,
        experts=found.experts,
        experts_active=found.experts_active,
        draft_layers=0,
        warnings=(warning, *found.warnings),
    )


def _silent(tensors: Sequence[Tensor]) -> Dict[str, int]:
    """What the input embedding tells where the configuration is silent."""
    found = (t for t in tensors if len(t.shape) == 2 and EMBEDDING.search(t.name))
    embedding = max(found, key=lambda t: t.elements, default=None)
    if embedding is None:
        return {}
    return {"vocab_size": embedding.shape[0], "hidden_size": embedding.shape[1]}


def _layers(
    values: Values, tensors: Sequence[Tensor], quantization: Optional[Quantization]
) -> Tuple[Layers, ...]:
    by_number: Dict[int, List[Tensor]] = {}
    for tensor in tensors:
        number = layer_number(tensor.name)
        if number is not None:
            by_number.setdefault(number, []).append(tensor)
    if not by_number or len(by_number) > BOUNDS["layers"]:
        raise InspectError(
            Reason.STRUCTURE_UNKNOWN,
            f"the architecture is not known, and the names of its tensors tell {len(by_number)} "
            "layers; use a model whose architecture is listed in docs/model-facts.md",
        )
    return merged(_layer(values, by_number[n], quantization) for n in sorted(by_number))


def _layer(values: Values, tensors: List[Tensor], quantization: Optional[Quantization]) -> Layers:
    latent = _rows(_first(_LATENT, tensors), quantization)
    if latent:
        return Layers(1, LATENT, latent=latent)
    keys = _rows(_first(_KEYS, tensors), quantization)
    held = _rows(_first(_VALUES, tensors), quantization) or keys
    if not keys:
        fused = _rows(_first(_FUSED, tensors), quantization)
        queries = _columns(_first(_OUTPUT, tensors), quantization)
        both = fused - queries if 0 < queries < fused else fused - fused // 3
        keys = held = -(-both // 2)
    if keys:
        return _split(values, keys, held)
    recurrent = [tensor for tensor in tensors if _RECURRENT.search(tensor.name)]
    if recurrent:
        return Layers(1, STATE, state_values=_state_values(values, recurrent))
    attends = any("attn" in tensor.name or "attention" in tensor.name for tensor in tensors)
    if not attends:
        return Layers(1, NONE)
    # It attends, and nothing says with how much: as much as the hidden state.
    hidden = values.whole("hidden", "hidden_size", "n_embd", "d_model")
    return Layers(1, FULL, kv_heads=1, head_dim=hidden)


def _split(values: Values, keys: int, held: int) -> Layers:
    heads = values.whole("heads", "num_key_value_heads", default=1)
    if keys % heads or held % heads:
        heads = 1
    value_dim = held // heads if held != keys else 0
    return Layers(1, FULL, kv_heads=heads, head_dim=keys // heads, value_dim=value_dim)


def _state_values(values: Values, tensors: List[Tensor]) -> int:
    """Not less than what a state of the known kinds would take: 256 values per inner channel."""
    hidden = values.whole("hidden", "hidden_size", "n_embd", "d_model")
    inner = max((max(tensor.shape, default=1) for tensor in tensors), default=1)
    return min(2**36, max(inner, 2 * hidden) * 256)


def _first(pattern: re.Pattern[str], tensors: List[Tensor]) -> Optional[Tensor]:
    return next((t for t in tensors if len(t.shape) == 2 and pattern.search(t.name)), None)


def _rows(tensor: Optional[Tensor], quantization: Optional[Quantization]) -> int:
    """Outputs of a projection: rows as PyTorch stores it, columns where AutoAWQ or GPTQ did."""
    if tensor is None:
        return 0
    if tensor.name.endswith(".qweight"):
        packed = quantization is not None and quantization.method == "awq"
        factor = 32 // max(1, quantization.bits) if packed and quantization is not None else 1
        return tensor.shape[1] * factor
    return tensor.shape[0]


def _columns(tensor: Optional[Tensor], quantization: Optional[Quantization]) -> int:
    if tensor is None:
        return 0
    if tensor.name.endswith(".qweight"):
        packed = quantization is not None and quantization.method != "awq"
        factor = 32 // max(1, quantization.bits) if packed and quantization is not None else 1
        return tensor.shape[0] * factor
    return tensor.shape[1]
