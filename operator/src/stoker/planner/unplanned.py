"""Explicit fields as engine flags, where no plan can be made: hardware or model are not known.

What the spec leaves open is left to the engine. Whether a wish can be had is found out by the
engine, too, for nobody here can tell.
"""

import json
from typing import Final

from stoker.model.sizing import Request, Speculation

_KV_WORDS: Final = {
    "bf16": "auto",
    "fp8": "fp8",
    "int8": "int8_per_token_head",
    "int4": "int4_per_token_head",
}
_METHODS: Final = {"draft": "draft_model"}
_TOKENS: Final = 4


def explicit_args(request: Request) -> dict[str, str]:
    """Flags without dashes for what was asked for; a switch has the value true or false."""
    numbers = {
        "pipeline-parallel-size": request.pipeline if request.pipeline != 1 else None,
        "data-parallel-size": request.data if request.data != 1 else None,
        "max-num-seqs": request.max_num_seqs,
        "max-num-batched-tokens": request.max_num_batched_tokens,
        "block-size": request.block_size,
        "gpu-memory-utilization": request.gpu_memory_utilization,
        "cpu-offload-gb": request.cpu_offload_gib or None,
        "kv-offloading-size": request.kv_offload_gib or None,
    }
    switches = {
        "enable-expert-parallel": request.expert,
        "enable-prefix-caching": request.prefix_caching,
        "enable-chunked-prefill": request.chunked_prefill,
        "enforce-eager": None if request.compile is None else not request.compile,
    }
    words = {
        "quantization": None if request.quantization == "none" else request.quantization,
        "kv-cache-dtype": None if request.kv_dtype is None else _KV_WORDS[request.kv_dtype],
        "attention-backend": request.attention_backend,
        "load-format": request.loader,
        "speculative-config": _speculation(request.speculation),
    }
    return {
        **{name: f"{value:g}" for name, value in numbers.items() if value is not None},
        **{name: "true" if on else "false" for name, on in switches.items() if on is not None},
        **{name: word for name, word in words.items() if word is not None},
    }


def _speculation(asked: Speculation | None) -> str | None:
    if asked is None or asked.method == "none":
        return None
    config: dict[str, object] = {
        "method": _METHODS.get(asked.method, asked.method),
        "num_speculative_tokens": asked.tokens or _TOKENS,
    }
    if asked.method == "ngram":
        config["prompt_lookup_min"], config["prompt_lookup_max"] = 2, 4
    if asked.model is not None:
        config["model"] = asked.model
    return json.dumps(config, separators=(",", ":"))
