"""One link of the chain, what a check may say of it, and the walk along the chain.

A check is a pure function of a `World`. The first broken link is the answer: what comes after it
usually breaks with it, so it is not judged unless everything is asked for.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from stoker.commands.doctor.seen import World
from stoker.commands.exits import Exit


@dataclass(frozen=True, slots=True)
class Ok:
    """Nothing is wrong here."""

    words: str = ""


@dataclass(frozen=True, slots=True)
class Waits:
    """Not there yet, and on its way by itself."""

    words: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """It cannot be judged; `right` says what would tell."""

    right: str


@dataclass(frozen=True, slots=True)
class Broken:
    """Where it breaks, and how to mend it."""

    where: str  # the object
    why: str
    fix: str  # what to do; a command where one does it
    exit: Exit = Exit.UNHEALTHY


Outcome = Ok | Waits | Unknown | Broken


class State(StrEnum):
    """What became of a link."""

    OK = "ok"
    WAITS = "waits"
    UNKNOWN = "unknown"
    BROKEN = "broken"
    NOT_JUDGED = "notJudged"


@dataclass(frozen=True, slots=True)
class Check:
    """One link and how it is judged."""

    id: str
    title: str
    judge: Callable[[World], Outcome]


@dataclass(frozen=True, slots=True)
class Link:
    """A link that was judged, as it is shown."""

    id: str
    title: str
    state: State
    words: str = ""
    where: str = ""
    fix: str = ""
    exit: Exit = Exit.DONE


def walk(world: World, checks: Iterable[Check], *, everything: bool = False) -> tuple[Link, ...]:
    """Judge them in their order, up to the first that is broken, or all."""
    found: list[Link] = []
    broken = False
    for check in checks:
        if broken and not everything:
            found.append(Link(check.id, check.title, State.NOT_JUDGED))
            continue
        link = _link(check, check.judge(world))
        broken = broken or link.state is State.BROKEN
        found.append(link)
    return tuple(found)


def first_broken(links: Iterable[Link]) -> Link | None:
    """The cause, as far as one can see."""
    return next((link for link in links if link.state is State.BROKEN), None)


def _link(check: Check, outcome: Outcome) -> Link:
    match outcome:
        case Ok(words):
            return Link(check.id, check.title, State.OK, words)
        case Waits(words):
            return Link(check.id, check.title, State.WAITS, words)
        case Unknown(right):
            return Link(check.id, check.title, State.UNKNOWN, f"not known: that takes {right}")
        case Broken(where, why, fix, status):
            return Link(check.id, check.title, State.BROKEN, why, where, fix, status)
