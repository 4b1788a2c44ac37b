"""Parallelism: how many accelerators hold one copy of the model, and how it is cut.

Tensor parallel ranks share every layer, so they need fast links and head counts that divide.
Pipeline stages share the layers, so they need little of a link and shorten no step: a way to hold
a model that no node holds. Data parallel ranks are whole copies in one replica; replicas do the
same and scale one by one, so these are only used to fill a number of accelerators that is fixed.
"""

import math
from collections.abc import Iterator
from typing import Final

from stoker.catalog.gpus import Gpu
from stoker.model import reasons
from stoker.model.plan import Verdict
from stoker.model.sizing import Technique
from stoker.planner import words
from stoker.planner.ask import Ask, Decided

TENSOR: Final = "tensorParallel"
PIPELINE: Final = "pipelineParallel"
DATA: Final = "dataParallel"
EXPERT: Final = "expertParallel"
_POWERS: Final = (1, 2, 4, 8, 16)

Cut = tuple[int, int, int]  # tensor, pipeline, data


def refuse(ask: Ask, gpu: Gpu) -> Verdict | None:
    """Cuts that the model, the engine or the node does not allow."""
    request = ask.request
    for kind, size in (
        ("tensor", request.tensor),
        ("pipeline", request.pipeline),
        ("data", request.data),
    ):
        support = ask.features.parallelism(kind, gpu)
        if size is not None and size > 1 and not support.usable:
            return Verdict(support.reason, f"parallelism.{kind}: {support.why}")
    if request.expert and not ask.facts.experts:
        return Verdict(
            reasons.NO_EXPERTS,
            f"parallelism.expert: {ask.facts.architecture} has no experts; remove the field",
        )
    return (
        _refuse_tensor(ask, gpu)
        or _refuse_pipeline(ask)
        or _refuse_sum(ask)
        or _refuse_nothing_left(ask, gpu)
    )


def cuts(ask: Ask, gpu: Gpu, *, stages: bool) -> Iterator[Cut]:
    """Ways to cut the model, smallest first; over several nodes only where `stages` says so."""
    request = ask.request
    pipelines = (request.pipeline,) if request.pipeline else ((2, 4, 8) if stages else (1,))
    if stages and not (request.pipeline or ask.features.parallelism("pipeline", gpu).usable):
        return
    for pipeline in pipelines:
        if pipeline > max(1, ask.facts.layer_count):
            continue
        for tensor in (request.tensor,) if request.tensor else _tensors(ask, gpu):
            data = _data(ask, tensor * pipeline)
            if data is not None:
                yield tensor, pipeline, data


def explain_tensor(ask: Ask, decided: Decided) -> Technique:
    """Ranks that share every layer."""
    size = decided.configuration.tensor
    state = "on" if size > 1 else "off"
    held = f"{words.gib(decided.memory.weights)} of weights on each"
    if ask.request.tensor is not None or ask.request.per_replica is not None:
        why = f"{words.count(size, 'rank')} as asked, {held}"
        return Technique(TENSOR, state, reasons.AS_ASKED, why)
    if size == 1:
        why = f"one {decided.gpu.name} holds the model: {held.removesuffix(' on each')}"
        return Technique(TENSOR, state, reasons.NOT_NEEDED, why)
    why = f"{size} ranks over {decided.gpu.link_kind}, {held}"
    return Technique(TENSOR, state, reasons.OBJECTIVE_PREFERS, why)


def explain_pipeline(ask: Ask, decided: Decided) -> Technique:
    """Stages that share the layers."""
    size = decided.configuration.pipeline
    state = "on" if size > 1 else "off"
    if ask.request.pipeline is not None:
        return Technique(PIPELINE, state, reasons.AS_ASKED, words.count(size, "stage"))
    if size > 1:
        ranks = words.count(decided.configuration.tensor, "rank")
        why = f"{size} stages, because {ranks} of {decided.gpu.name} do not hold the model"
        return Technique(PIPELINE, state, reasons.FITS_ONLY_SO, why)
    return Technique(PIPELINE, state, reasons.NOT_NEEDED, "tensor parallel ranks hold it")


def explain_data(ask: Ask, decided: Decided) -> Technique:
    """Copies within one replica."""
    size = decided.configuration.data
    state = "on" if size > 1 else "off"
    if ask.request.data is not None:
        return Technique(DATA, state, reasons.AS_ASKED, words.count(size, "copy"))
    if size > 1:
        why = f"{size} copies fill the {ask.request.per_replica} accelerators that were asked for"
        return Technique(DATA, state, reasons.OBJECTIVE_PREFERS, why)
    return Technique(DATA, state, reasons.NOT_NEEDED, "replicas are copies that scale one by one")


def expert(ask: Ask, cut: Cut) -> bool:
    """Experts spread over ranks: where copies share them, or when asked for."""
    if ask.request.expert is not None:
        return ask.request.expert
    return ask.facts.experts > 0 and cut[2] > 1


