"""Which replicas wait for nodes that do not come, and what is asked for instead.

    asked for ── deadline ──► withdrawn ── pause ──► asked for again ── deadline ──► withdrawn …
        └ a node came: forgotten                        └ a node came: forgotten

A pod that no node can take keeps its claim on a node request, or on quota, for as long as it is
there. So one that has waited longer than nodes take to come is withdrawn: no more replicas are
asked for than have a node, until the pause is over. Each attempt that brings nothing doubles the
pause; one that brings something begins with the first pause again.

The deadline is a multiple of the wait that was measured on the same type (`status.startup`); where
none was, what the administrator says, fifteen minutes by default, as node autoscalers give a node.

Only what the scheduler refuses counts. A pod that has a node and does not get ready is another
matter (`failures`), and so is one that waits for a volume, or in somebody's queue (a gated pod):
another node would not help it. Pods that quota forbids are not made, and hold nothing.

What was refused stands in the status, by type, so that it outlives the operator; a change of what
is asked for forgets it (`fallback`). When an attempt ended is the end of its pause less the pause.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from stoker.model.moment import rfc3339
from stoker.model.observed import Observed, ObservedPod
from stoker.model.platform import Platform
from stoker.naming import Component
from stoker.plan.rollout import RevisionState
from stoker.plan.texts import cut

# Waits for nodes vary; so many times the mean is no wait any more.
_MULTIPLE: Final = 3.0
# The learned deadline stays within these shares of the administrator's.
_LEAST, _MOST = 1 / 3, 4.0
_LONGEST_PAUSE_S: Final = 3600.0
# The status keeps so many types, those that are asked for again last.
_ENTRIES: Final = 3
_VOLUME: Final = re.compile(r"persistentvolumeclaim", re.IGNORECASE)
_SAID: Final = " The scheduler said: "
_SAID_LIMIT: Final = 160
CONDITION: Final = "Schedulable"


@dataclass(frozen=True, slots=True)
class Refused:
    """A type that brought no node in time. Times in whole Unix seconds."""

    accelerator: str
    granted: int  # replicas of the service that had a node when the others were withdrawn
    since: float  # when the first of those that never got one was asked for
    retry_at: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Capacity:
    """What is known of nodes that did not come. Times in Unix seconds."""

    here: str = ""  # the type that is carried out
    refused: tuple[Refused, ...] = ()
    fresh: tuple[Refused, ...] = ()  # those of this very look
    waiting: int = 0  # pods that wait for a node
    until: float | None = None  # when the first of them is withdrawn
    said: str = ""  # the scheduler's words
    now: float = 0.0

    def of(self, name: str) -> Refused | None:
        """What is known of a type."""
        return next((each for each in self.refused if each.accelerator == name), None)

    def closed(self, name: str) -> bool:
        """Whether a type is not asked for now."""
        found = self.of(name)
        return found is not None and self.now < found.retry_at

    @property
    def limit(self) -> int | None:
        """Replicas to ask for at most; None: as many as are wanted."""
        found = self.of(self.here)
        return found.granted if found is not None and self.now < found.retry_at else None

    @property
    def changes_at(self) -> float | None:
        """When the passing of time alone changes something."""
        times = [each.retry_at for each in self.refused if each.retry_at > self.now]
        return min((*times, *(() if self.until is None else (self.until,))), default=None)

    @property
    def words(self) -> str:
        """The scheduler's own, as a sentence to be appended."""
        return f"{_SAID}{self.said}" if self.said else ""


def look(
    observed: Observed,
    here: str,
    types: tuple[str, ...],
    states: Iterable[RevisionState],
    platform: Platform,
    *,
    wanted: int,
    now: float,
) -> Capacity:
    """What the pods and the status say.

    Parameters
    ----------
    here
        The type that the revision of the status runs on.
    types
        All types that may be chosen, the preferred one first.
    wanted
        Replicas that are wanted in all.
    now
        Unix seconds.
    """
    status = observed.service.status
    current = str(status.get("revision", ""))
    placed = {current: 0, **{state.name: state.placed for state in states}}
    known = _relevant(stored(status), here, types, now)
    entry = known.get(here)
    deadline = deadline_s(status, here, platform)
    pending = [
        pod
        for pod in waiting_pods(observed.pods)
        # Of a revision that was given up, pods may be left for a moment.
        if pod.revision == current or placed.get(pod.revision or "", 0) > 0
    ]
    ends = {pod.name: _begin(pod, entry, platform) + deadline for pod in pending}
    total = sum(placed.values())
    fresh: tuple[Refused, ...] = ()
    if any(end <= now for end in ends.values()):
        oldest = min(pod.created for pod in pending)
        entry = refuse(entry, here, total, oldest, now=now, platform=platform)
        known[here], fresh = entry, (entry,)
    elif entry is not None and now >= entry.retry_at and _came(pending, wanted, placed[current]):
        known.pop(here)
    return Capacity(
        here=here,
        refused=_kept(known.values()),
        fresh=fresh,
        waiting=len(pending),
        until=min(ends.values(), default=None) if not fresh else None,
        said=_words(pending) or (_told(status) if known else ""),
        now=now,
    )


