"""From the spec to what the planner is asked.

A wish can be written in three places, and the first one that speaks is heard: the typed field, the
engine's own flag or variable among the user's, the same among the administrator's defaults. So a
flag that somebody set is never contradicted by the plan but part of it. What the spec alone asks
for, without the administrator's defaults, has a digest: plans stay until it changes.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stoker.api.optimization import Optimization
from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model.location import location_of
from stoker.model.sizing import Adapter, Objective, Request, Speculation, Targets, Workload
from stoker.quantity import parse_duration
from stoker_worker import contract

DIGEST_LENGTH: Final = 16
KV_SPACE_VARIABLE: Final = "VLLM_CPU_KVCACHE_SPACE"
_SWITCHES: Final = {"auto": None, "on": True, "off": False}
# The engine's names of KV types, in the words of `optimization.kvCache.dtype`.
_KV_DTYPES: Final = {
    "auto": "bf16",
    "bfloat16": "bf16",
    "fp8": "fp8",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
    "fp8_per_token_head": "fp8",
    "int8_per_token_head": "int8",
    "int4_per_token_head": "int4",
}


@dataclass(frozen=True, slots=True)
class Flag:
    """An engine flag that says what a typed field could say."""

    wish: str  # field of Request
    path: str  # field of the spec
    parse: Callable[[str], Any]  # None where the text means nothing


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _yes(text: str) -> bool | None:
    return {"true": True, "": True, "false": False}.get(text.lower())


def _no(text: str) -> bool | None:
    answer = _yes(text)
    return None if answer is None else not answer


_BATCHING: Final = "optimization.batching"
FLAGS: Final[Mapping[str, Flag]] = {
    "attention-backend": Flag("attention_backend", "optimization.attentionBackend", str),
    "block-size": Flag("block_size", f"{_BATCHING}.blockSize", _whole),
    "cpu-offload-gb": Flag("cpu_offload_gib", "optimization.cpuOffloadGiB", _number),
    "enable-chunked-prefill": Flag("chunked_prefill", f"{_BATCHING}.chunkedPrefill", _yes),
    "enable-prefix-caching": Flag("prefix_caching", "optimization.prefixCaching", _yes),
    "enforce-eager": Flag("compile", "optimization.compile", _no),
    "gpu-memory-utilization": Flag(
        "gpu_memory_utilization", "optimization.gpuMemoryUtilization", _number
    ),
    "kv-cache-dtype": Flag("kv_dtype", "optimization.kvCache.dtype", _KV_DTYPES.get),
    "load-format": Flag("loader", "optimization.loader", str),
    "max-num-batched-tokens": Flag(
        "max_num_batched_tokens", f"{_BATCHING}.maxNumBatchedTokens", _whole
    ),
    "max-num-seqs": Flag("max_num_seqs", f"{_BATCHING}.maxNumSeqs", _whole),
    "quantization": Flag("quantization", "optimization.quantization", str),
}


def request_of(
    spec: InferenceServiceSpec,
    engine_version: str = "",
    args: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
) -> Request:
    """What the spec asks for; `args` and `env` are the administrator's defaults of the engine."""
    flags = {**(args or {}), **spec.engine.args}
    variables = {**(env or {}), **{each.name: each.value for each in spec.engine.env}}
    wishes: dict[str, Any] = {}
    for name, text in flags.items():
        if name in FLAGS:
            wishes[FLAGS[name].wish] = FLAGS[name].parse(text)
    wishes["kv_space_gib"] = _number(variables.get(KV_SPACE_VARIABLE, ""))
    wishes.update(explicit(spec))
    return Request(
        engine=spec.engine.name.value,
        engine_version=engine_version,
        **{name: value for name, value in wishes.items() if value is not None},
    )


