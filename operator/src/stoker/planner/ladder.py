"""The techniques one after the other by gain, from plain 16 bits one by one to everything.

Every rung is planned on the same accelerators, with the same model of memory and time as a plan. At
each step the technique that gains most tokens per second is added; one that gains nothing is left
out and told at the end. Fewer bits come after more: 4-bit weights after 8-bit ones. Quality is not
bounded here: the ladder shows what each step costs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from stoker.model.sizing import Configuration, Objective, Request, Speculation
from stoker.planner import quality, remedies
from stoker.planner.ask import found_quantization
from stoker.planner.candidates import Candidate
from stoker.planner.search import Problem, search
from stoker_worker.modelfacts import ModelFacts

_NOTHING_GAINED: Final = 1.01
_EIGHT: Final = 8
_FOUR: Final = 4


@dataclass(frozen=True, slots=True)
class Step:
    """One technique, as what it changes of a request."""

    technique: str
    wish: Mapping[str, Any]
    loss: float = 0.0  # percent, typical
    bits: int = 0  # of a value, where the step is about bits
    checkpoint: bool = False  # another one is needed


@dataclass(frozen=True, slots=True)
class Rung:
    """One technique more, and what it gives; None where it does not fit."""

    technique: str
    candidate: Candidate | None
    gain: float  # tokens per second over the rung before; 0 where one of them does not fit
    loss: float  # of quality, of all techniques so far, in percent
    kept: bool = True  # False: it gains nothing here


_STEPS: Final = (
    Step("batching", {"max_num_seqs": None}),
    Step("compile", {"compile": True}),
    Step("fp8 weights", {"quantization": "fp8"}, quality.WEIGHTS["fp8"].typical, _EIGHT),
    Step(
        "4-bit weights (another checkpoint)",
        {"quantization": None},
        quality.WEIGHTS["awq"].typical,
        bits=_FOUR,
        checkpoint=True,
    ),
    Step("fp8 KV cache", {"kv_dtype": "fp8"}, quality.KV_CACHE["fp8"].typical, _EIGHT),
    Step("int8 KV cache", {"kv_dtype": "int8"}, quality.KV_CACHE["int8"].typical, _EIGHT),
    Step("int4 KV cache", {"kv_dtype": "int4"}, quality.KV_CACHE["int4"].typical, _FOUR),
    Step("n-gram speculation", {"speculation": Speculation("ngram")}),
    Step("MTP speculation", {"speculation": Speculation("mtp")}),
)


def ladder(problem: Problem, used: Configuration) -> tuple[Rung, ...]:
    """Rungs on the accelerators of a configuration; the first is plain 16 bits, one by one."""
    facts = problem.facts
    base = replace(
        problem.request,
        accelerators=(used.accelerator,),
        tensor=used.tensor,
        pipeline=used.pipeline,
        data=used.data,
        per_replica=None,
        objective=Objective.THROUGHPUT,
        targets=type(problem.request.targets)(),
        workload=replace(problem.request.workload, concurrency=None),
        max_model_len=_length(problem.request, used),
        quantization="none",
        kv_dtype="bf16",
        speculation=Speculation("none"),
        max_num_seqs=1,
        compile=False,
        max_quality_loss=None,
    )
    current = _plan(problem, base, facts)
    stored = found_quantization(facts)
    plain = "plain 16 bits" if stored == "none" else f"{stored} checkpoint"
    rungs = [Rung(f"{plain}, one by one", current, 0.0, 0.0)]
    left = [step for step in _STEPS if not step.checkpoint or found_quantization(facts) == "none"]
    spent: dict[str, float] = {}
    useless: list[Step] = []
    while left:
        first = [step for step in left if not _too_early(step, left)]
        tried = [(step, *_with(problem, base, facts, step)) for step in first]
        step, request, model, found = max(
            tried, key=lambda each: (_rate(each[3]), -each[0].loss, -left.index(each[0]))
        )
        gain = _rate(found) / _rate(current) if _rate(current) else 0.0
        helps = found is not None and (current is None or gain >= _NOTHING_GAINED)
        if not helps:
            # What is gentler and of no use stands no longer in the way of fewer bits.
            blocked = [each for each in left if each not in first]
            if not blocked:
                break
            useless += first
            left = blocked
            continue
        family = _family(step)
        spent[family] = step.loss
        rungs.append(Rung(step.technique, found, gain, sum(spent.values())))
        base, facts, current = request, model, found
        left = [each for each in left if each is not step and not _same(each, step)]
    rungs += _left_out(problem, base, facts, current, [*useless, *left], sum(spent.values()))
    return tuple(rungs)


def _left_out(  # noqa: PLR0917 - where the ladder ends, and what is left
    problem: Problem,
    base: Request,
    facts: ModelFacts,
    top: Candidate | None,
    left: list[Step],
    loss: float,
) -> list[Rung]:
    """What cannot be had, or gains nothing on top of the rest."""
    rungs = []
    for step in left:
        _, _, found = _with(problem, base, facts, step)
        gain = _rate(found) / _rate(top) if _rate(top) else 0.0
        rungs.append(Rung(step.technique, found, gain, loss + step.loss, kept=False))
    return rungs


def _with(
    problem: Problem, base: Request, facts: ModelFacts, step: Step
) -> tuple[Request, ModelFacts, Candidate | None]:
    request = replace(base, **step.wish)
    if step.checkpoint:
        facts = remedies.quantized(facts)
    elif found_quantization(facts) != "none" and "quantization" in step.wish:
        return request, facts, None
    return request, facts, _plan(problem, request, facts)


def _plan(problem: Problem, request: Request, facts: ModelFacts) -> Candidate | None:
    outcome = search(replace(problem, request=request, facts=facts))
    return outcome.chosen[0] if outcome.chosen else None


def _rate(candidate: Candidate | None) -> float:
    return 0.0 if candidate is None else candidate.expected.output_tokens_per_s.typical


def _too_early(step: Step, left: list[Step]) -> bool:
    """Whether the same thing can be had with more bits first."""
    return step.bits == _FOUR and any(
        _family(each) == _family(step) and each.bits == _EIGHT for each in left
    )


def _same(each: Step, taken: Step) -> bool:
    """Whether one way of a thing takes the place of the other."""
    return _family(each) == _family(taken) and each.bits == taken.bits


def _family(step: Step) -> str:
    """What a step is a way of."""
    if "quantization" in step.wish:
        return "weights"
    return next(iter(step.wish))


def _length(request: Request, used: Configuration) -> int | None:
    """A context that all rungs share, so that they can be compared."""
    if request.max_model_len is not None:
        return request.max_model_len
    needed = request.workload.input_tokens + request.workload.output_tokens
    return min(used.max_model_len, max(needed, 4096))
