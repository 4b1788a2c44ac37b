"""What a change of a field would bring that no running engine takes: told, and never done.

vLLM takes its places and its KV cache when it starts. Where they do not suit the requests that
really come, the status says which field would, and what the planner expects of it for these very
requests. Whoever owns the service writes the field, or does not.

    windows of how full replicas are  →  a finding stands, is gone, or neither
    a finding that stands             →  what the planner makes of the changed field
    what it makes of it               →  the gain, at the requests that came

A finding stands when the last two windows say so, and is gone when the last four say the opposite;
the thresholds of both lie apart, and between them nothing moves. What was proposed stays word for
word until it is gone, or brings too little by now, or much more or less than it says, or something
else brings much more: a status is no feed. So traffic that comes and goes from window to window
writes nothing.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model import reasons
from stoker.model.observed import Observed
from stoker.model.plan import Event
from stoker.model.sizing import Configuration
from stoker.model.strain import Strain
from stoker.plan import budget, whatifs
from stoker.plan.choice import Question
from stoker.plan.texts import cut
from stoker.plan.whatifs import Option
from stoker.planner.request import FLAGS, explicit

PLACES: Final = reasons.PLACES_FULL
CACHE: Final = reasons.CACHE_FULL
IDLE: Final = reasons.PLACES_IDLE
# What a window has to say before a restart is worth a thought, and what ends it.
_OFTEN: Final = 0.2
_SELDOM: Final = 0.1
_UNUSED: Final = 0.25
_USED: Final = 0.5
_STANDS: Final = 2
_GONE: Final = 4
# As with offers, less than a tenth is not worth a restart; it is withdrawn below half of that.
LEAST: Final = 1.1
_STILL: Final = 1.05
_MUCH_MORE: Final = 1.25
_MOST: Final = 2
# Of change, why and gain together: two of them are less than 500 bytes of the status.
_TEXT: Final = 188
_SEQS: Final = {whatifs.SEQS, "engine.args.max-num-seqs"}
# Fields of a request, by where a user writes them.
_FIELDS: Final = {
    "optimization.batching.maxNumSeqs": "max_num_seqs",
    "optimization.kvCache.dtype": "kv_dtype",
    "parallelism.tensor": "tensor",
    "accelerator.perReplica": "per_replica",
    "accelerator.types": "accelerators",
}


@dataclass(frozen=True, slots=True)
class _Kind:
    """One finding: what makes it, what ends it, what may be changed."""

    reason: str
    stands: Callable[[Strain], bool]
    is_gone: Callable[[Strain], bool]
    options: Callable[[Question, Configuration, Strain, int], tuple[Option, ...]]
    words: Callable[[Strain], str]


_KINDS: Final = (
    _Kind(
        CACHE,
        lambda seen: seen.short >= _OFTEN,
        lambda seen: seen.short < _SELDOM,
        whatifs.for_full_cache,
        lambda seen: f"KV cache full, requests wait {_percent(seen.short)} of the time",
    ),
    _Kind(
        PLACES,
        lambda seen: seen.crowded >= _OFTEN,
        lambda seen: seen.crowded < _SELDOM,
        whatifs.for_full_places,
        lambda seen: (
            f"all {seen.places} places taken, requests wait {_percent(seen.crowded)} of the time, "
            f"KV cache up to {_percent(seen.most_cache)}"
        ),
    ),
    _Kind(
        IDLE,
        # A larger cache is of use to nobody who leaves half of it empty.
        lambda seen: seen.most <= _UNUSED * seen.places and seen.most_cache >= _USED,
        lambda seen: seen.most > _USED * seen.places,
        whatifs.for_idle_places,
        lambda seen: (
            f"{seen.most} of {seen.places} places used at most, KV cache up to "
            f"{_percent(seen.most_cache)}"
        ),
    ),
)


def proposed(
    observed: Observed, revision: str, question: Question, configuration: Configuration
) -> list[dict[str, str]] | None:
    """status.plan.proposals of the plan that runs as this revision; None where there are none."""
    spec = observed.service.spec
    if spec is None:
        return None
    strains = [each for each in observed.strains if each.revision == revision]
    stored = {each["reason"]: each for each in _stored(observed.service.status)}
    found = []
    for kind in _KINDS:
        old = stored.get(kind.reason)
        if len(strains) >= _STANDS and all(map(kind.stands, strains[-_STANDS:])):
            seen = strains[-2].and_also(strains[-1])
            options = kind.options(question, configuration, seen, _places_in(old))
            old = _best(kind, options, spec, seen, old)
        elif len(strains) >= _GONE and all(map(kind.is_gone, strains[-_GONE:])):
            old = None
        if old is not None:
            found.append(old)
    return found[:_MOST] or None


def events(before: Mapping[str, Any], plan: Mapping[str, Any] | None) -> tuple[Event, ...]:
    """Of proposals that the status before did not have, or had with another value."""
    known = {each["change"] for each in _stored(before)}
    return tuple(
        Event(
            "Normal",
            each["reason"],
            f"{each['change']} would give {each['gain']}: {each['why']}. It restarts the replicas, "
            "so Stoker does not do it; write the field to have it",
        )
        for each in _stored({"plan": plan})
        if each["change"] not in known
    )


def _best(
    kind: _Kind,
    options: Sequence[Option],
    spec: InferenceServiceSpec,
    seen: Strain,
    old: dict[str, str] | None,
) -> dict[str, str] | None:
    options = [each for each in options if _is_paid(spec, each)]
    best = max(options, key=lambda each: each.ratio, default=None)
    if best is None:
        return None
    now = old and next((each for each in options if _change(spec, each) == old["change"]), None)
    if old and now and now.ratio >= _STILL and best.ratio < now.ratio * _MUCH_MORE:
        told = _more_in(old)
        if told / _MUCH_MORE < now.more < told * _MUCH_MORE:
            return old
        best = now  # the same, and what it brings is another number by now
    elif best.ratio < LEAST:
        return None
    change, gain = _change(spec, best), best.gain
    why = f"{_said(spec, best)}{kind.words(seen)}{best.cost}"
    left = max(1, _TEXT - len(change) - len(gain))
    return {"reason": kind.reason, "change": change, "why": cut(why, left), "gain": gain}


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _is_paid(spec: InferenceServiceSpec, option: Option) -> bool:
    """Whether the budget pays for the replicas that the service always has."""
    price = None if option.price is None else f"{option.price:.2f}"
    return budget.refuse(spec.scaling, {"expected": {"pricePerHour": price}}, "") is None


def _more_in(old: Mapping[str, str]) -> float:
    """After over before, as it stands told; 0 where that makes no sense."""
    found = re.match(r"\+(\d{1,9}) %", old["gain"])
    return 1 + int(found[1]) / 100 if found else 0.0


def _places_in(old: Mapping[str, str] | None) -> int:
    """Places that stand proposed; 0 where none do."""
    field, _, value = ("" if old is None else old["change"]).partition(": ")
    sane = field in _SEQS and len(value) <= 4 and value.isdecimal() and value.isascii()
    return int(value) if sane else 0


def _change(spec: InferenceServiceSpec, option: Option) -> str:
    """What to write, where it is written now or would be."""
    return ", ".join(f"{_path(spec, field)}: {value}" for field, value in option.fields)


def _said(spec: InferenceServiceSpec, option: Option) -> str:
    """What the user has said of these fields, whose wish this would be against."""
    typed = explicit(spec)
    for field, _ in option.fields:
        flag = _flag(spec, field)
        value = typed.get(_FIELDS[field]) if flag is None else spec.engine.args[flag]
        if value is not None:
            told = f"[{', '.join(value)}]" if isinstance(value, tuple) else value
            return f"you set {'none' if told == 'bf16' else told}; "
    return ""


def _path(spec: InferenceServiceSpec, field: str) -> str:
    flag = _flag(spec, field)
    return field if flag is None else f"engine.args.{flag}"


def _flag(spec: InferenceServiceSpec, field: str) -> str | None:
    """The engine's own flag, where the user says it so."""
    flags = (name for name in spec.engine.args if name in FLAGS)
    return next((name for name in flags if FLAGS[name].path == field), None)


def _stored(status: Mapping[str, Any]) -> list[dict[str, str]]:
    """What stands in a status, without entries that make no sense."""
    plan = status.get("plan")
    kept = plan.get("proposals") if isinstance(plan, Mapping) else None
    names = ("reason", "change", "why", "gain")
    return [
        {name: str(each[name]) for name in names}
        for each in (kept if isinstance(kept, list) else ())
        if isinstance(each, Mapping) and all(isinstance(each.get(name), str) for name in names)
    ]
