"""The techniques, in the order in which they are told: one list, one function each.

A technique has up to three parts, in the module of its subject: what is refused (an explicit wish
that hardware, engine or model cannot grant), what is chosen (used by `stoker.planner.candidates`),
and how it is explained once a configuration is decided. NCCL is left alone on purpose: its own
choice of transport is right, and `NCCL_P2P_LEVEL=LOC` in an image spoils tensor parallelism.
"""

from collections.abc import Callable
from typing import Final

from stoker.catalog.gpus import Gpu
from stoker.model.plan import Verdict
from stoker.model.sizing import Technique
from stoker.planner.ask import Ask, Decided
from stoker.planner.techniques import (
    adapters,
    batching,
    cache,
    dtype,
    execution,
    parallelism,
    speculation,
    weights,
)

Refuse = Callable[[Ask, Gpu], Verdict | None]
Explain = Callable[[Ask, Decided], Technique]

# First refusal wins: what no change of the spec can heal stands before what a field can.
REFUSALS: Final[tuple[Refuse, ...]] = (
    weights.refuse_sparse,
    weights.refuse,
    dtype.refuse,
    parallelism.refuse,
    cache.refuse_dtype,
    cache.refuse_offload,
    cache.refuse_prefix,
    batching.refuse,
    speculation.refuse,
    execution.refuse_attention,
    execution.refuse_offload,
    execution.refuse_loader,
    adapters.refuse,
)

EXPLANATIONS: Final[tuple[Explain, ...]] = (
    weights.explain,
    weights.explain_sparsity,
    dtype.explain,
    cache.explain_dtype,
    cache.explain_offload,
    cache.explain_prefix,
    batching.explain_chunked,
    batching.explain_sequences,
    batching.explain_tokens,
    batching.explain_blocks,
    batching.explain_utilization,
    speculation.explain,
    execution.explain_compile,
    execution.explain_attention,
    execution.explain_offload,
    execution.explain_loader,
    parallelism.explain_tensor,
    parallelism.explain_pipeline,
    parallelism.explain_data,
    parallelism.explain_expert,
    adapters.explain,
)


def refusal(ask: Ask, gpu: Gpu) -> Verdict | None:
    """Why an explicit wish cannot be granted on this accelerator; None where all can."""
    runs = ask.features.runs_on(gpu)
    if not runs.usable:
        return Verdict(runs.reason, f"{gpu.name}: {runs.why}")
    found = (refuse(ask, gpu) for refuse in REFUSALS)
    return next((verdict for verdict in found if verdict is not None), None)


def explained(ask: Ask, decided: Decided) -> tuple[Technique, ...]:
    """What became of every technique."""
    return tuple(explain(ask, decided) for explain in EXPLANATIONS)
