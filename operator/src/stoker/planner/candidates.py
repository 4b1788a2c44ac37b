"""Every way that could do, for one accelerator type: the cut, the weights, the cache, the load.

There are few: cuts times weights times types of the cache. For each, the load and the context
follow from the memory that is left, so no search is needed, and every way that does not fit says by
how much.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from stoker.catalog.gpus import Gpu
from stoker.model.sizing import GIB, Configuration, Expected, Memory, Objective, Targets
from stoker.planner import quality
from stoker.planner.ask import Ask
from stoker.planner.estimate import Estimator
from stoker.planner.patience import slowest_itl_s
from stoker.planner.techniques import (
    batching,
    cache,
    dtype,
    execution,
    parallelism,
    speculation,
    weights,
)

# Where these matter, quantized weights and caches are considered beside the unquantized ones; for
# the others only when nothing fits without.
_FREE_WEIGHTS: Final = frozenset({Objective.THROUGHPUT, Objective.COST, Objective.MEMORY})
_FREE_CACHE: Final = _FREE_WEIGHTS | {Objective.LONG_CONTEXT, Objective.MULTI_TENANT}
# Requests at once: what the engine takes by itself on a GPU of middle size, then what a large one
# takes; when memory is short, fewer.
_USUAL_SEQS: Final = 256
_MOST_SEQS: Final = 1024
_FEWER_SEQS: Final = (64, 16, 4, 1)
_LEAST_SEQS: Final = 4
# With less context than this, a way is taken only when there is no other.
_LEAST_CONTEXT: Final = 4096
# Lengths to try where a step has to hold a whole request.
_LENGTHS: Final = (32_768, 8192, 4096)
# Faster than this nobody notices: 50 tokens per second.
NOTICED_ITL_S: Final = 0.02
_KNEE: Final = frozenset({Objective.BALANCED, Objective.MEMORY, Objective.LONG_CONTEXT})
# Of the longest context that fits, when the planner chooses below the model's own limit: the engine
# does not start when a single request has no room.
_HEADROOM: Final = 0.9
# No tenant's request may take more than this share of the cache.
_TENANT_SHARE: Final = 4


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way that fits, with what it gives."""

    gpu: Gpu
    configuration: Configuration
    memory: Memory
    expected: Expected  # at the load that it is planned for
    alone_s: float  # begin to end: for objective latency of one request on an idle engine
    concurrency: int  # requests of the workload that fit at once
    loss: float  # of quality, that the planner itself adds, in percent
    unwanted: float  # of the loss, what the objective alone would not spend
    cramped: bool  # it fits, and just so: few requests or little context


@dataclass(frozen=True, slots=True)
class Reject:
    """A way that does not fit, and by how much."""

    gpu: Gpu
    configuration: Configuration
    memory: Memory
    shortage: int  # bytes per accelerator
    needed: int  # bytes of KV cache per accelerator that it takes at least


@dataclass(frozen=True, slots=True)
class Depth:
    """How far a pass may go."""

    lossy: bool  # also what costs quality where the objective would not
    stages: bool  # over several nodes


def enumerate_candidates(
    ask: Ask, estimator: Estimator, depth: Depth
) -> Iterator[Candidate | Reject]:
    """Every way on this accelerator type that the pass may look at."""
    gpu = estimator.gpu
    base = _base(ask, gpu)
    bound = quality.bound_of(ask.request)
    precisions = [
        (quantization, kv_dtype, losses)
        for quantization, kv_dtype in _precisions(ask, gpu, depth)
        if (losses := added_losses(ask, quantization, kv_dtype))[0] <= bound
    ]
    for cut in parallelism.cuts(ask, gpu, stages=depth.stages):
        tensor, pipeline, data = cut
        cut_base = replace(
            base,
            tensor=tensor,
            pipeline=pipeline,
            data=data,
            expert_parallel=parallelism.expert(ask, cut),
        )
        for quantization, kv_dtype, losses in precisions:
            configuration = replace(cut_base, quantization=quantization, kv_dtype=kv_dtype)
            yield from _loads(ask, estimator, configuration, losses)


