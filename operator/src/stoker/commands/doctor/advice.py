"""Common mistakes of a service that answers, each with the figures that show it.

Pure checks in a fixed order. Each says that something is to be gained, that all is well, or that it
is not known, and why not. A gain is the planner's model at the measured load, and is called so.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from stoker.commands import statuses
from stoker.commands.doctor.bounds import UNKNOWN, Bound, shares
from stoker.commands.doctor.figures import ENOUGH_TOKENS, Figures
from stoker.commands.doctor.theory import BANDWIDTH, Theory
from stoker.model.sizing import GIB
from stoker.planner.memory import stored_bytes
from stoker.planner.time import Pace
from stoker.telemetry.dialects import not_known

# What is worth a restart, as with offers: a tenth.
_WORTH: Final = 0.9
_REPEATED: Final = 0.2
_IDLE: Final = 0.5
_METHODS: Final = ("fp8", "int8", "int4")
_NOT_READ: Final = "the engines' own numbers could not be read"
_NO_PLAN: Final = "the status has no plan or no facts of the model to compare with"


class Judgement(StrEnum):
    """What a check found."""

    GAIN = "gain"
    WELL = "well"
    UNKNOWN = "notKnown"


@dataclass(frozen=True, slots=True)
class Advice:
    """One mistake that is, or is not, made."""

    id: str
    title: str
    judgement: Judgement
    words: str
    change: str = ""  # what to write
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """All that advice is given from."""

    status: Mapping[str, Any]
    figures: Figures | None
    theory: Theory | None
    bound: Bound


def advice_of(case: Case) -> tuple[Advice, ...]:
    """Every check, in its order."""
    return tuple(check(case) for check in _CHECKS)


def _weights(case: Case) -> Advice:
    """Weights in 16 bits where reading them is what takes the time."""
    told = _About("weights", "weights without quantization")
    figures, theory = case.figures, case.theory
    if theory is None:
        return told.unknown(_NO_PLAN)
    if theory.configuration.quantization != "none" or theory.facts.quantization is not None:
        return told.well("the weights are quantized")
    if figures is None:
        return told.unknown(_NOT_READ)
    if case.bound.name == UNKNOWN:
        return told.unknown(f"what bounds it is not known: {case.bound.words}")
    if case.bound.name != BANDWIDTH:
        return told.well(f"reading memory does not bound it ({case.bound.name})")
    now = theory.token_s(figures)
    ways = {
        name: theory.token_s(figures, theory.pace(quantization=name))
        for name in _METHODS
        if name == "int4" or name in theory.gpu.flops
    }
    best = min(ways, key=lambda each: ways[each])
    if ways[best] > _WORTH * now:
        return told.well(f"{best} weights would bring less than a tenth at this load")
    weights = sum(stored_bytes(theory.facts, theory.configuration)) / GIB
    return told.gain(
        f"each step reads {weights:.1f} GiB of 16-bit weights, and that is what bounds it "
        f"({case.bound.words}); with {best} the planner expects {_ms(ways[best])} per token "
        f"instead of {_ms(now)}",
        f"optimization.quantization: {best}, or a checkpoint that is quantized already; `stoker "
        "plan` says what it costs in quality",
        weightsGiB=weights,
        tokenSeconds=now,
        tokenSecondsThen=ways[best],
    )


def _prefix(case: Case) -> Advice:
    told = _About("prefix-cache", "repeated prompts without prefix caching")
    figures = case.figures
    if figures is None:
        return told.unknown(_NOT_READ)
    if case.theory is None:
        return told.unknown(_NO_PLAN)
    if case.theory.configuration.prefix_caching:
        if not figures.tells_prefix:
            return told.unknown(f"it is on; what it finds is {not_known(figures.engine)}")
        if figures.prefix_hits is None:
            return told.well("it is on; too few prompts came to say what it finds")
        return told.well(f"it is on, and finds {figures.prefix_hits:.0%} of the prompts' tokens")
    if figures.repeated is None:
        return told.unknown("the picker has not told how many prompts begin alike")
    if figures.repeated < _REPEATED:
        return told.well(f"it is off, and {figures.repeated:.0%} of the prompts' beginnings recur")
    return told.gain(
        f"it is off, and {figures.repeated:.0%} of the prompts' beginnings were sent to the same "
        "replica before: they are computed again each time",
        'optimization.prefixCaching: "on"',
        repeated=figures.repeated,
    )


def _places(case: Case) -> Advice:
    told = _About("batch", "batch limits that leave the accelerator idle")
    plan = statuses.mapping(case.status.get("plan"))
    for each in statuses.mappings(plan.get("proposals")):
        words = f"{each.get('why')}; the planner expects {each.get('gain')}"
        return told.gain(words, str(each.get("change")))
    figures, theory = case.figures, case.theory
    if figures is None:
        return told.unknown(_NOT_READ)
    if theory is None:
        return told.unknown(_NO_PLAN)
    if figures.running is None or figures.waiting is None:
        return told.unknown(f"what runs and what waits is {not_known(figures.engine)}")
    places = theory.configuration.max_num_seqs
    if figures.waiting < 1 or figures.running < places:
        return told.well(f"{figures.running:.0f} of {places} places are taken, and nobody waits")
    used = max((share for share in shares(figures, theory) if share is not None), default=None)
    if used is None:
        return told.unknown("requests wait for places, and how busy the accelerator is, is not")
    if used >= _IDLE or (figures.kv or 0.0) >= _IDLE:
        return told.well(f"all {places} places are taken, and so is the accelerator")
    kept = "" if figures.kv is None else f" and the KV cache is {figures.kv:.0%} full"
    return told.gain(
        f"all {places} places are taken and {figures.waiting:.0f} requests wait, while the "
        f"accelerator does {used:.0%} of its peak{kept}",
        f"optimization.batching.maxNumSeqs: {places * 2}",
        places=places,
        used=used,
    )


def _eager(case: Case) -> Advice:
    told = _About("eager", "eager mode left on")
    theory, figures = case.theory, case.figures
    if theory is None:
        return told.unknown(_NO_PLAN)
    if theory.configuration.compile:
        return told.well("the model is compiled")
    if figures is None:
        return told.unknown(_NOT_READ)
    if figures.running is None:
        return told.unknown(f"it is on; what runs is {not_known(figures.engine)}")
    if figures.idle:
        return told.unknown("it is on, and no request came that would show what it costs")
    now = theory.token_s(figures)
    then = theory.token_s(figures, theory.pace(compile=True))
    if then > _WORTH * now:
        return told.well(f"it is on, and costs less than a tenth at this load ({_ms(now)} a token)")
    measured = "" if figures.itl_s is None else f" ({_ms(figures.itl_s)} are measured)"
    return told.gain(
        f"every step waits for the host's launches: the planner expects {_ms(then)} per token "
        f"instead of {_ms(now)}{measured} with the model compiled, for a slower start",
        'optimization.compile: "on"',
        tokenSeconds=now,
        tokenSecondsThen=then,
    )


def _speculation(case: Case) -> Advice:
    told = _About("speculation", "speculation that loses under load")
    theory, figures = case.theory, case.figures
    if theory is None:
        return told.unknown(_NO_PLAN)
    if theory.configuration.speculation == "none":
        return told.well("nothing is guessed")
    if figures is None:
        return told.unknown(_NOT_READ)
    if figures.running is None or not figures.tells_drafts:
        return told.unknown(f"what is guessed is {not_known(figures.engine)}")
    if figures.acceptance is None:
        return told.unknown(f"fewer than {ENOUGH_TOKENS:.0f} tokens were guessed so far")
    if figures.drafting is False:
        return told.well(f"nothing is guessed at this load ({figures.running:.0f} running)")
    drafts = theory.configuration.speculative_tokens
    with_it = theory.token_s(figures, _accepting(theory, figures.acceptance))
    without = theory.token_s(figures, theory.pace(speculation="none", speculative_tokens=0))
    if with_it <= without:
        return told.well(
            f"{figures.acceptance:.0%} of {drafts} guesses are accepted at "
            f"{figures.running:.0f} running: {_ms(with_it)} per token instead of {_ms(without)}"
        )
    return told.gain(
        f"{figures.acceptance:.0%} of {drafts} guesses are accepted, and at "
        f"{figures.running:.0f} running requests checking them costs more than they bring: the "
        f"planner expects {_ms(with_it)} per token with them, {_ms(without)} without",
        "optimization.speculative.method: none",
        acceptance=figures.acceptance,
        tokenSeconds=with_it,
        tokenSecondsThen=without,
    )


def _accepting(theory: Theory, acceptance: float) -> Pace:
    return replace(theory.pace(), acceptance=min(0.99, acceptance))


@dataclass(frozen=True, slots=True)
class _About:
    """Makes the advice of one check."""

    id: str
    title: str

    def unknown(self, words: str) -> Advice:
        return Advice(self.id, self.title, Judgement.UNKNOWN, words)

    def well(self, words: str) -> Advice:
        return Advice(self.id, self.title, Judgement.WELL, words)

    def gain(self, words: str, change: str, **figures: float) -> Advice:
        return Advice(self.id, self.title, Judgement.GAIN, words, change, figures)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"


_CHECKS: Final[tuple[Callable[[Case], Advice], ...]] = (
    _weights,
    _prefix,
    _places,
    _eager,
    _speculation,
)
