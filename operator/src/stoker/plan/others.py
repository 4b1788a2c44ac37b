"""Somebody else's hand on the number of replicas of a workload, found and told.

Whoever changed a field last is its manager, as the API server keeps it. A number that is not the
one that was wanted before, and whose manager is not Stoker, was changed by that manager; the same
pass puts it back and says so in an Event. Whoever does it again and again, as a second autoscaler
does, is told by the condition `ScaledByOthers` instead, which goes when there is peace: an Event
for each blow would fill the list that people read.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Final

from stoker.model import reasons
from stoker.model.moment import Moment
from stoker.model.observed import Observed, ObservedObject, ScaledBy
from stoker.model.past import Past, PutBack
from stoker.model.plan import Apply, Delete, Event, Verdict
from stoker.plan import situation

WINDOW_S: Final = 600.0
FIGHT: Final = 3  # times within the window
# Scales for every HorizontalPodAutoscaler, and so for KEDA.
_AUTOSCALER: Final = "kube-controller-manager"


def notice(
    observed: Observed, writes: Iterable[Apply | Delete], now: Moment
) -> tuple[list[Apply | Delete], tuple[PutBack, ...]]:
    """The writes, told apart by whose number they change; and what they put back."""
    told = _told(observed.service.status)
    theirs = {
        (present.kind, present.name): (present, told[revision])
        for revision, present in situation.workloads(observed).items()
        if present.scaled_by is not None and revision in told
    }
    named: list[Apply | Delete] = []
    found = []
    for write in writes:
        put_back = _put_back(write, theirs, now) if isinstance(write, Apply) else None
        if put_back is not None:
            found.append(put_back)
            write = dataclasses.replace(write, reason=reasons.SCALED_BY_OTHERS)  # noqa: PLW2901
        named.append(write)
    return named, tuple(found)


def recent(past: Past, now: Moment) -> tuple[PutBack, ...]:
    """What still counts."""
    return tuple(each for each in past.put_back if now.monotonic - each.time < WINDOW_S)


def fight(put_back: Iterable[PutBack], *, scales: bool) -> Verdict | None:
    """What to say of repeated changes; None while there are few.

    Its words stay the same for as long as the same ones fight, so that the status does too.
    """
    known = list(put_back)
    if len(known) < FIGHT:
        return None
    names = ", ".join(sorted({f"{each.kind} {each.name}" for each in known}))
    who = ", ".join(sorted({each.who for each in known}))
    return Verdict(
        reasons.SCALED_BY_OTHERS,
        f"The replicas of {names} are changed again and again by {who}, and Stoker puts them back "
        f"each time: replicas come and go for nothing. Remove the other scaler. {_way(scales)}",
    )


def ends_at(put_back: Iterable[PutBack]) -> float | None:
    """When too few of them will be left to speak of a fight; None where there is none."""
    times = sorted(each.time for each in put_back)
    return times[-FIGHT] + WINDOW_S if len(times) >= FIGHT else None


def events(put_back: Iterable[PutBack], *, scales: bool) -> tuple[Event, ...]:
    """One for each, with who it was and what to do instead."""
    return tuple(
        Event(
            "Warning",
            reasons.SCALED_BY_OTHERS,
            f"The replicas of {each.kind} {each.name} were changed from {each.before} to "
            f"{each.after} by {each.who}{f' at {each.at}' if each.at else ''}; Stoker decides that "
            f"number and has set it to {each.now}. {_way(scales)}",
        )
        for each in put_back
    )


def _way(scales: bool) -> str:  # noqa: FBT001 - its only argument
    if scales:
        return (
            "It follows spec.scaling: change minReplicas or maxReplicas there, or remove "
            "spec.scaling to scale the InferenceService by hand (kubectl scale infer) or by "
            "another autoscaler."
        )
    return "Scale the InferenceService instead (kubectl scale infer, or an autoscaler of it)."


def _told(status: Mapping[str, Any]) -> dict[str, int]:
    """Replicas that the last pass wanted of each revision."""
    return {
        str(entry.get("name")): int(entry.get("wanted") or 0)
        for entry in status.get("revisions") or ()
    }


def _put_back(
    write: Apply, theirs: Mapping[tuple[str, str], tuple[ObservedObject, int]], now: Moment
) -> PutBack | None:
    found = theirs.get((write.manifest["kind"], write.manifest["metadata"]["name"]))
    if found is None:
        return None
    present, before = found
    after, wanted = situation.spec_replicas(present), int(write.manifest["spec"]["replicas"])
    if present.scaled_by is None or after in {before, wanted}:
        return None
    return PutBack(
        time=now.monotonic,
        kind=present.kind,
        name=present.name,
        who=_words(present.scaled_by),
        at=present.scaled_by.time,
        before=before,
        after=after,
        now=wanted,
    )


def _words(scaled_by: ScaledBy) -> str:
    if scaled_by.manager == _AUTOSCALER:
        return f"a HorizontalPodAutoscaler ({_AUTOSCALER})"
    return scaled_by.manager
