"""Parameters and bytes, summed over the tensors that a checkpoint's headers list.

A parameter is a number that the model learned: an int4 weight counts once however many share a
word, scales, zero points and look-up tables of a quantization do not count, nor do buffers. Bytes
are what the files hold, all of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Dict, Iterable, Optional

from stoker_worker.inspect.headers import DTYPE_BITS, FLOATS, Tensor
from stoker_worker.modelfacts import Quantization

# Last words of names that belong to a quantization or are computed, not learned.
_HELPERS = frozenset(
    (
        # compressed-tensors, FP8, ModelOpt
        *("weight_scale", "weight_scale_inv", "weight_scale_2", "weight_zero_point"),
        *("weight_global_scale", "weight_shape", "weight_g_idx", "zero_point", "output_scale"),
        *("input_scale", "input_scale_inv", "input_zero_point", "input_global_scale"),
        *("q_scale", "k_scale", "v_scale", "kv_scale", "prob_scale"),
        # AWQ and GPTQ
        *("scales", "qzeros", "g_idx"),
        # bitsandbytes
        *("absmax", "quant_map", "nested_absmax", "nested_quant_map", "SCB", "weight_format"),
        # sparse and fused
        *("bitmask", "row_offsets", "down_proj_scales", "gate_up_proj_scales"),
        *("down_proj_weight_scale", "gate_up_proj_weight_scale"),
        # computed, not learned
        *("inv_freq", "position_ids", "masked_bias", "num_batches_tracked"),
    )
)
_PACKED = re.compile(r"(qweight|weight_packed|_blocks|packed)$")
# Routed experts under the names of all known families; the shared ones are met by every token.
_EXPERT = re.compile(r"\.experts\.|\.block_sparse_moe\.(?:input|output)_linear\.")
EMBEDDING = re.compile(
    r"(^|\.)(embed_tokens|tok_embeddings|word_embeddings|wte|embed_in|backbone\.embeddings?)"
    r"\.weight$|^(model\.|transformer\.)?embeddings?\.weight$"
)
_HEAD = re.compile(r"(^|\.)(lm_head|embed_out|output)\.(weight|qweight|weight_packed)$")
_LAYER = re.compile(r"(^|\.)(layers|layer|h|blocks)\.(\d+)\.")
_DRAFT = re.compile(r"(^|\.)(?:mtp|mtp_layers|mtp_block)\.")
# Towers for other media have layers of their own, which are none of the language model's.
_TOWER = re.compile(r"(^|\.)(vision_tower|vision_model|visual|audio_tower|vision_encoder)\.")


@dataclass
class Sizes:
    """Sums over a checkpoint."""

    parameters: int = 0
    weight_bytes: int = 0
    bytes_by_dtype: Dict[str, int] = field(default_factory=dict)
    embedding_parameters: int = 0
    expert_parameters: int = 0
    expert_bytes: int = 0
    draft_parameters: int = 0
    draft_bytes: int = 0
    has_head: bool = False  # an output head of its own is stored
    layers: int = 0  # distinct numbers of layers of the language model


def sizes(
    tensors: Iterable[Tensor],
    quantization: Optional[Quantization] = None,
    *,
    tied: Optional[bool] = None,
    layer_count: Optional[int] = None,
) -> Sizes:
    """Sums; layers from number `layer_count` on are a draft head that came with the model.

    `tied` says that a stored output head is the input embedding once more.
    """
    found = Sizes()
    numbers = set()
    for tensor in tensors:
        name = tensor.name
        found.weight_bytes += tensor.size
        kept = found.bytes_by_dtype.get(tensor.dtype, 0)
        found.bytes_by_dtype[tensor.dtype] = kept + tensor.size
        number = layer_number(name)
        count = parameters(tensor, quantization)
        beyond = number is not None and layer_count is not None and number >= layer_count
        if beyond or ("mtp" in name and _DRAFT.search(name)):
            found.draft_parameters += count
            found.draft_bytes += tensor.size
            continue
        if number is not None:
            numbers.add(number)
            if _EXPERT.search(name):
                found.expert_parameters += count
                found.expert_bytes += tensor.size
        elif _HEAD.search(name):
            found.has_head = True
            if tied:
                continue  # the same numbers as the input embedding
            found.embedding_parameters += count
        elif EMBEDDING.search(name):
            found.embedding_parameters += count
        found.parameters += count
    found.layers = len(numbers)
    return found


def layer_number(name: str) -> Optional[int]:
    """The number of the language model's layer that a tensor belongs to."""
    match = _LAYER.search(name)
    # No model has layers with numbers of more digits.
    if match is None or len(match[3]) > 6 or _TOWER.search(name):
        return None
    return int(match[3])


def parameters(tensor: Tensor, quantization: Optional[Quantization] = None) -> int:
    """Learned numbers of one tensor."""
    last = tensor.name.rpartition(".")[2]
    if last in _HELPERS or ".quant_state." in tensor.name:
        return 0
    if tensor.dtype in FLOATS or tensor.dtype not in DTYPE_BITS:
        return tensor.elements
    if quantization is None:
        return 0  # a mask or an index
    if tensor.dtype == "I8":
        return tensor.elements  # never packed: int4 with int8 activations takes a byte each, too
    bits, width = quantization.bits, DTYPE_BITS[tensor.dtype]
    if 0 < bits < width and (tensor.dtype == "U8" or _PACKED.search(last)):
        return tensor.elements * width // bits
    return tensor.elements if tensor.dtype == "U8" and bits == width else 0
