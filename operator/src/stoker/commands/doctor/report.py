"""What was found, as one value for both outputs."""

from dataclasses import dataclass
from typing import Final

from stoker.commands import statuses
from stoker.commands.doctor.advice import Advice
from stoker.commands.doctor.bounds import Bound
from stoker.commands.doctor.links import Link, State, first_broken
from stoker.commands.doctor.seen import Body
from stoker.commands.exits import Exit
from stoker.commands.findings import findings_of

_WORDS: Final = {
    State.BROKEN: "broken",
    State.WAITS: "not ready yet",
    State.OK: "healthy",
}


@dataclass(frozen=True, slots=True)
class ServiceLine:
    """One service among others, by its status alone."""

    service: str
    healthy: bool
    words: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is told."""

    subject: str  # namespace/name, or "platform"
    links: tuple[Link, ...]
    services: tuple[ServiceLine, ...] = ()
    note: str = ""  # what could not be looked at
    advice: tuple[Advice, ...] = ()  # of a service without a broken link
    bound: Bound | None = None

    @property
    def cause(self) -> Link | None:
        """The first broken link."""
        return first_broken(self.links)

    @property
    def state(self) -> str:
        """broken, not ready yet or healthy."""
        if self.cause is not None:
            return _WORDS[State.BROKEN]
        waits = any(link.state is State.WAITS for link in self.links)
        return _WORDS[State.WAITS if waits else State.OK]

    @property
    def exit(self) -> Exit:
        """As a script sees it."""
        if self.cause is not None:
            return self.cause.exit
        return Exit.DONE if all(each.healthy for each in self.services) else Exit.UNHEALTHY


def line_of(body: Body, now: float) -> ServiceLine:
    """A service in one line, as `stoker why` begins."""
    metadata = statuses.mapping(body.get("metadata"))
    name = f"{metadata.get('namespace', 'default')}/{metadata.get('name', '?')}"
    found = findings_of(body, now)
    bad = next((each for each in found if each.problem), None)
    if bad is not None:
        return ServiceLine(name, healthy=False, words=f"{bad.reason}: {bad.message}")
    if found:
        return ServiceLine(name, healthy=True, words=f"{found[0].reason}: {found[0].message}")
    status = statuses.mapping(body.get("status"))
    ready = statuses.condition(status, "Ready")
    said = statuses.text(ready.get("message")) or "its status says nothing yet"
    return ServiceLine(name, healthy=True, words=said)