def added_losses(ask: Ask, quantization: str, kv_dtype: str) -> tuple[float, float]:
    """Quality in percent that the planner's own choices cost; wishes and checkpoints are free.

    First all of it, then what the objective would not spend while something else fits.
    """
    if ask.request.quantization is not None or quantization == ask.found:
        quantization = "none"
    if ask.request.kv_dtype is not None or cache.carried(ask) == kv_dtype:
        kv_dtype = "auto"
    loss = quality.loss_of(quantization, kv_dtype)
    if ask.request.objective in _FREE_WEIGHTS:
        return loss, 0.0
    if ask.request.objective in _FREE_CACHE:
        return loss, quality.loss_of(quantization, "auto")
    return loss, loss


def _precisions(ask: Ask, gpu: Gpu, depth: Depth) -> Iterator[tuple[str, str]]:
    objective = ask.request.objective
    stored = weights.choices(ask, gpu)
    cached = cache.dtype_choices(ask, gpu)
    if not depth.lossy:
        stored = stored if objective in _FREE_WEIGHTS else stored[:1]
        cached = cached if objective in _FREE_CACHE else cached[:1]
    if dtype.choice(ask, gpu) == "float32":
        stored = tuple(name for name in stored if name == ask.found)  # kernels for 16 bits only
    for quantization in stored:
        for kv_dtype in cached:
            yield quantization, kv_dtype


def _base(ask: Ask, gpu: Gpu) -> Configuration:
    """Everything that is the same for all ways on this type."""
    request = ask.request
    method, tokens, until, model = speculation.choice(ask, gpu)
    return Configuration(
        accelerator=gpu.name,
        dtype=dtype.choice(ask, gpu) or "float16",
        max_model_len=request.max_model_len or ask.limit,
        block_size=batching.block_size(ask, gpu),
        gpu_memory_utilization=batching.utilization(ask),
        prefix_caching=cache.prefix_caching(ask),
        chunked_prefill=batching.chunked(ask),
        speculation=method,
        speculative_tokens=tokens,
        speculative_until=until,
        speculative_model=model,
        compile=execution.compiles(ask),
        attention_backend=execution.attention(ask),
        kv_offload_gib=request.kv_offload_gib or 0.0,
        cpu_offload_gib=request.cpu_offload_gib or 0.0,
        loader=execution.loader(ask),
        kv_space_gib=request.kv_space_gib if gpu.shared_memory else None,
        adapters=request.adapters,
    )


def _loads(
    ask: Ask, estimator: Estimator, configuration: Configuration, losses: tuple[float, float]
) -> Iterator[Candidate | Reject]:
    """The load for one way to hold the model, or what is missing to hold it."""
    roomy = _first_fit(ask, estimator, configuration)
    if isinstance(roomy, Reject):
        yield roomy
        return
    configuration, memory = roomy
    most = estimator.concurrency(memory, configuration)
    asked = ask.request.workload.concurrency
    levels = (asked,) if asked else _levels(ask, estimator, configuration, max(1, most))
    for level in levels:
        # More at once than fitted before may not fit; what fitted before does.
        found = _at(ask, estimator, configuration, level)
        found = found or _at(ask, estimator, configuration, configuration.max_num_seqs)
        if found is None:
            short = needed_bytes(ask, estimator, configuration)
            yield Reject(estimator.gpu, configuration, memory, 1, short)
            return
        settled, memory = found
        fit = estimator.concurrency(memory, settled)
        if asked is not None and fit < asked:
            short = estimator.request_bytes(settled, ask.needed_context)
            yield Reject(estimator.gpu, settled, memory, max(1, short), memory.kv_budget + short)
            return
        # Texts that are only read are timed one by one: their prompts share nothing.
        at = asked or (max(1, min(level, fit)) if ask.generates else 1)
        expected = alone = estimator.expected(settled, at)
        if at > 1 and ask.request.objective is Objective.LATENCY:
            alone = estimator.expected(settled, 1)
        yield Candidate(
            gpu=estimator.gpu,
            configuration=settled,
            memory=memory,
            expected=expected,
            alone_s=alone.e2e_s.typical,
            concurrency=fit,
            loss=losses[0],
            unwanted=losses[1],
            cramped=_cramped(ask, settled, fit),
        )


