"""Why a service has the number of replicas that it has: from its object alone, for both outputs.

The chain goes from the signal to the replicas: what was seen, what asks for how many, what limits
that, what was decided and what answers; then the last changes, and when the next one may come.
A status is no feed: its sample is the one behind the last decision that was worth writing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from stoker.api.scaling import Scaling
from stoker.autoscale.need import DRAIN_S
from stoker.autoscale.policy import DEFAULT_LEAD_S
from stoker.commands import statuses
from stoker.commands.findings import Finding, findings_of, writer_of_replicas
from stoker.model import schedule
from stoker.model.moment import rfc3339
from stoker.model.observed import Key
from stoker.model.scale import Limit, Term
from stoker.model.startup import lead_in

_PHASES: Final = (("node", "nodeSeconds"), ("image", "imageSeconds"), ("load", "loadSeconds"))


@dataclass(frozen=True, slots=True)
class Asked:
    """What one reason asks for."""

    name: str
    replicas: float
    words: str


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the number."""

    time: str
    before: int
    after: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Next:
    """What may change the number next. `at` is the earliest moment; None: any look."""

    what: str
    at: str | None
    words: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """A field to write, which Stoker does not write by itself."""

    reason: str
    change: str
    why: str
    gain: str


@dataclass(frozen=True, slots=True)
class Sample:
    """The load behind the last decision."""

    held: int
    waiting: int
    running: int
    time: str
    age_seconds: float | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that is told, in the order in which it is."""

    service: str
    mode: str  # Scales, Fixed or Unknown
    summary: str
    findings: tuple[Finding, ...]
    desired: int | None
    ready: int | None
    exist: int | None
    owner: str | None  # of a fixed number, in words
    rules: Mapping[str, Any] = field(default_factory=dict)  # spec.scaling
    sample: Sample | None = None
    places: int | None = None  # requests that one replica computes at once
    request_seconds: float | None = None  # of one replica, for one request
    need: int | None = None
    terms: tuple[Asked, ...] = ()
    reason: str | None = None
    message: str | None = None
    limit: str | None = None
    limit_words: str | None = None
    start: str = ""  # how long one takes, in words
    decisions: tuple[Change, ...] = ()
    next: tuple[Next, ...] = ()
    proposals: tuple[Proposal, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether nothing stands in the way."""
        return not any(each.problem for each in self.findings)


def explain(body: Mapping[str, Any], key: Key, now: float) -> Explanation:
    """The whole explanation. `now` in seconds since 1970, of the machine that asks."""
    spec, status = statuses.mapping(body.get("spec")), statuses.mapping(body.get("status"))
    scaling = spec.get("scaling")
    known = _known(scaling) if isinstance(scaling, Mapping) else None
    rules = _in_force(known, scaling) if isinstance(scaling, Mapping) else None
    found = findings_of(body, now)
    desired = statuses.whole(status.get("desiredReplicas"))
    ready = statuses.whole(status.get("readyReplicas"))
    common: dict[str, Any] = {
        "service": str(key),
        "summary": _summary(desired, ready, scales=rules is not None),
        "findings": found,
        "desired": desired,
        "ready": ready,
        "exist": statuses.whole(status.get("replicas")),
        "start": _start(status),
        "decisions": _decisions(status),
        "proposals": proposals_in(status),
    }
    if rules is None:
        mode = "Fixed" if spec else "Unknown"
        return Explanation(
            mode=mode,
            owner=_owner(body, spec) if spec else None,
            **common,
            next=(Next("any", None, "when spec.replicas, or the rest of the spec, changes"),),
        )
    told = statuses.mapping(status.get("scaling"))
    limit = statuses.text(told.get("limit"))
    return Explanation(
        mode="Scales",
        owner=None,
        **common,
        rules=_flat(rules),
        sample=_sample(status, now),
        places=statuses.whole(told.get("places")),
        request_seconds=statuses.number(told.get("requestSeconds")),
        need=statuses.whole(told.get("need")),
        terms=_terms(status, rules),
        reason=statuses.text(told.get("reason")),
        message=statuses.text(told.get("message")),
        limit=limit,
        limit_words=None if limit is None else _limit_words(limit, rules),
        next=(
            *_next(status, rules, desired, now),
            *_windows(known, status, now),
            *_retries(status),
        ),
    )


def _summary(desired: int | None, ready: int | None, *, scales: bool) -> str:
    if desired is None:
        return "nothing is decided yet"
    if desired == 0:
        wakes = "; the first request is held and wakes it" if scales else "; requests are held"
        return f"no replica is wanted{wakes}"
    are = "replica is" if desired == 1 else "replicas are"
    return f"{desired} {are} wanted, {ready or 0} {'answers' if ready == 1 else 'answer'}"