def explain_expert(ask: Ask, decided: Decided) -> Technique:
    """Experts as a whole on different ranks."""
    used = decided.configuration.expert_parallel
    state = "on" if used else "off"
    if ask.request.expert is not None:
        return Technique(EXPERT, state, reasons.AS_ASKED, f"{state} as asked")
    if not ask.facts.experts:
        return Technique(EXPERT, state, reasons.NO_EXPERTS, "the model has no experts")
    if used:
        why = f"{ask.facts.experts} experts are shared by {decided.configuration.data} copies"
        return Technique(EXPERT, state, reasons.OBJECTIVE_PREFERS, why)
    why = f"each rank holds a part of all {ask.facts.experts} experts, so none waits for another"
    return Technique(EXPERT, state, reasons.ENGINE_DECIDES, why)


def splits(ask: Ask, tensor: int) -> Verdict | None:
    """Whether heads and quantization groups divide; vLLM refuses others at start."""
    facts = ask.facts
    if facts.heads and facts.heads % tensor:
        return Verdict(
            reasons.HEADS_NOT_DIVISIBLE,
            f"parallelism.tensor: {facts.heads} attention heads do not divide by {tensor}; choose "
            f"one of {', '.join(str(n) for n in range(1, 17) if facts.heads % n == 0)}",
        )
    kv_heads = {run.kv_heads for run in facts.layers if run.kv_heads}
    odd = [n for n in sorted(kv_heads) if n % tensor and tensor % n]
    if odd:
        return Verdict(
            reasons.HEADS_NOT_DIVISIBLE,
            f"parallelism.tensor: {odd[0]} KV heads can neither be divided among {tensor} ranks "
            "nor repeated evenly; choose a divisor or a multiple",
        )
    stored = facts.quantization
    group = stored.group if stored is not None and not facts.experts else 0
    if group and facts.intermediate % (tensor * group):
        return Verdict(
            reasons.GROUPS_NOT_DIVISIBLE,
            f"parallelism.tensor: {facts.intermediate} channels in groups of {group} do not divide "
            f"by {tensor}; choose a smaller size",
        )
    return None


def _refuse_tensor(ask: Ask, gpu: Gpu) -> Verdict | None:
    tensor = ask.request.tensor
    if tensor is None:
        return None
    most = max(1, gpu.most_per_node)
    if tensor > most and tensor % most:
        return Verdict(
            reasons.TENSOR_EXCEEDS_NODE,
            f"parallelism.tensor: a node has at most {most} {gpu.name}, and {tensor} do not fill "
            f"whole nodes; choose at most {most} or a multiple",
        )
    return splits(ask, tensor)


def _refuse_pipeline(ask: Ask) -> Verdict | None:
    stages, layers = ask.request.pipeline, ask.facts.layer_count
    if stages is not None and stages > max(1, layers):
        return Verdict(
            reasons.MORE_STAGES_THAN_LAYERS,
            f"parallelism.pipeline: {stages} stages for {layers} layers; choose at most {layers}",
        )
    return None


def _refuse_sum(ask: Ask) -> Verdict | None:
    request = ask.request
    wanted, sizes = request.per_replica, (request.tensor, request.pipeline, request.data)
    product = math.prod(size or 1 for size in sizes)
    if wanted is None or wanted == product or (None in sizes and wanted % product == 0):
        return None
    return Verdict(
        reasons.ACCELERATORS_DO_NOT_MATCH,
        f"accelerator.perReplica: {wanted} is not tensor x pipeline x data = {product}; remove "
        "perReplica or change one of the others",
    )


def _refuse_nothing_left(ask: Ask, gpu: Gpu) -> Verdict | None:
    """A number of accelerators that no cut fills: six for sixteen heads on one node."""
    if ask.request.per_replica is None:
        return None
    if any(cuts(ask, gpu, stages=False)) or any(cuts(ask, gpu, stages=True)):
        return None
    return Verdict(
        reasons.ACCELERATORS_DO_NOT_MATCH,
        f"accelerator.perReplica: no way to cut {ask.facts.heads} heads over "
        f"{ask.request.per_replica} {gpu.name} ({gpu.most_per_node} per node); choose a power of 2",
    )


def _tensors(ask: Ask, gpu: Gpu) -> Iterator[int]:
    most = max(1, gpu.most_per_node)
    # The engine divides a processor among ranks by its memory nodes, which a plan does not know.
    alone = gpu.shared_memory and ask.request.per_replica is None
    if alone or not ask.features.parallelism("tensor", gpu).usable:
        most = 1
    for size in _POWERS:
        if size <= most and splits(ask, size) is None:
            yield size


def _data(ask: Ask, ranks: int) -> int | None:
    """Copies that fill what was asked for; None where nothing does."""
    wanted, data = ask.request.per_replica, ask.request.data
    if data is not None:
        return data if wanted is None or wanted == ranks * data else None
    if wanted is None:
        return 1
    return wanted // ranks if wanted % ranks == 0 else None
