"""Facts that fit a termination message, whatever the model: what has to go goes with a warning.

In order: long texts are cut, adapters and warnings beyond a few are counted, types of few bytes are
summed up, layers of one kind count as the largest of them, and at last their order is given up.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Callable, Tuple

from stoker_worker.inspect.structure import few_kinds
from stoker_worker.modelfacts import FactsError, ModelFacts, merged, to_json

_MOST_WARNINGS = 6
_MOST_ADAPTERS = 12
_MOST_DTYPES = 6
_WARNING_CHARS = 160
_NAME_CHARS = 48
_STRANGE = re.compile(r"[^ -~]")  # what takes six bytes in JSON


def fitted(facts: ModelFacts) -> ModelFacts:
    """The same facts, in at most `MAX_BYTES` of JSON."""
    facts = _short(facts)
    for step in _STEPS:
        try:
            to_json(facts)
        except FactsError:
            facts = step(facts)
        else:
            return facts
    return facts


def _short(facts: ModelFacts) -> ModelFacts:
    """Texts cut, lists capped, the rarest types summed up."""
    largest = sorted(facts.adapters, key=lambda each: (-each[1], -each[2], each[0]))
    kept = tuple(sorted((_text(n, _NAME_CHARS), r, b) for n, r, b in largest[:_MOST_ADAPTERS]))
    warnings = [_text(each, _WARNING_CHARS) for each in facts.warnings]
    if len(largest) > len(kept):
        warnings.insert(0, f"{len(largest) - len(kept)} more adapters are not listed")
    if len(warnings) > _MOST_WARNINGS:
        more = len(warnings) - _MOST_WARNINGS + 1
        warnings = [*warnings[: _MOST_WARNINGS - 1], f"and {more} more warnings"]
    sizes = sorted(facts.bytes_by_dtype.items(), key=lambda each: (-each[1], each[0]))
    by_dtype = {_text(name, 16): size for name, size in sizes[:_MOST_DTYPES]}
    if len(sizes) > _MOST_DTYPES:
        by_dtype["other"] = sum(size for _, size in sizes[_MOST_DTYPES:])
    return replace(
        facts,
        architecture=_text(facts.architecture, _NAME_CHARS),
        model_type=_text(facts.model_type, _NAME_CHARS),
        adapters=kept,
        warnings=tuple(warnings),
        bytes_by_dtype=dict(sorted(by_dtype.items())),
    )


def _alike(facts: ModelFacts) -> ModelFacts:
    layers, said = few_kinds(facts.layers, most=0)
    return replace(facts, layers=layers, warnings=(*said, *facts.warnings[:1]))


def _unordered(facts: ModelFacts) -> ModelFacts:
    layers = merged(sorted(facts.layers, key=lambda run: run.kind))
    said = "the layers are listed by kind, not in their order"
    return replace(facts, layers=layers, warnings=(said, *facts.warnings[:1]))


# The last one is followed by nothing: what it leaves always fits.
_STEPS: Tuple[Callable[[ModelFacts], ModelFacts], ...] = (_alike, _unordered)


def _text(text: str, most: int) -> str:
    plain = _STRANGE.sub("?", text)
    return plain if len(plain) <= most else f"{plain[: most - 3]}..."
