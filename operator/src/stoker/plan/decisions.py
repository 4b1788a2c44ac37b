"""Decisions on the number of replicas as the status keeps them: the standing one, and the last few.

All that `stoker why` says of the past comes from here, so the words that a decision was made with
are kept. They are cut, because a status stays below 16 KiB whatever happens.
"""

from collections.abc import Mapping
from typing import Any, Final

from stoker.model.moment import Moment
from stoker.model.scale import ScaleDecision
from stoker.plan.texts import cut

_EARLIER: Final = 4
_LAST_LIMIT: Final = 180
_EARLIER_LIMIT: Final = 72


def changes(before: Mapping[str, Any], scale: ScaleDecision, now: Moment) -> dict[str, Any]:
    """status.lastScale and status.earlierScales after this decision."""
    told, last = before.get("desiredReplicas"), before.get("lastScale")
    earlier = list(before.get("earlierScales") or ())
    if isinstance(told, int) and told != scale.replicas:
        if isinstance(last, Mapping):
            short = {**last, "message": cut(str(last.get("message", "")), _EARLIER_LIMIT)}
            earlier = [short, *earlier][:_EARLIER]
        last = {
            "from": told,
            "to": scale.replicas,
            "reason": scale.verdict.reason,
            "message": cut(scale.verdict.message, _LAST_LIMIT),
            "time": now.rfc3339(),
        }
    found = {"lastScale": last, "earlierScales": earlier}
    return {name: value for name, value in found.items() if value}


def standing(scale: ScaleDecision, now: Moment) -> dict[str, Any]:
    """status.scaling of this decision; nothing where it was made without a load."""
    numbers = scale.reckoning
    if numbers is None:
        return {}
    found: dict[str, Any] = {
        "reason": scale.verdict.reason,
        "message": cut(scale.verdict.message, _LAST_LIMIT),
        "need": numbers.need,
        "places": numbers.places,
    }
    terms = {term.value: round(value, 2) for term, value in numbers.terms.items() if value}
    if terms:
        found["terms"] = terms
    if numbers.request_s:
        found["requestSeconds"] = float(f"{numbers.request_s:.3g}")
    if numbers.limit is not None:
        found["limit"] = numbers.limit.value
    if numbers.fewer_at is not None and numbers.fewer_at > now.monotonic:
        found["fewerNotBefore"] = now.rfc3339(numbers.fewer_at)
    return {"scaling": found}


def limit_changed(before: Mapping[str, Any], scale: ScaleDecision) -> bool:
    """Whether something else limits the number than the status says."""
    told, numbers = before.get("scaling"), scale.reckoning
    if numbers is None:
        return False
    if not isinstance(told, Mapping):
        return True
    limit = None if numbers.limit is None else numbers.limit.value
    return bool(told.get("limit") != limit)
