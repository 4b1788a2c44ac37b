"""What may be waited for, and whether a service's status says that it has come, or never will.

A status is believed only where it is of the spec as it is now (`observedGeneration`), so that
waiting right after a change waits for that change.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stoker.commands.caches import Ending
from stoker.commands.exits import Exit
from stoker.commands.following import Body, Progress
from stoker.commands.inputs import InputError
from stoker.commands.statuses import condition, mapping, text, whole
from stoker.model import reasons

_CONDITION: Final = re.compile(r"condition=(\w+)(?:=(True|False|Unknown))?")
# Of conditions that speak against the service, for a line that says where it is.
_TOLD: Final = ("Stalled", "Ready", "Planned", "Progressing")


@dataclass(frozen=True, slots=True)
class Goal:
    """What is waited for."""

    word: str
    come: Callable[[Mapping[str, Any]], bool]  # of a status that is up to date
    words: str  # once it has come


def _ready(status: Mapping[str, Any]) -> bool:
    good = condition(status, "Ready").get("status") == "True"
    return good and bool(whole(status.get("readyReplicas")))


def _zero(status: Mapping[str, Any]) -> bool:
    return whole(status.get("desiredReplicas")) == 0 and not whole(status.get("replicas"))


def _planned(status: Mapping[str, Any]) -> bool:
    return condition(status, "Planned").get("status") == "True"


def _settled(status: Mapping[str, Any]) -> bool:
    return condition(status, "Progressing").get("reason") == reasons.SETTLED


GOALS: Final = {
    goal.word: goal
    for goal in (
        Goal("ready", _ready, "answers"),
        Goal("zero", _zero, "has no replica"),
        Goal("planned", _planned, "is planned"),
        Goal("settled", _settled, "runs what is wanted"),
    )
}
DELETED: Final = "deleted"


def goal_of(word: str) -> Goal:
    """What the option --for means; `InputError` where it means nothing."""
    if word in GOALS:
        return GOALS[word]
    if word == DELETED:
        return Goal(DELETED, lambda _: False, "is gone")
    found = _CONDITION.fullmatch(word)
    if found is None:
        known = ", ".join([*GOALS, DELETED])
        raise InputError(
            f"--for {word}: write one of {known}, or condition=TYPE or condition=TYPE=False"
        )
    kind, wanted = found[1], found[2] or "True"
    return Goal(
        word,
        lambda status: condition(status, kind).get("status") == wanted,
        f"has {kind}={wanted}",
    )


def judge(body: Body, goal: Goal) -> Ending | None:
    """Whether it has come; an ending with `UNHEALTHY` where it never will."""
    metadata, status = mapping(body.get("metadata")), mapping(body.get("status"))
    name = name_of(body)
    if goal.word == DELETED:
        return None
    if "deletionTimestamp" in metadata:
        return Ending(Exit.UNHEALTHY, f"{name} is being deleted")
    if not _is_seen(metadata, status):
        return None
    if goal.come(status):
        return Ending(Exit.DONE, f"{name} {goal.words}: {line(body)}")
    stalled = condition(status, "Stalled")
    if stalled.get("status") == "True":
        return Ending(
            Exit.UNHEALTHY,
            f"{name} waits for somebody to change something: {stalled.get('reason')}: "
            f"{str(stalled.get('message', '')).rstrip('.')}",
        )
    return None


def _is_seen(metadata: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    generation = whole(metadata.get("generation"))
    seen = whole(status.get("observedGeneration"))
    return seen is not None and (generation is None or seen >= generation)


def name_of(body: Body) -> str:
    """Namespace and name."""
    metadata = mapping(body.get("metadata"))
    return f"{metadata.get('namespace', '')}/{metadata.get('name', '?')}"


def line(body: Body) -> str:
    """Where a service is, in one line."""
    metadata, status = mapping(body.get("metadata")), mapping(body.get("status"))
    if not _is_seen(metadata, status):
        return "the operator has not looked at the spec as it is now"
    wanted = whole(status.get("desiredReplicas"))
    ready = whole(status.get("readyReplicas")) or 0
    parts = [] if wanted is None else [f"{ready} of {wanted} replicas ready"]
    if wanted == 0:
        exist = whole(status.get("replicas"))
        parts = [f"no replica is wanted, {exist} still there" if exist else "no replica is wanted"]
    for kind in _TOLD:
        each = condition(status, kind)
        reason, message = text(each.get("reason")), text(each.get("message"))
        waits = each.get("status") == ("True" if kind in {"Stalled", "Progressing"} else "False")
        if waits and reason is not None:
            parts.append(f"{reason}: {(message or '').rstrip('.')}")
            break
    return "; ".join(parts) or "nothing is decided yet"


def progress(body: Body) -> Progress:
    """How far it is: replicas that answer, of those that are wanted."""
    status = mapping(body.get("status"))
    wanted = whole(status.get("desiredReplicas"))
    ready = whole(status.get("readyReplicas")) or 0
    said = line(body)
    percent = None if not wanted else min(100, 100 * ready // wanted)
    return Progress(name_of(body), said, percent, said)


def as_data(body: Body | None, goal: Goal, ending: Ending) -> dict[str, Any]:
    """How it ended, for programs."""
    status = mapping((body or {}).get("status"))
    return {
        "for": goal.word,
        "done": ending.exit is Exit.DONE,
        "message": ending.words,
        "desired": whole(status.get("desiredReplicas")),
        "ready": whole(status.get("readyReplicas")),
        "exist": whole(status.get("replicas")),
    }
