"""Wishes that no accelerator could grant: absurd numbers, names that nobody knows."""

import math
from collections.abc import Mapping
from typing import Final

from stoker.catalog.gpus import Gpu
from stoker.model import reasons
from stoker.model.plan import Verdict
from stoker.model.sizing import Request
from stoker.planner import quality
from stoker_worker.modelfacts import ModelFacts

_AT_LEAST_ONE: Final = {
    "per_replica": "accelerator.perReplica",
    "tensor": "parallelism.tensor",
    "pipeline": "parallelism.pipeline",
    "data": "parallelism.data",
    "max_model_len": "context.maxModelLen",
    "max_num_seqs": "optimization.batching.maxNumSeqs",
    "max_num_batched_tokens": "optimization.batching.maxNumBatchedTokens",
    "block_size": "optimization.batching.blockSize",
}
_NOT_NEGATIVE: Final = {
    "kv_offload_gib": "optimization.kvCache.offloadGiB",
    "cpu_offload_gib": "optimization.cpuOffloadGiB",
    "kv_space_gib": "engine.env VLLM_CPU_KVCACHE_SPACE",
    "max_quality_loss": "optimization.maxQualityLoss",
}


def refuse(request: Request, facts: ModelFacts, gpus: Mapping[str, Gpu]) -> Verdict | None:
    """The first thing that is wrong with the request itself; None when all of it makes sense."""
    return (
        _numbers(request)
        or _accelerators(request, gpus)
        or _context(request, facts)
        or _batch(request)
        or _quality(request)
    )


def _numbers(request: Request) -> Verdict | None:
    for name, field in _AT_LEAST_ONE.items():
        value = getattr(request, name)
        if value is not None and value < 1:
            return _out_of_range(field, value, "at least 1")
    for name, field in _NOT_NEGATIVE.items():
        value = getattr(request, name)
        if value is not None and not 0 <= value < math.inf:
            return _out_of_range(field, value, "at least 0")
    share = request.gpu_memory_utilization
    if share is not None and not 0 < share <= 1:
        return _out_of_range("optimization.gpuMemoryUtilization", share, "between 0 and 1")
    workload = request.workload
    if workload.input_tokens < 1 or workload.output_tokens < 0:
        sizes = f"{workload.input_tokens} and {workload.output_tokens} tokens"
        return _out_of_range("optimization.workload", sizes, "positive")
    if workload.concurrency is not None and workload.concurrency < 1:
        field = "optimization.workload.concurrency"
        return _out_of_range(field, workload.concurrency, "at least 1")
    tokens = request.speculation.tokens if request.speculation else None
    if tokens is not None and tokens < 1:
        return _out_of_range("optimization.speculative.tokens", tokens, "at least 1")
    return None


def _accelerators(request: Request, gpus: Mapping[str, Gpu]) -> Verdict | None:
    known = ", ".join(sorted(gpus))
    if not gpus:
        return Verdict(
            reasons.NO_ACCELERATOR,
            "the catalogue has no accelerator; add one, or cpu, to the chart's accelerators",
        )
    unknown = [name for name in request.accelerators if name not in gpus]
    if unknown:
        return Verdict(
            reasons.ACCELERATOR_UNKNOWN,
            f"accelerator.types: nothing is known about {unknown[0]}; known: {known}",
        )
    return None


def _context(request: Request, facts: ModelFacts) -> Verdict | None:
    length, limit = request.max_model_len, facts.max_positions
    if length is not None and 0 < limit < length:
        return Verdict(
            reasons.CONTEXT_BEYOND_MODEL,
            f"context.maxModelLen: {length} is more than the {limit} tokens that the model was "
            f"made for; write at most {limit}",
        )
    return None


def _batch(request: Request) -> Verdict | None:
    # Each data parallel copy has limits of its own.
    copies = request.data or request.per_replica or 1
    asked = request.workload.concurrency
    for field, most in (
        ("maxNumSeqs", request.max_num_seqs),
        ("maxNumBatchedTokens", request.max_num_batched_tokens),
    ):
        if asked is not None and most is not None and asked > most * copies:
            return Verdict(
                reasons.BATCH_TOO_SMALL,
                f"optimization.batching.{field}: {most} holds fewer requests at once than the "
                f"{asked} of optimization.workload.concurrency; raise one or lower the other",
            )
    return None


def _quality(request: Request) -> Verdict | None:
    """Both explicit: the bound says that the wish may not be granted."""
    if request.max_quality_loss is None:
        return None
    asked = [
        (field, name, table[name])
        for field, name, table in (
            ("optimization.quantization", request.quantization, quality.WEIGHTS),
            ("optimization.kvCache.dtype", request.kv_dtype, quality.KV_CACHE),
        )
        if name is not None and name in table
    ]
    total = sum(loss.typical for _, _, loss in asked)
    if total <= request.max_quality_loss:
        return None
    field, name, loss = max(asked, key=lambda each: each[2].typical)
    return Verdict(
        reasons.QUALITY_LOSS_TOO_HIGH,
        f"{field}: {name} costs {loss} of quality, and optimization.maxQualityLoss allows "
        f"{request.max_quality_loss:g} %; raise it or remove one of them",
    )


def _out_of_range(field: str, value: object, bounds: str) -> Verdict:
    return Verdict(reasons.VALUE_OUT_OF_RANGE, f"{field}: {value} is not {bounds}")
