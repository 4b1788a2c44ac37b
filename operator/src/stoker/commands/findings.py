"""What stands in the way of a service, and what to do: said before anything else.

Read from the object alone. A status is written only when something changes, so that it is old says
nothing by itself; what would have been written by now, and is not, says that nobody writes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stoker.commands import statuses
from stoker.model import reasons
from stoker.model.scale import Limit

# The operator looks at a change within seconds.
_SOON_S: Final = 60.0
# A limit that has ended is written within a minute; a clock that is off is forgiven as much again.
_OVERDUE_S: Final = 180.0
_SKEW_S: Final = 60.0
_OPERATOR: Final = "kubectl get pods -A -l app.kubernetes.io/name=stoker"
# In the order in which they are told: what explains others comes first.
BAD: Final = (
    ("Stalled", "True"),
    ("NameTaken", "True"),
    ("Ready", "False"),
    ("Planned", "False"),
    ("Progressing", "False"),
    ("Schedulable", "False"),
    ("ModelReady", "False"),
    ("ScalingActive", "False"),
    ("ScaledByOthers", "True"),
    ("NodesUnsuitable", "True"),
)
_FINE: Final = frozenset({reasons.SETTLED, reasons.FIXED_REPLICAS})
# What passes by itself.
_CACHE_WORKS: Final = frozenset(
    {
        reasons.CACHE_PENDING,
        reasons.RESOLVING,
        reasons.FETCHING,
        reasons.VERIFYING,
        reasons.WAITING_FOR_POD,
        reasons.WAITING_FOR_MODEL,
    }
)
NO_PROBLEM: Final = _CACHE_WORKS | {
    reasons.FRONTEND_NOT_READY,
    reasons.READING_MODEL,
    reasons.WAITING_FOR_PODS,
}
_SILENT_POD: Final = (
    "Nothing goes while numbers are missing, and at zero a request still wakes the service. See "
    "why that pod does not tell: `kubectl describe pod` and `kubectl logs`, and whether a "
    "NetworkPolicy keeps the operator from it."
)
_REMEDIES: Final = {
    reasons.METRICS_MISSING: _SILENT_POD,
    reasons.METRICS_LOST: _SILENT_POD,
    reasons.METRIC_MISSING: "The engine answers without a series that scaling needs: its "
    "version is too old or too new, or its metrics are off. The number stays until it has it.",
    reasons.WAITING_FOR_PODS: "Wait, and follow it with `kubectl get pods -w`.",
    **dict.fromkeys(_CACHE_WORKS, "Wait, and follow it with `kubectl get mc -w`."),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know before the rest."""

    problem: bool  # False: it passes by itself, or is only to be known
    reason: str
    message: str
    remedy: str = ""


def findings_of(body: Mapping[str, Any], now: float) -> tuple[Finding, ...]:
    """All of them, the one that explains most first. `now` in seconds since 1970."""
    metadata, status = statuses.mapping(body.get("metadata")), statuses.mapping(body.get("status"))
    if metadata.get("deletionTimestamp"):
        return (
            Finding(
                problem=True,
                reason="BeingDeleted",
                message="the service is being deleted",
                remedy="Nothing is decided any more.",
            ),
        )
    found = [*_unseen(body, metadata, status, now), *_conditions(status), *_silent(status, now)]
    return tuple(_once(found))


def writer_of_replicas(metadata: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Who wrote spec.replicas, as an entry of managedFields; None where no one is named.

    A write through the scale subresource of a custom resource leaves no name (seen with 1.34).
    """
    for each in statuses.mappings(metadata.get("managedFields")):
        fields = statuses.mapping(statuses.mapping(each.get("fieldsV1")).get("f:spec"))
        if "f:replicas" in fields:
            return each
    return None


def _changed_at(body: Mapping[str, Any], metadata: Mapping[str, Any]) -> float | None:
    """When anything but the status was written last; None where the object does not tell."""
    fixed = statuses.mapping(body.get("spec")).get("replicas") is not None
    if fixed and writer_of_replicas(metadata) is None:
        return None
    times = [
        statuses.unix(each.get("time"))
        for each in statuses.mappings(metadata.get("managedFields"))
        if each.get("subresource") != "status"
    ]
    return max((each for each in times if each is not None), default=None)


def _unseen(
    body: Mapping[str, Any], metadata: Mapping[str, Any], status: Mapping[str, Any], now: float
) -> Iterable[Finding]:
    """The operator has not judged the spec as it is now."""
    generation = statuses.whole(metadata.get("generation"))
    seen = statuses.whole(status.get("observedGeneration"))
    if status and (generation is None or seen is None or seen >= generation):
        return
    since = _changed_at(body, metadata)
    if not status:
        since = statuses.unix(metadata.get("creationTimestamp"))
    age = None if since is None else now - since
    what = "the spec was changed" if status else "no operator has looked at it yet"
    when = "" if age is None or age < 0 else f" {statuses.duration(age)} ago"
    if status:
        message = f"{what}{when}, and what follows is about the spec before that"
    else:
        made = f"; it was made{when}" if when else ""
        message = f"{what}{made}"
    late = age is not None and age > _SOON_S
    yield Finding(
        problem=late or not body.get("spec"),
        reason="NotYetSeen",
        message=message,
        remedy=f"It takes seconds where Stoker runs; look whether it does: `{_OPERATOR}`.",
    )


def _conditions(status: Mapping[str, Any]) -> Iterable[Finding]:
    nobody = not statuses.whole(status.get("readyReplicas"))
    for kind, bad in BAD:
        each = statuses.condition(status, kind)
        reason = statuses.text(each.get("reason")) or kind
        if each.get("status") != bad or reason in _FINE:
            continue
        pending = reason in NO_PROBLEM or (reason == reasons.METRICS_MISSING and nobody)
        yield Finding(
            problem=not pending,
            reason=reason,
            message=statuses.text(each.get("message")) or f"{kind} is {bad}",
            remedy=_REMEDIES.get(reason, ""),
        )


def _silent(status: Mapping[str, Any], now: float) -> Iterable[Finding]:
    """What the operator would have written by now."""
    scaling = statuses.mapping(status.get("scaling"))
    taken = statuses.unix(statuses.mapping(status.get("load")).get("time"))
    if taken is not None and taken - now > _SKEW_S:
        yield Finding(
            problem=False,
            reason="ClocksDiffer",
            message=f"the last sample is {statuses.duration(taken - now)} ahead of this machine's "
            "clock, so ages and times to wait are wrong by as much",
            remedy="Set the clock of one of them.",
        )
    ends = statuses.unix(scaling.get("fewerNotBefore"))
    active = statuses.condition(status, "ScalingActive").get("status") == "True"
    held = scaling.get("limit") in {Limit.ADDED_STAYS.value, Limit.OBSERVING.value}
    if active and held and ends is not None and now - ends > _OVERDUE_S:
        yield Finding(
            problem=True,
            reason="OperatorSilent",
            message=f"what held the number ended {statuses.duration(now - ends)} ago, and the "
            "status does not say so",
            remedy=f"Look whether Stoker runs: `{_OPERATOR}`.",
        )


def _once(found: Iterable[Finding]) -> Iterable[Finding]:
    """Several conditions say the same thing; the first one does."""
    told: set[str] = set()
    for each in found:
        if not any(each.message in message or message in each.message for message in told):
            told.add(each.message)
            yield each
