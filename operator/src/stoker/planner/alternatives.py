"""Other ways that would do, told by what a user would write to get them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from stoker.model.sizing import Alternative, Configuration, Request
from stoker.planner.candidates import Candidate
from stoker.planner.search import Problem, search

_MOST: Final = 5
_OTHER_TYPES: Final = 3


def others(problem: Problem, ranked: Sequence[Candidate]) -> tuple[Alternative, ...]:
    """Ways beside the best one: other accelerators, another cut, what quality would buy."""
    best = ranked[0]
    found: list[tuple[str, Candidate]] = []
    types: dict[str, Candidate] = {}
    for each in ranked[1:]:
        if each.gpu.name != best.gpu.name:
            types.setdefault(each.gpu.name, each)
    found += [(change(best.configuration, each.configuration), each) for each in types.values()][
        :_OTHER_TYPES
    ]
    found += _other_cut(best, ranked)
    found += _lossy(problem, best)
    unique = {text: each for text, each in reversed(found) if text}
    return tuple(alternative(text, each) for text, each in found if unique.get(text) is each)[
        :_MOST
    ]


def alternative(text: str, candidate: Candidate) -> Alternative:
    """A candidate as an answer."""
    return Alternative(
        change=text,
        configuration=candidate.configuration,
        expected=candidate.expected,
        kv_tokens=candidate.memory.kv_tokens,
        concurrency=candidate.concurrency,
    )


def change(old: Configuration, new: Configuration, *, context: bool = False) -> str:
    """What to write to get from one configuration to another; empty where they are alike."""
    parts = [
        f"{field}: {value}"
        for field, before, value in (
            ("accelerator.types", f"[{old.accelerator}]", f"[{new.accelerator}]"),
            ("parallelism.tensor", old.tensor, new.tensor),
            ("parallelism.pipeline", old.pipeline, new.pipeline),
            ("parallelism.data", old.data, new.data),
            ("optimization.quantization", old.quantization, new.quantization),
            ("optimization.kvCache.dtype", _kv(old), _kv(new)),
        )
        if before != value
    ]
    if context and old.max_model_len != new.max_model_len:
        parts.append(f"context.maxModelLen: {new.max_model_len}")
    return ", ".join(parts)


def _kv(configuration: Configuration) -> str:
    return "none" if configuration.kv_dtype == "auto" else configuration.kv_dtype


def _other_cut(best: Candidate, ranked: Iterable[Candidate]) -> list[tuple[str, Candidate]]:
    for each in ranked:
        same = each.gpu.name == best.gpu.name
        if same and each.configuration.accelerators != best.configuration.accelerators:
            return [(change(best.configuration, each.configuration), each)]
    return []


def _lossy(problem: Problem, best: Candidate) -> list[tuple[str, Candidate]]:
    """What 8 bits would give on the same accelerators."""
    request, used = problem.request, best.configuration
    here = replace(
        request,
        accelerators=(used.accelerator,),
        tensor=used.tensor,
        pipeline=used.pipeline,
        data=used.data,
        quantization=used.quantization,
        kv_dtype=used.kv_dtype,
        max_quality_loss=None,
    )
    found = []
    if used.kv_dtype == "auto" and request.kv_dtype is None:
        found += _try(problem, replace(here, kv_dtype="fp8"), best)
    if used.quantization == "none" and request.quantization is None:
        found += _try(problem, replace(here, quantization="fp8"), best)
    return found


def _try(problem: Problem, request: Request, best: Candidate) -> list[tuple[str, Candidate]]:
    outcome = search(replace(problem, request=request))
    if not outcome.chosen:
        return []
    each = outcome.chosen[0]
    return [(change(best.configuration, each.configuration), each)]
