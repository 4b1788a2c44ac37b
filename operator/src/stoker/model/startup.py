"""How long replicas take from being asked for to their first answer, as the cluster's clocks tell.

    pod created ─ node ─► scheduled ─ image ─► engine's container runs ─ load ─► ready

The first phase is short where a node was there, the second where it had the image; the third is
weights, compilation and warm-up. Means over the last few starts are kept in status: they say how
far a scaling decision has to look ahead.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stoker.model.observed import ObservedPod

# Means fade over about so many starts.
_MEMORY: Final = 5
_LONGEST_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Start:
    """One start, in seconds."""

    node: float
    image: float
    load: float
    created: float  # when, in seconds since 1970

    @property
    def total(self) -> float:
        """From being asked for to the first answer."""
        return self.node + self.image + self.load


def start_of(pod: ObservedPod) -> Start | None:
    """The start of a pod that answers; None where it cannot be told, or was not the first try."""
    times = (pod.created, pod.scheduled_at, pod.started_at, pod.ready_at)
    if not pod.ready or pod.deleting or pod.restarts or any(each is None for each in times):
        return None
    created, scheduled, started, ready = (float(each or 0.0) for each in times)
    # Written by different clocks, in whole seconds.
    found = Start(
        max(0.0, scheduled - created),
        max(0.0, started - scheduled),
        max(0.0, ready - started),
        created,
    )
    return found if 0 < found.total <= _LONGEST_S else None


def startup_status(
    before: object, pods: Iterable[ObservedPod], accelerator: str
) -> Mapping[str, Any] | None:
    """status.startup with the starts of these pods that are not in it yet."""
    known: Mapping[str, Any] = before if isinstance(before, Mapping) else {}
    if known.get("accelerator") != accelerator:
        known = {}
    last = known.get("newest", 0)
    last = last if isinstance(last, int) else 0
    starts = [start for start in map(start_of, pods) if start is not None and start.created > last]
    for start in sorted(starts, key=lambda each: each.created):
        known = _with(known, start, accelerator)
    return known or None


def lead_in(startup: Mapping[str, Any]) -> float | None:
    """Seconds of a whole start by a status; None where it does not say."""
    try:
        total = sum(float(startup[name]) for name in _PHASES)
    except (KeyError, TypeError, ValueError):
        return None
    return total if 0 < total <= _LONGEST_S else None


_PHASES: Final = ("nodeSeconds", "imageSeconds", "loadSeconds")


def _with(known: Mapping[str, Any], start: Start, accelerator: str) -> Mapping[str, Any]:
    count = known.get("starts", 0)
    count = count if isinstance(count, int) else 0
    share = 1 / min(count + 1, _MEMORY)
    values = zip(_PHASES, (start.node, start.image, start.load), strict=True)
    means = {
        name: round(float(known.get(name, value)) * (1 - share) + value * share, 1)
        for name, value in values
    }
    return {
        "accelerator": accelerator,
        **means,
        "starts": count + 1,
        "newest": int(start.created),
    }
