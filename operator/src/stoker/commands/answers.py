"""An answer of the core as data, for programs: the same words as the API, camelCase."""

import dataclasses
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

from stoker.model.plan import Verdict
from stoker.model.sizing import Infeasible, Planned
from stoker.planner.ladder import Rung

# Names that a rule would not spell so.
_SPELLED: Final = {
    "kv_offload_gib": "kvOffloadGiB",
    "cpu_offload_gib": "cpuOffloadGiB",
    "kv_space_gib": "kvSpaceGiB",
    "shortage_gib": "shortageGiB",
}


def as_data(
    answer: Planned | Infeasible, rungs: Sequence[Rung] = (), notes: Sequence[Verdict] = ()
) -> dict[str, Any]:
    """Plain values; sizes in bytes, times in seconds, as in the planner's values."""
    data = {"planned": isinstance(answer, Planned), **_plain(answer)}
    if rungs:
        data["ladder"] = [_rung(rung) for rung in rungs]
    if notes:
        data["hints"] = [_plain(note) for note in notes]
    return data


def as_data_of(value: object) -> dict[str, Any]:
    """Any dataclass of the core as plain values."""
    return dict(_plain(value))


def _rung(rung: Rung) -> dict[str, Any]:
    found = rung.candidate
    return {
        "technique": rung.technique,
        "kept": rung.kept,
        "gain": round(rung.gain, 3),
        "loss": round(rung.loss, 3),
        "expected": None if found is None else _plain(found.expected),
        "kvTokens": 0 if found is None else found.memory.kv_tokens,
        "concurrency": 0 if found is None else found.concurrency,
    }


def _plain(value: Any) -> Any:  # noqa: ANN401 - any value of the planner
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            _camel(each.name): _plain(getattr(value, each.name))
            for each in dataclasses.fields(value)
        }
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _camel(name: str) -> str:
    if name in _SPELLED:
        return _SPELLED[name]
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