def _first_fit(
    ask: Ask, estimator: Estimator, configuration: Configuration
) -> tuple[Configuration, Memory] | Reject:
    """The largest steps and batches with which it fits at all; else the nearest miss."""
    nearest: Reject | None = None
    for tokens, length, seqs in _sizes(ask, estimator.gpu, configuration):
        tried = replace(configuration, max_num_seqs=seqs, max_model_len=length)
        tried = replace(tried, max_num_batched_tokens=batching.tokens_for(tried, tokens))
        memory = estimator.memory(tried)
        needed = needed_bytes(ask, estimator, tried)
        missing = needed - memory.kv_budget
        if missing <= 0 and memory.kv_budget > 0:
            return tried, memory
        if nearest is None or missing < nearest.shortage:
            nearest = Reject(estimator.gpu, tried, memory, max(1, missing), needed)
        if memory.weights + memory.non_torch + memory.draft > memory.usable + GIB:
            return nearest  # no batch is small enough
    if nearest is None:
        raise ValueError("no number of requests or tokens to try")
    return nearest


def _sizes(ask: Ask, gpu: Gpu, configuration: Configuration) -> Iterator[tuple[int, int, int]]:
    """Tokens of a step, the longest request, requests at once: large ones first."""
    lengths = [configuration.max_model_len]
    if not configuration.chunked_prefill and ask.request.max_model_len is None:
        # A step has to hold a whole request, so that its length is a matter of memory, too.
        lengths += [n for n in _LENGTHS if ask.needed_context <= n < lengths[0]]
        lengths.append(ask.needed_context)
    fixed = ask.request.max_num_batched_tokens is not None
    for tokens in batching.token_choices(ask, gpu):
        for length in lengths:
            for seqs in _first_seqs(ask, configuration):
                # Each request has a token in a step, so that the larger number follows the wish.
                yield (
                    (tokens, length, min(seqs, tokens))
                    if fixed
                    else (
                        max(tokens, seqs),
                        length,
                        seqs,
                    )
                )


def needed_bytes(ask: Ask, estimator: Estimator, configuration: Configuration) -> int:
    """KV cache per accelerator that is needed: one longest request, and those asked for at once."""
    workload = ask.request.workload
    length = ask.request.max_model_len or ask.needed_context
    one = estimator.request_bytes(configuration, length)
    at_once = math.ceil((workload.concurrency or 1) / configuration.data)
    return max(one, at_once * estimator.request_bytes(configuration, ask.needed_context))


def _first_seqs(ask: Ask, configuration: Configuration) -> tuple[int, ...]:
    if ask.request.max_num_seqs is not None:
        return (ask.request.max_num_seqs,)
    asked = ask.request.workload.concurrency
    if asked is not None:
        return (_power_above(math.ceil(asked / configuration.data)),)
    return (_USUAL_SEQS, *_FEWER_SEQS)


def _levels(
    ask: Ask, estimator: Estimator, configuration: Configuration, most: int
) -> tuple[int, ...]:
    """Requests at once to plan for: what the objective wants, within the time between two tokens.

    With targets also the most within that time, as it is the cheapest per token.
    """
    request = ask.request
    if request.max_num_seqs is None and most >= _USUAL_SEQS * configuration.data:
        most = _more(ask, estimator, configuration, most)
    if not ask.generates:
        return (most,)
    powers = [level for level in (2**n for n in range(11)) if level < most]
    powers.append(most)
    pace = estimator.pace(configuration)
    bound = slowest_itl_s(request, lambda: estimator.itl(pace, configuration, 1))
    widest = next(
        (level for level in reversed(powers) if estimator.itl(pace, configuration, level) <= bound),
        1,
    )
    if request.objective not in _KNEE:
        return (widest,)
    # Cost goes with time over requests, and latency with time: the least product.
    times = {
        level: max(NOTICED_ITL_S, estimator.itl(pace, configuration, level)) for level in powers
    }
    knee = min(powers, key=lambda level: times[level] ** 2 / level)
    if request.targets == Targets():
        return (knee,)
    return (min(knee, widest), widest) if widest > knee else (widest,)


