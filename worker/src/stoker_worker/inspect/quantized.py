"""How a checkpoint's weights are stored, out of the many ways in which tools write that down.

`quantization_config` in config.json (all methods), `hf_quant_config.json` (NVIDIA ModelOpt), and
`quantize_config.json` or `quant_config.json` (older AutoGPTQ and AutoAWQ). Methods keep the names
that vLLM gives them.
"""

from __future__ import annotations

import re
from typing import Any, List, Mapping, Optional, Tuple

from stoker_worker.inspect.values import Values
from stoker_worker.modelfacts import Quantization

# What the method alone says: bits of a weight, weights per scale, bits of an activation, floating.
_METHODS: Mapping[str, Tuple[int, int, int, bool]] = {
    "fp8": (8, 0, 8, True),
    "fbgemm_fp8": (8, 0, 8, True),
    "ptpc_fp8": (8, 0, 8, True),
    "modelopt": (8, 0, 8, True),
    "modelopt_fp4": (4, 16, 4, True),
    "mxfp4": (4, 32, 16, True),
    "mxfp8": (8, 32, 8, True),
    "awq": (4, 128, 16, False),
    "gptq": (4, 128, 16, False),
    "auto-round": (4, 128, 16, False),
    "bitsandbytes": (4, 64, 16, False),
    "compressed-tensors": (8, 0, 8, False),
}
_ALIASES = {
    "awq_marlin": "awq",
    "gptq_marlin": "gptq",
    "intel/auto-round": "auto-round",
    "inc": "auto-round",
    "compressed_tensors": "compressed-tensors",
    "modelopt_mxfp8": "mxfp8",
}
_BITS = ("bits", "w_bit", "num_bits", "nbits", "weight_bits")
_GROUP = ("group_size", "q_group_size", "block_size")


def quantization(
    config: Mapping[str, Any], separate: Optional[Mapping[str, Any]] = None
) -> Tuple[Optional[Quantization], List[str]]:
    """The checkpoint's quantization and what is doubtful about it.

    `separate` is the content of a quantization file of its own; config.json's word comes first.
    """
    text = config.get("text_config")
    inner = text if isinstance(text, dict) else {}
    places = (
        config.get("quantization_config"),
        config.get("compression_config"),
        inner.get("quantization_config"),
        separate,
    )
    data = next((each for each in places if isinstance(each, dict) and each), None)
    if data is None:
        return None, []
    nested = data.get("quantization")
    values = Values({**data, **(nested if isinstance(nested, dict) else {})}, "quantization_config")
    method = _method(values)
    if method == "compressed-tensors":
        return _compressed(values)
    if method == "bitsandbytes":
        return _bitsandbytes(values), []
    if method.startswith("modelopt"):
        return _modelopt(values), []
    return _generic(method, values)


def _method(values: Values) -> str:
    name = values.text("quant_method").lower()[:32]
    if not name:
        # Older files name no method: AutoAWQ writes w_bit or a version, AutoGPTQ desc_act.
        if values.has("quant_algo") or values.inner("producer").text("name") == "modelopt":
            return "modelopt"
        awq = values.has("w_bit") or values.text("version").lower() in {"gemm", "gemv", "marlin"}
        return "awq" if awq else "gptq" if values.has("desc_act") else "unknown"
    return _ALIASES.get(name, name)


def _bits(values: Values, default: int) -> int:
    bits = values.number(next((each for each in _BITS if values.has(each)), ""), default)
    return int(bits) if 1 <= bits <= 64 else default


def _group(values: Values, default: int) -> int:
    # -1 stands for one scale per channel.
    name = next((each for each in _GROUP if values.has(each)), "")
    if not name:
        return default
    size = values.number(name, 0)
    return int(size)


def _generic(method: str, values: Values) -> Tuple[Quantization, List[str]]:
    bits, group, active, floating = _METHODS.get(method, (0, 0, 16, False))
    warnings = []
    if not bits:
        bits = _bits(values, 0) or 8
        warnings.append(f"quantization method {method!r} is not known here: {bits} bits assumed")
    block = values.wholes("weight_block_size")
    found = Quantization(
        method=method,
        bits=_bits(values, bits),
        group=max(0, block[-1]) if block else _group(values, group),
        activation_bits=active,
        floating=floating,
        kv_dtype=_kv_scheme(values),
        static=values.text("activation_scheme").lower() == "static",
    )
    return found, warnings


def _bitsandbytes(values: Values) -> Quantization:
    eight = values.flag("load_in_8bit", default=values.flag("_load_in_8bit", default=False))
    if eight:
        return Quantization("bitsandbytes", 8, activation_bits=8)
    return Quantization("bitsandbytes", 4, group=64)


def _modelopt(values: Values) -> Quantization:
    algorithm = values.text("quant_algo", "FP8").upper()[:32]
    found = re.match(r"W(\d+)A(\d+)", algorithm)
    kv_dtype = _kv_scheme(values)
    if found:
        return Quantization(
            "modelopt",
            min(64, int(found[1])),
            _group(values, 128),
            min(64, int(found[2])),
            kv_dtype=kv_dtype,
        )
    if "FP4" in algorithm:
        return Quantization("modelopt_fp4", 4, _group(values, 16), 4, True, kv_dtype)
    group = 32 if algorithm.startswith("MX") else 128 if "_PB" in algorithm else 0
    active = 16 if algorithm.endswith("_WO") else 8
    return Quantization("modelopt", 8, group, active, "INT" not in algorithm, kv_dtype)


def _compressed(values: Values) -> Tuple[Quantization, List[str]]:
    """compressed-tensors: schemes per group of modules; the one with the fewest bits speaks."""
    groups = values.inner("config_groups")
    schemes = [groups.inner(name) for name in groups.data]
    weights = [scheme for scheme in schemes if scheme.has("weights")]
    # Without targets it is a word about no layer, and engines pass over it.
    sparse = bool(values.inner("sparsity_config").data.get("targets"))
    if not weights:
        none = Quantization("compressed-tensors", 16, kv_dtype=_kv_scheme(values), sparse=sparse)
        return none, []
    scheme = min(weights, key=lambda each: _bits(each.inner("weights"), 8))
    weight, active = scheme.inner("weights"), scheme.inner("input_activations")
    block = weight.wholes("block_structure")
    widths = sorted({_bits(each.inner("weights"), 8) for each in weights})
    found = Quantization(
        method="compressed-tensors",
        bits=widths[0],
        group=max(0, block[-1]) if block else _group(weight, 0),
        activation_bits=_bits(active, 8) if active.data else 16,
        floating=weight.text("type", "int") == "float",
        kv_dtype=_kv_scheme(values),
        sparse=sparse,
        static=bool(active.data) and not active.flag("dynamic", default=False),
    )
    if len(widths) == 1:
        return found, []
    said = " and ".join(map(str, widths))
    return found, [f"weights of {said} bits: packed ones count as if all had {widths[0]}"]


def _kv_scheme(values: Values) -> Optional[str]:
    """The KV-cache scheme that a checkpoint carries scales for."""
    named = values.text("kv_cache_quant_algo").lower()
    if named:
        return named[:16]
    scheme = values.inner("kv_cache_scheme")
    if not scheme.data:
        return None
    return f"{'fp' if scheme.text('type', 'float') == 'float' else 'int'}{_bits(scheme, 8)}"
