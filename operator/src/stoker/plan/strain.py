"""Looks at a revision's engines become windows of how full they were.

The looks are those that scaling takes; no page is asked for because of these. A window counts when
it is `platform.strain_s` long (15 minutes by default), when half of that time was looked at, and
when it has seen `REQUESTS` requests end. A change of places restarts every replica, which takes
minutes, so a burst of minutes is no reason for one; means over few requests tell the mix of lengths
badly, and the mix is what the gain is computed for. An idle night ends no window, so it says
nothing: it neither makes a proposal nor takes one back.

What a look does not tell stays unknown: without a frontend nobody knows what is held, without times
nobody knows the traffic. Nothing of this outlives the process; a proposal that stands in the status
stays until windows speak against it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from stoker.model.load import Load
from stoker.model.observed import ObservedPod
from stoker.model.strain import Strain
from stoker.plan.windows import Last, is_old, stretches

REQUESTS: Final = 100
KEPT: Final = 4
_LOOKED_AT: Final = 0.5


@dataclass(frozen=True, slots=True)
class Strains:
    """What is known of one revision. Times in monotonic seconds."""

    open: Strain = field(default_factory=lambda: Strain("", 0))
    since: float = 0.0
    closed: tuple[Strain, ...] = ()  # the last ones, the older first
    last: Last = field(default_factory=dict)
    held: int | None = None  # at the last look; None: not known


def places_of(status: Mapping[str, Any]) -> int:
    """Places of one replica of the plan that runs; 0 where there is none."""
    plan = status.get("plan")
    known = plan if isinstance(plan, Mapping) and plan.get("configuration") else {}
    seqs, ranks = known.get("maxNumSeqs"), known.get("data")
    return seqs * ranks if isinstance(seqs, int) and isinstance(ranks, int) else 0


def advance(
    strains: Strains,
    load: Load | None,
    pods: Iterable[ObservedPod],
    revision: str,
    *,
    places: int,
    length: float,
) -> Strains:
    """After one more look at a revision whose replicas have so many places each.

    Another revision or another number of places than before starts over.
    """
    if load is None or places <= 0:
        return strains
    if (strains.open.revision, strains.open.places) != (revision, places):
        strains = Strains(open=Strain(revision, places), since=load.time)
    if is_old(strains.last, load):
        return strains
    found, last = stretches(strains.last, load, pods, revision)
    seen = strains.open
    for each in found:
        if strains.held is not None:
            seen = seen.plus(each.before, each.counted, strains.held, each.seconds)
    held = load.held if load.frontends else None
    strains = replace(strains, open=seen, last=last, held=held)
    old = load.time - strains.since >= length
    if not old or seen.seconds < _LOOKED_AT * length or seen.counted.requests < REQUESTS:
        return strains
    return replace(
        strains,
        open=Strain(revision, places),
        since=load.time,
        closed=(*strains.closed, seen)[-KEPT:],
    )