def waiting_pods(pods: Iterable[ObservedPod]) -> list[ObservedPod]:
    """Pods of engines that the scheduler has refused for want of a node, the oldest first."""
    found = (
        pod
        for pod in pods
        if pod.component in {Component.ENGINE, Component.FOLLOWER}
        and not pod.deleting
        and pod.unschedulable is not None
        and not pod.gated
        and not waits_for_volume(pod.unschedulable)
    )
    return sorted(found, key=lambda pod: (pod.created, pod.name))


def waits_for_volume(said: str) -> bool:
    """Whether the scheduler speaks of a claim that is not bound, or not there."""
    return _VOLUME.search(said) is not None


def deadline_s(status: Mapping[str, Any], accelerator: str, platform: Platform) -> float:
    """Seconds after which no node is expected any more for a pod on that type."""
    startup = status.get("startup")
    if not isinstance(startup, Mapping) or startup.get("accelerator") != accelerator:
        return platform.node_wait_s
    node = startup.get("nodeSeconds")
    if not isinstance(node, int | float) or not math.isfinite(node):
        return platform.node_wait_s
    usual = platform.node_wait_s
    return max(_LEAST * usual, min(_MULTIPLE * node, _MOST * usual))


def pause_s(attempts: int, platform: Platform) -> float:
    """Seconds until a type is asked for again after so many attempts: doubling, to an hour."""
    first = platform.node_retry_s
    return min(first * 2.0 ** min(max(0, attempts - 1), 20), max(first, _LONGEST_PAUSE_S))


def refuse(
    entry: Refused | None,
    accelerator: str,
    placed: int,
    oldest: float,
    *,
    now: float,
    platform: Platform,
) -> Refused:
    """After one more attempt that did not bring all that was asked for."""
    progress = entry is None or placed > entry.granted
    attempts = 1 if entry is None or progress else entry.attempts + 1
    return Refused(
        accelerator,
        placed,
        math.floor(oldest if entry is None or progress else entry.since),
        math.ceil(now + pause_s(attempts, platform)),
        attempts,
    )


def stored(status: Mapping[str, Any]) -> dict[str, Refused]:
    """What a status holds; entries that make no sense are left out."""
    found = {}
    given = status.get("capacity")
    for each in given if isinstance(given, list) else ():
        try:
            entry = Refused(
                str(each["accelerator"]),
                max(0, int(each["granted"])),
                _unix(each["since"]),
                _unix(each["retryAt"]),
                max(1, int(each["attempts"])),
            )
        except (KeyError, TypeError, ValueError):
            continue
        found[entry.accelerator] = entry
    return found


def status_of(capacity: Capacity) -> list[dict[str, Any]]:
    """As status.capacity holds it."""
    return [
        {
            "accelerator": each.accelerator,
            "granted": each.granted,
            "since": rfc3339(each.since),
            "retryAt": rfc3339(each.retry_at),
            "attempts": each.attempts,
        }
        for each in capacity.refused
    ]


def _unix(text: object) -> float:
    return datetime.fromisoformat(str(text)).timestamp()


def _begin(pod: ObservedPod, entry: Refused | None, platform: Platform) -> float:
    """Since when a pod waits; what was withdrawn has as long again to go."""
    if entry is None:
        return pod.created
    return max(pod.created, entry.retry_at - pause_s(entry.attempts, platform))


def _relevant(
    known: dict[str, Refused], here: str, types: tuple[str, ...], now: float
) -> dict[str, Refused]:
    """Without types that are not asked for any more, or whose turn comes after the present one."""
    place = types.index(here) if here in types else 0
    return {
        name: each
        for name, each in known.items()
        if name == here or (name in types and (now < each.retry_at or types.index(name) < place))
    }


def _came(pending: list[ObservedPod], wanted: int, placed: int) -> bool:
    """Whether all that is wanted has a node now; at zero nobody knows."""
    return not pending and 0 < wanted <= placed


def _kept(entries: Iterable[Refused]) -> tuple[Refused, ...]:
    last = sorted(entries, key=lambda each: (-each.retry_at, each.accelerator))[:_ENTRIES]
    return tuple(sorted(last, key=lambda each: each.accelerator))


def _words(pending: list[ObservedPod]) -> str:
    said = (pending[0].unschedulable or "") if pending else ""
    return cut(said, _SAID_LIMIT)


def _told(status: Mapping[str, Any]) -> str:
    """The scheduler's words of the last pass: the pods that they were about are gone."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == CONDITION:
            return str(condition.get("message", "")).partition(_SAID)[2]
    return ""