def explicit(spec: InferenceServiceSpec) -> dict[str, Any]:
    """Fields of a Request that typed fields of the spec ask for."""
    wanted, parallelism = spec.optimization, spec.parallelism
    kv_dtype = wanted.kv_cache.dtype
    wishes = {
        "accelerators": tuple(spec.accelerator.types) or None,
        "per_replica": spec.accelerator.per_replica,
        "tensor": parallelism.tensor,
        "pipeline": parallelism.pipeline,
        "data": parallelism.data,
        "expert": _SWITCHES[parallelism.expert],
        "max_model_len": spec.context.max_model_len,
        "objective": Objective(wanted.objective),
        "workload": _workload(wanted),
        "targets": _targets(wanted),
        "quantization": _unless_auto(wanted.quantization),
        "kv_dtype": "bf16" if kv_dtype == "none" else _unless_auto(kv_dtype),
        "kv_offload_gib": wanted.kv_cache.offload_gib,
        "cpu_offload_gib": wanted.cpu_offload_gib,
        "speculation": _speculation(wanted),
        "prefix_caching": _SWITCHES[wanted.prefix_caching],
        "chunked_prefill": _SWITCHES[wanted.batching.chunked_prefill],
        "max_num_seqs": wanted.batching.max_num_seqs,
        "max_num_batched_tokens": wanted.batching.max_num_batched_tokens,
        "block_size": wanted.batching.block_size,
        "compile": _SWITCHES[wanted.compile],
        "attention_backend": _unless_auto(wanted.attention_backend),
        "gpu_memory_utilization": wanted.gpu_memory_utilization,
        "loader": _unless_auto(wanted.loader),
        "max_quality_loss": wanted.max_quality_loss,
        "adapters": adapters_of(spec) or None,
    }
    return {name: value for name, value in wishes.items() if value is not None}


def adapters_of(spec: InferenceServiceSpec) -> tuple[Adapter, ...]:
    """Adapters that the spec names, in its order."""
    if spec.model.claim_uri is None:
        return ()  # they lie below the model's folder, and a cache's is not the user's
    _, model = location_of(spec.model.claim_uri)
    found = []
    for each in spec.model.adapters:
        _, folder = location_of(each.uri)
        below = folder.removeprefix(model).lstrip("/")
        found.append(Adapter(each.name, below, f"{contract.MODEL_DIR}/{folder}"))
    return tuple(found)


def digest_of(spec: InferenceServiceSpec) -> str:
    """Names what the spec itself asks of the planner.

    A field that a later version adds joins with a default that leaves older specs their digest.
    """
    request = request_of(spec)
    given = {**_compact(request), "image": spec.engine.image}
    text = json.dumps(given, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def _compact(value: Any) -> dict[str, Any]:  # noqa: ANN401 - Request and what it holds
    found = {}
    for each in dataclasses.fields(value):
        item = getattr(value, each.name)
        if item == each.default:
            continue
        found[each.name] = _compact(item) if dataclasses.is_dataclass(item) else item
    return found


def _unless_auto(word: str | None) -> str | None:
    return None if word == "auto" else word


def _speculation(wanted: Optimization) -> Speculation | None:
    asked = wanted.speculative
    if asked.method == "auto":
        return None
    folder = None if asked.model is None else f"{contract.MODEL_DIR}/{asked.model}"
    return Speculation(asked.method, asked.tokens, folder)


def _targets(wanted: Optimization) -> Targets:
    asked = wanted.targets
    return Targets(
        ttft_s=None if asked.ttft is None else parse_duration(asked.ttft),
        itl_s=None if asked.itl is None else parse_duration(asked.itl),
        cost_per_million_tokens=_money(asked.cost_per_million_tokens),
        price_per_hour=_money(asked.price_per_hour),
    )


def _money(text: str | None) -> float | None:
    return None if text is None else float(text)


def _workload(wanted: Optimization) -> Workload:
    asked = wanted.workload
    return Workload(asked.input_tokens, asked.output_tokens, asked.concurrency)
