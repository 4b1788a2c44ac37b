"""What `stoker scale` writes: a pure change of a service's spec, or the reason why there is none.

Who decides the number differs. Without `spec.scaling` it is `spec.replicas`, and whoever writes
that field. With it the number is Stoker's, and people decide bounds: a number by hand is then both
bounds at once, and the bounds that it stands in for are kept in an annotation until they come back.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from stoker import naming
from stoker.commands.inputs import InputError
from stoker.commands.statuses import mapping, text, whole

_BOUNDS: Final = re.compile(r"(\d{1,4})-(\d{1,4})")
MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for; at least one of them."""

    count: int | None = None
    least: int | None = None
    most: int | None = None
    auto: bool = False


@dataclass(frozen=True, slots=True)
class Rescaled:
    """What to write, and what to say of it. An empty patch: it is so already."""

    patch: Mapping[str, Any]
    before: str
    after: str
    note: str = ""


def check(wish: Wish) -> None:
    """`InputError` where what was asked for contradicts itself."""
    bounds = (wish.least, wish.most) != (None, None)
    if sum((wish.count is not None, bounds, wish.auto)) != 1:
        raise InputError("pass one of: N, --min and --max, --auto")
    for name, value in (("N", wish.count), ("--min", wish.least), ("--max", wish.most)):
        if value is not None and not 0 <= value <= MOST:
            raise InputError(f"{name} {value}: write a whole number from 0 to {MOST}")
    if wish.most == 0:
        raise InputError("--max 0: one at least; a service that scales goes to zero with --min 0")
    if wish.least is not None and wish.most is not None and wish.least > wish.most:
        raise InputError(f"--min {wish.least} is more than --max {wish.most}")


def rescaled(body: Mapping[str, Any], wish: Wish) -> Rescaled:
    """The change of this service; `InputError` says why it cannot be had, and what to do."""
    scaling = mapping(body.get("spec")).get("scaling")
    if not isinstance(scaling, Mapping):
        return _fixed(body, wish)
    if wish.count is not None:
        return _pinned(body, scaling, wish.count)
    if wish.auto:
        return _released(body, scaling)
    return _bounded(body, scaling, wish)


def _fixed(body: Mapping[str, Any], wish: Wish) -> Rescaled:
    if wish.count is None:
        raise InputError(
            "this service does not scale by itself, so it has no bounds: pass a number, or write "
            "spec.scaling (and remove spec.replicas) to have Stoker scale it"
        )
    before = whole(mapping(body.get("spec")).get("replicas"))
    said = "1 replica, as nobody said a number" if before is None else _replicas(before)
    note = "requests are held until it is raised again" if wish.count == 0 else ""
    if before == wish.count:
        return Rescaled({}, said, said, note)
    return Rescaled({"spec": {"replicas": wish.count}}, said, _replicas(wish.count), note)


def _pinned(body: Mapping[str, Any], scaling: Mapping[str, Any], count: int) -> Rescaled:
    if count == 0:
        raise InputError(
            "this service scales by itself, and a request would wake it from zero: pass --min 0 to "
            "let it go there when it is idle; remove spec.scaling and set spec.replicas: 0 to have "
            "requests held instead"
        )
    low, high = _now(scaling)
    kept = _kept(body) or (low, high)
    if (low, high) == (count, count):
        return Rescaled({}, _range(low, high), _range(count, count))
    patch = {
        "metadata": {"annotations": {naming.ANNOTATION_BOUNDS: f"{kept[0]}-{kept[1]}"}},
        "spec": {"scaling": {"minReplicas": count, "maxReplicas": count}},
    }
    return Rescaled(
        patch,
        _range(low, high),
        _range(count, count),
        f"it does not follow its load until `stoker scale --auto` gives it {_range(*kept)} again",
    )


def _released(body: Mapping[str, Any], scaling: Mapping[str, Any]) -> Rescaled:
    kept, now = _kept(body), _now(scaling)
    if kept is None:
        raise InputError(
            f"no number was set by hand with `stoker scale`: it may have {_range(*now)} and "
            "follows its load within that; pass --min and --max for other bounds"
        )
    patch = {
        "metadata": {"annotations": {naming.ANNOTATION_BOUNDS: None}},
        "spec": {"scaling": {"minReplicas": kept[0], "maxReplicas": kept[1]}},
    }
    return Rescaled(patch, _range(*now), _range(*kept), "it follows its load again")


def _bounded(body: Mapping[str, Any], scaling: Mapping[str, Any], wish: Wish) -> Rescaled:
    low, high = _now(scaling)
    least = low if wish.least is None else wish.least
    most = high if wish.most is None else wish.most
    if least > most:
        raise InputError(
            f"it would have at least {least} and at most {most}: pass --min and --max together"
        )
    if (least, most) == (low, high) and _kept(body) is None:
        return Rescaled({}, _range(low, high), _range(low, high))
    patch: dict[str, Any] = {"spec": {"scaling": {"minReplicas": least, "maxReplicas": most}}}
    if _kept(body) is not None:
        patch["metadata"] = {"annotations": {naming.ANNOTATION_BOUNDS: None}}
    return Rescaled(patch, _range(low, high), _range(least, most))


def _now(scaling: Mapping[str, Any]) -> tuple[int, int]:
    """As the API server keeps them; the least is 1 where nobody says it."""
    least, most = whole(scaling.get("minReplicas")), whole(scaling.get("maxReplicas"))
    return 1 if least is None else least, 1 if most is None else most


def _kept(body: Mapping[str, Any]) -> tuple[int, int] | None:
    annotations = mapping(mapping(body.get("metadata")).get("annotations"))
    found = _BOUNDS.fullmatch(text(annotations.get(naming.ANNOTATION_BOUNDS)) or "")
    if found is None or not int(found[1]) <= int(found[2]) <= MOST or int(found[2]) == 0:
        return None
    return int(found[1]), int(found[2])


def _range(low: int, high: int) -> str:
    return _replicas(low) if low == high else f"{low} to {high} replicas"


def _replicas(count: int) -> str:
    return f"{count} replica{'' if count == 1 else 's'}"