def _owner(body: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    """Whose the fixed number is."""
    count = statuses.whole(spec.get("replicas"))
    scale = "set spec.scaling, without spec.replicas, to have Stoker scale it"
    if count is None:
        return f"nobody says a number, so there is one replica; {scale}"
    said = f"spec.replicas is {count}"
    metadata = statuses.mapping(body.get("metadata"))
    if metadata.get("managedFields"):
        writer = writer_of_replicas(metadata)
        if writer is None:
            said += ", written by somebody whom the API server does not name, as with kubectl scale"
            said += ", an HPA or KEDA"
        else:
            manager = statuses.text(writer.get("manager")) or "somebody"
            when = statuses.text(writer.get("time"))
            said += f", last written by {manager}{f' at {when}' if when else ''}"
    return f"{said}: it belongs to whoever writes that field; {scale}"


def _known(scaling: Mapping[str, Any]) -> Scaling | None:
    """What the spec says; None where another version wrote it."""
    try:
        return Scaling.model_validate(dict(scaling))
    except ValidationError:
        return None


def _in_force(known: Scaling | None, scaling: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same with what nobody wrote; what is not known as it is."""
    if known is None:
        return scaling
    told: dict[str, Any] = known.model_dump(  # type: ignore[no-untyped-call]
        mode="json", by_alias=True, exclude_none=True
    )
    return told


def _flat(rules: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """The fields of spec.scaling by their paths; lists as one line each."""
    found: dict[str, Any] = {}
    for name, value in rules.items():
        if isinstance(value, Mapping) and value:
            found.update(_flat(value, f"{before}{name}."))
        elif isinstance(value, (str, int, float)):
            found[f"{before}{name}"] = value
        elif value:
            found[f"{before}{name}"] = json.dumps(value, default=str)
    return found


def _sample(status: Mapping[str, Any], now: float) -> Sample | None:
    load = statuses.mapping(status.get("load"))
    counts = [statuses.whole(load.get(name)) for name in ("held", "waiting", "running")]
    held, waiting, running = counts
    if held is None or waiting is None or running is None:
        return None
    taken = statuses.unix(load.get("time"))
    age = None if taken is None else now - taken
    return Sample(held, waiting, running, str(load.get("time")), age)


def _terms(status: Mapping[str, Any], rules: Mapping[str, Any]) -> tuple[Asked, ...]:
    """In the order of the enumeration, then what only a newer operator knows."""
    told = statuses.mapping(status.get("scaling"))
    values = statuses.mapping(told.get("terms"))
    load = statuses.mapping(status.get("load"))
    target = statuses.whole(statuses.mapping(rules.get("target")).get("queueDepth")) or 4
    held, waiting, running = (
        statuses.whole(load.get(name)) or 0 for name in ("held", "waiting", "running")
    )
    places = statuses.whole(told.get("places"))
    words = {
        Term.PLACES.value: f"{held + waiting + running} in progress, over {places} computed and "
        f"{target} waiting per replica",
        Term.QUEUE.value: f"{held + waiting} waiting, over {target} per replica",
        Term.ARRIVALS.value: "what comes, by the time that a request takes of a replica, with room "
        "for chance",
        Term.BACKLOG.value: "the same, and the queue worked off within "
        f"{statuses.duration(DRAIN_S)}",
        Term.CONCURRENCY.value: f"{held + waiting + running} in progress, over target.concurrency",
        Term.KV_CACHE.value: "the KV cache in use, over target.kvCache",
        Term.TTFT.value: "in progress, over what a replica may have to keep target.ttft",
        Term.ITL.value: "in progress, over what a replica may have to keep target.itl",
        Term.PROGRESS.value: "any request needs one",
        Term.FORECAST.value: "the most that is expected while a replica starts; no part of the "
        "need",
    }
    known = [name for name in words if name in values]
    found = []
    for name in (*known, *(name for name in values if name not in words)):
        replicas = statuses.number(values[name])
        if replicas is not None:
            found.append(Asked(str(name), replicas, words.get(name, "")))
    return tuple(found)


def _limit_words(limit: str, rules: Mapping[str, Any]) -> str:
    window = rules.get("scaleDownStabilization")
    words = {
        Limit.FLOOR.value: "fewer would do, and no fewer are allowed",
        Limit.CEILING.value: "more are asked for, and no more are allowed: raise "
        "spec.scaling.maxReplicas, or what the verdict names, for more",
        Limit.ADDED_STAYS.value: "fewer would do, and what was added stays for ten minutes",
        Limit.OBSERVING.value: "fewer would do, and five minutes have to be observed first",
        Limit.STABILIZATION.value: "fewer would do, and scaleDownStabilization "
        f"({window}) has to pass with no more need",
        Limit.STARTING.value: "replicas are starting and will take from the queue, so it adds none "
        "until they answer",
    }
    return words.get(limit, "")


def _start(status: Mapping[str, Any]) -> str:
    """How long a start takes, by phase."""
    startup = statuses.mapping(status.get("startup"))
    phases = [(name, statuses.number(startup.get(field))) for name, field in _PHASES]
    known = [(name, seconds) for name, seconds in phases if seconds is not None]
    if len(known) < len(phases):
        return f"none was measured yet; {statuses.duration(DEFAULT_LEAD_S)} is assumed"
    total = statuses.duration(sum(seconds for _, seconds in known))
    parts = ", ".join(f"{name} {statuses.duration(seconds)}" for name, seconds in known)
    count = statuses.whole(startup.get("starts")) or 0
    where = statuses.text(startup.get("accelerator"))
    on = f" on {where}" if where else ""
    return f"{total}: {parts} ({count} {'start' if count == 1 else 'starts'} measured{on})"


def _decisions(status: Mapping[str, Any]) -> tuple[Change, ...]:
    """The last changes, newest first."""
    last = status.get("lastScale")
    entries = [last, *statuses.mappings(status.get("earlierScales"))]
    return tuple(
        Change(
            str(each.get("time", "")),
            statuses.whole(each.get("from")) or 0,
            statuses.whole(each.get("to")) or 0,
            str(each.get("reason", "")),
            str(each.get("message", "")),
        )
        for each in statuses.mappings(entries)
    )


def proposals_in(status: Mapping[str, Any]) -> tuple[Proposal, ...]:
    """What the status proposes, as far as it can be told."""
    told = statuses.mapping(status.get("plan")).get("proposals")
    return tuple(
        Proposal(*(str(each.get(name, "")) for name in ("reason", "change", "why", "gain")))
        for each in statuses.mappings(told)
    )


def _next(
    status: Mapping[str, Any], rules: Mapping[str, Any], desired: int | None, now: float
) -> tuple[Next, ...]:
    """What may move the number, and when at the earliest."""
    if desired is None:
        return (Next("first", None, "with the operator's first look"),)
    if statuses.condition(status, "ScalingActive").get("status") == "False":
        waits = "stays until the numbers are back"
        wakes = "; a request that a frontend tells of wakes it" if desired == 0 else ""
        return (Next("any", None, f"{waits}{wakes}"),)
    least = statuses.whole(rules.get("minReplicas"))
    most = statuses.whole(rules.get("maxReplicas"))
    found = []
    limit = statuses.mapping(status.get("scaling")).get("limit")
    if most is not None and desired >= most:
        found.append(Next("more", None, f"never: maxReplicas is {most}"))
    elif limit == Limit.CEILING.value:
        found.append(Next("more", None, "when what the verdict names allows more"))
    elif desired == 0:
        found.append(
            Next("more", None, "with the first request, or before it where one is expected")
        )
    else:
        found.append(Next("more", None, "with any look, every 2s, that finds more needed"))
    least = 1 if least is None else least
    if desired > least and limit == Limit.FLOOR.value:
        return (*found, Next("fewer", None, "when what the verdict names allows fewer"))
    if desired <= least:
        none = "never: there is none" if desired == 0 else f"never: minReplicas is {least}"
        return (*found, Next("fewer", None, none))
    fewer = "zero" if desired == 1 else "fewer"
    scaling = statuses.mapping(status.get("scaling"))
    ends = statuses.unix(scaling.get("fewerNotBefore"))
    if ends is not None and ends > now:
        words = f"not before then, in {statuses.duration(ends - now)}; later where requests come, "
        words += "and earlier only where the bounds change"
        found.append(Next(fewer, str(scaling["fewerNotBefore"]), words))
    else:
        found.append(Next(fewer, None, "with any look that finds fewer needed and expected"))
    return tuple(found)


def _windows(known: Scaling | None, status: Mapping[str, Any], now: float) -> list[Next]:
    """When the schedule changes the bounds, or asks for replicas ahead of that."""
    if known is None:
        return []
    lead_s = lead_in(statuses.mapping(status.get("startup"))) or DEFAULT_LEAD_S
    entries = schedule.valid(schedule.entries_of(known))
    moment = schedule.next_change(entries, now, lead_s)
    if moment is None:
        return []
    words = "a window of the schedule opens or closes, or its replicas are asked for ahead"
    return [Next("bounds", rfc3339(moment), words)]


def _retries(status: Mapping[str, Any]) -> list[Next]:
    """When types of accelerators that brought no node are asked for again."""
    found = []
    for each in statuses.mappings(status.get("capacity")):
        name, at = statuses.text(each.get("accelerator")), statuses.text(each.get("retryAt"))
        if name is not None and at is not None:
            found.append(Next("retry", at, f"{name}, which brought no node, is asked for again"))
    return found