def _more(ask: Ask, estimator: Estimator, configuration: Configuration, most: int) -> int:
    """Beyond the usual number at once, where the sampler's memory for them is there."""
    seqs = min(_MOST_SEQS, configuration.max_num_batched_tokens)
    wide = replace(configuration, max_num_seqs=seqs)
    memory = estimator.memory(wide)
    if memory.kv_budget < needed_bytes(ask, estimator, wide):
        return most
    return max(most, estimator.concurrency(memory, wide))


def _cramped(ask: Ask, configuration: Configuration, fit: int) -> bool:
    """Whether it holds so little that any other way is better."""
    request = ask.request
    few = fit < _LEAST_SEQS and request.workload.concurrency is None
    if request.max_num_seqs is not None:
        few = False
    usual = min(ask.facts.max_positions, max(ask.needed_context, _LEAST_CONTEXT))
    return few or (request.max_model_len is None and configuration.max_model_len < usual)


def _at(
    ask: Ask, estimator: Estimator, configuration: Configuration, level: int
) -> tuple[Configuration, Memory] | None:
    """The way at this load: batch, context, and on a processor the size of the cache."""
    seqs = ask.request.max_num_seqs
    if seqs is None:
        seqs = max(_LEAST_SEQS, _power_above(math.ceil(level / configuration.data)))
        seqs = min(seqs, configuration.max_num_batched_tokens)
    configuration = replace(configuration, max_num_seqs=seqs)
    memory = estimator.memory(configuration)
    length = _length(ask, estimator, configuration, memory)
    settled = replace(configuration, max_model_len=length)
    if estimator.gpu.shared_memory and settled.kv_space_gib is None:
        settled = replace(settled, kv_space_gib=_kv_space(ask, estimator, settled, memory))
    if settled != configuration:
        memory = estimator.memory(settled)
    needed = max(needed_bytes(ask, estimator, settled), estimator.request_bytes(settled, length))
    return (settled, memory) if memory.kv_budget >= max(1, needed) else None


def _length(ask: Ask, estimator: Estimator, configuration: Configuration, memory: Memory) -> int:
    """Tokens of the longest request: as asked, or the model's own limit where there is room."""
    request = ask.request
    if request.max_model_len is not None:
        return request.max_model_len
    limit, needed = min(ask.limit, configuration.max_model_len), ask.needed_context
    longest = limit
    if estimator.request_bytes(configuration, limit) > memory.kv_budget:
        longest = min(limit, estimator.longest(memory, configuration))
    if request.objective is Objective.MULTI_TENANT and ask.keeps_tokens:
        longest = min(longest, max(needed, memory.kv_tokens // _TENANT_SHARE))
    if longest >= limit:
        return limit
    return max(needed, _rounded(int(longest * _HEADROOM)))


def _rounded(length: int) -> int:
    step = 1024 if length >= 8192 else 128 if length >= 512 else 1
    return max(1, length // step * step)


def _kv_space(
    ask: Ask, estimator: Estimator, configuration: Configuration, memory: Memory
) -> float:
    """GiB of a processor's memory for the cache: what the load needs, in whole GiB if there are.

    A processor's memory is not the engine's alone, so that what no request would use stays free.
    """
    each = estimator.request_bytes(configuration, ask.needed_context)
    longest = estimator.request_bytes(configuration, configuration.max_model_len)
    wanted = max(longest, each * configuration.max_num_seqs, 1) / GIB
    most = memory.kv_budget / GIB
    whole = min(math.ceil(wanted), math.floor(most))
    if whole * GIB >= max(longest, needed_bytes(ask, estimator, configuration), 1):
        return float(whole)
    return max(0.0, math.floor(most * 1024) / 1024)


def _power_above(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()
