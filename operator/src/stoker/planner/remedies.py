"""Ways out: what to change, so that what was asked can be had. Each is planned, none is guessed.

A remedy changes one field (two, where one is not enough) and runs the same search. They are sorted
by price, then by the quality that they cost.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from stoker.model.plan import Verdict
from stoker.model.sizing import GIB, Alternative, Configuration, Request, Speculation
from stoker.planner import checks, quality
from stoker.planner.alternatives import alternative
from stoker.planner.ask import found_quantization
from stoker.planner.candidates import Candidate, Reject
from stoker.planner.memory import WEIGHT_BITS
from stoker.planner.search import Problem, search
from stoker_worker.modelfacts import ModelFacts, Quantization

_MOST: Final = 8
_ENOUGH: Final = 3
_OTHER_TYPES: Final = 3
_TENSORS: Final = (2, 4, 8)
_KV_TYPES: Final = ("fp8", "int8", "int4")
_KV_FP8: Final = "optimization.kvCache.dtype: fp8"
_KV_INT8: Final = "optimization.kvCache.dtype: int8"
_AT_LOAD: Final = ("fp8", "int8", "bitsandbytes")
_SHORTER: Final = "context.maxModelLen"
_CHECKPOINT: Final = "model.uri: a checkpoint quantized to 4 bits (AWQ or GPTQ)"
# Fields of the spec, and what they are called in a request.
_FIELDS: Final = {
    "accelerator.types": "accelerators",
    "accelerator.perReplica": "per_replica",
    "parallelism.tensor": "tensor",
    "parallelism.pipeline": "pipeline",
    "parallelism.data": "data",
    "parallelism.expert": "expert",
    "context.maxModelLen": "max_model_len",
    "optimization.quantization": "quantization",
    "optimization.kvCache.dtype": "kv_dtype",
    "optimization.kvCache.offloadGiB": "kv_offload_gib",
    "optimization.cpuOffloadGiB": "cpu_offload_gib",
    "optimization.prefixCaching": "prefix_caching",
    "optimization.batching": "max_num_batched_tokens",
    "optimization.batching.maxNumSeqs": "max_num_seqs",
    "optimization.batching.maxNumBatchedTokens": "max_num_batched_tokens",
    "optimization.batching.blockSize": "block_size",
    "optimization.speculative": "speculation",
    "optimization.attentionBackend": "attention_backend",
    "optimization.gpuMemoryUtilization": "gpu_memory_utilization",
    "optimization.loader": "loader",
    "optimization.maxQualityLoss": "max_quality_loss",
}
_NO_CUT: Final[dict[str, Any]] = {
    "tensor": None,
    "pipeline": None,
    "data": None,
    "per_replica": None,
}


@dataclass(frozen=True, slots=True)
class Remedy:
    """One change to try."""

    text: str
    request: Request
    facts: ModelFacts | None = None  # None: the same model


def ways_out(problem: Problem, nearest: Reject) -> tuple[Alternative, ...]:
    """For what does not fit: at least three, where there are so many; the cheapest first."""
    here = problem.request
    if not here.accelerators:
        # Every type was tried, so that a type is the only thing that is not to be changed.
        here = replace(here, accelerators=(nearest.gpu.name,))
    found = _plan_all(problem, _single(problem, here, nearest))
    if _KV_FP8 in found:
        found.pop(_KV_INT8, None)  # no smaller, and slower
    found.update(_other_types(problem, problem.request))
    if len(found) < _ENOUGH:
        found.update(_plan_all(problem, _pairs(problem, here)))
    if len(found) < _ENOUGH:
        free = _with(problem.request, _NO_CUT)
        found.update(_other_types(problem, free))
    return _sorted(problem, found)


def without_targets(problem: Problem, nearest: Candidate) -> tuple[Alternative, ...]:
    """For targets that nothing keeps: other means, other accelerators, then other targets."""
    request = problem.request
    tries = [
        Remedy(f"optimization.quantization: {name}", replace(request, quantization=name))
        for name in _AT_LOAD[:1]
        if request.quantization is None and found_quantization(problem.facts) == "none"
    ]
    if request.speculation is None and problem.facts.draft_layers:
        wish = Speculation("mtp")
        tries.append(
            Remedy("optimization.speculative.method: mtp", replace(request, speculation=wish))
        )
    found = _plan_all(problem, iter(tries))
    if request.accelerators:
        found.update(_other_types(problem, request))
    relaxed = {}
    for field, name, value in (
        ("ttft", "ttft_s", nearest.expected.ttft_s.typical),
        ("itl", "itl_s", nearest.expected.itl_s.typical),
    ):
        asked = getattr(request.targets, name)
        if asked is not None and value > asked:
            relaxed[field] = f"{math.ceil(value * 1000)}ms"
    price = nearest.expected.price_per_hour
    asked_price = request.targets.price_per_hour
    if price is not None and asked_price is not None and price > asked_price:
        relaxed["pricePerHour"] = f"'{math.ceil(price * 100) / 100:.2f}'"
    cost = nearest.expected.cost_per_million_tokens
    asked_cost = request.targets.cost_per_million_tokens
    if cost is not None and asked_cost is not None and cost.typical > asked_cost:
        relaxed["costPerMillionTokens"] = f"'{math.ceil(cost.typical * 100) / 100:.2f}'"
    text = ", ".join(f"optimization.targets.{name}: {value}" for name, value in relaxed.items())
    if text:
        found[text] = nearest
    return _sorted(problem, found)


def without_wish(problem: Problem, refused: Verdict) -> tuple[Alternative, ...]:
    """For a wish that cannot be granted: elsewhere, or without it."""
    field = refused.message.partition(":")[0]
    name = _FIELDS.get(field)
    if not problem.gpus:
        return ()
    found: dict[str, Candidate] = {}
    known = all(each in problem.gpus for each in problem.request.accelerators)
    if known and problem.request.accelerators:
        found.update(_other_types(problem, problem.request))
    if name is not None:
        empty = () if name == "accelerators" else None
        freed = _with(problem.request, {name: empty})
        if name in {"tensor", "pipeline", "data", "per_replica"}:
            freed = _with(freed, _NO_CUT)
        if name == "max_num_batched_tokens":
            freed = replace(freed, max_num_seqs=None, chunked_prefill=None)
        tries = [Remedy(f"{field}: remove it", freed)]
        if name == "quantization" and found_quantization(problem.facts) == "none":
            tries.append(Remedy(_CHECKPOINT, freed, quantized(problem.facts)))
        found.update(_plan_all(problem, iter(tries)))
    return _sorted(problem, found)


def _single(problem: Problem, here: Request, nearest: Reject) -> Iterator[Remedy]:
    """One field each."""
    used, facts = nearest.configuration, problem.facts
    unbound = replace(here, max_quality_loss=None)
    for name in _KV_TYPES:
        if name != here.kv_dtype:
            yield Remedy(f"optimization.kvCache.dtype: {name}", replace(unbound, kv_dtype=name))
    yield from _freed(here, used)
    if found_quantization(facts) == "none":
        for name in _AT_LOAD:
            if name != here.quantization:
                wish = replace(unbound, quantization=name)
                yield Remedy(f"optimization.quantization: {name}", wish)
        yield Remedy(_CHECKPOINT, replace(here, quantization=None), quantized(facts))
    yield from _offload(here, nearest)


def _freed(here: Request, used: Configuration) -> Iterator[Remedy]:
    """Without one explicit field."""
    if here.max_model_len is not None:
        yield Remedy(_SHORTER, replace(here, max_model_len=None))
    for size in _TENSORS:
        if size > used.tensor and (here.tensor is not None or here.per_replica is not None):
            wish = replace(here, tensor=size, per_replica=None)
            yield Remedy(f"parallelism.tensor: {size}", wish)
    if here.workload.concurrency is not None:
        freed = replace(here, workload=replace(here.workload, concurrency=None))
        yield Remedy("optimization.workload.concurrency: remove it", freed)
    for field in ("maxNumSeqs", "maxNumBatchedTokens"):
        name = _FIELDS[f"optimization.batching.{field}"]
        if getattr(here, name) is not None:
            wish = _with(here, {name: None})
            yield Remedy(f"optimization.batching.{field}: remove it", wish)
    if here.gpu_memory_utilization is not None:
        wish = replace(here, gpu_memory_utilization=None)
        yield Remedy("optimization.gpuMemoryUtilization: remove it", wish)


def _offload(here: Request, nearest: Reject) -> Iterator[Remedy]:
    """Weights in processor memory: as much as is missing, and a tenth for the estimate."""
    size = math.ceil(nearest.shortage * 1.1 / GIB + (here.cpu_offload_gib or 0.0))
    # Beyond half of the weights a token takes seconds.
    if size * GIB < nearest.memory.weights / 2:
        used = nearest.configuration
        wish = replace(
            here,
            accelerators=(nearest.gpu.name,),
            tensor=used.tensor,
            pipeline=used.pipeline,
            data=used.data,
            cpu_offload_gib=float(size),
        )
        text = f"optimization.cpuOffloadGiB: {size}"
        if used.tensor > 1 and here.tensor is None:
            text += f", parallelism.tensor: {used.tensor}"
        yield Remedy(text, wish)


def _pairs(problem: Problem, here: Request) -> Iterator[Remedy]:
    """Two fields each, where one was not enough."""
    unbound = replace(here, max_quality_loss=None)
    cached = replace(unbound, kv_dtype="fp8")
    if here.max_model_len is not None:
        shorter = replace(cached, max_model_len=None)
        yield Remedy(f"optimization.kvCache.dtype: fp8, {_SHORTER}", shorter)
    if found_quantization(problem.facts) != "none":
        return
    eight = replace(cached, quantization="fp8")
    yield Remedy("optimization.quantization: fp8, optimization.kvCache.dtype: fp8", eight)
    smaller = quantized(problem.facts)
    free = replace(cached, quantization=None)
    yield Remedy(f"{_CHECKPOINT}, optimization.kvCache.dtype: fp8", free, smaller)
    if here.max_model_len is not None:
        shorter = replace(here, quantization=None, max_model_len=None)
        yield Remedy(f"{_CHECKPOINT}, {_SHORTER}", shorter, smaller)
    uncut = _with(here, {**_NO_CUT, "quantization": None})
    yield Remedy(f"{_CHECKPOINT}, parallelism: remove it", uncut, smaller)


def _other_types(problem: Problem, request: Request) -> dict[str, Candidate]:
    """The cheapest other accelerator types that do it, with everything else as asked."""
    others = tuple(name for name in sorted(problem.gpus) if name not in request.accelerators)
    others = tuple(name for name in others if not problem.gpus[name].shared_memory)
    elsewhere = replace(request, accelerators=others)
    if not others or not request.accelerators:
        return {}
    if checks.refuse(elsewhere, problem.facts, problem.gpus) is not None:
        return {}
    outcome = search(replace(problem, request=elsewhere))
    best: dict[str, Candidate] = {}
    for each in outcome.chosen:
        kept = best.get(each.gpu.name)
        if kept is None or _price(each) < _price(kept):
            best[each.gpu.name] = each
    cheapest = sorted(best.values(), key=lambda each: (_price(each), each.gpu.name))
    found = {}
    for each in cheapest[:_OTHER_TYPES]:
        text = f"accelerator.types: [{each.gpu.name}]"
        if each.configuration.tensor > 1 and request.tensor is None:
            text += f", parallelism.tensor: {each.configuration.tensor}"
        found[text] = each
    return found


def _plan_all(problem: Problem, remedies: Iterator[Remedy]) -> dict[str, Candidate]:
    found: dict[str, Candidate] = {}
    for remedy in remedies:
        facts = problem.facts if remedy.facts is None else remedy.facts
        if checks.refuse(remedy.request, facts, problem.gpus) is not None:
            continue
        outcome = search(replace(problem, request=remedy.request, facts=facts))
        if not outcome.chosen:
            continue
        best = outcome.chosen[0]
        text = remedy.text
        stages = best.configuration.pipeline
        if stages > 1 and problem.request.pipeline is None:
            text += f", parallelism.pipeline: {stages}"
        if _SHORTER in text:
            length = best.configuration.max_model_len
            text = text.replace(_SHORTER, f"{_SHORTER}: {length}")
        found[text] = best
    return found


def _sorted(problem: Problem, found: dict[str, Candidate]) -> tuple[Alternative, ...]:
    own = found_quantization(problem.facts)

    def key(item: tuple[str, Candidate]) -> tuple[float, float, str]:
        text, each = item
        stored = each.configuration.quantization
        loss = quality.loss_of("none" if stored == own else stored, each.configuration.kv_dtype)
        return _price(each), loss, text

    ordered = sorted(found.items(), key=key)
    return tuple(alternative(text, each) for text, each in ordered[:_MOST])


def _price(each: Candidate) -> float:
    price = each.expected.price_per_hour
    return math.inf if price is None else price


def quantized(facts: ModelFacts) -> ModelFacts:
    """The same model as a 4-bit checkpoint in groups of 128, embeddings in 16 bits."""
    bits = WEIGHT_BITS["awq"]
    embeddings = facts.embedding_parameters * 2
    linear = max(0, facts.parameters - facts.embedding_parameters)
    experts = int(facts.expert_parameters * bits / 8)
    return replace(
        facts,
        quantization=Quantization("awq", 4, group=128),
        weight_bytes=int(linear * bits / 8) + embeddings,
        expert_bytes=experts,
        draft_parameters=0,
        draft_layers=0,
        draft_bytes=0,
    )


def _with(request: Request, changes: Mapping[str, Any]) -> Request:
    """The request with fields by name."""
    return replace(request, **changes)
