"""What one look at a cluster found, with the rights of whoever looks. Values only.

Objects stay as the API server sends them: they may be of another version, and each check reads the
few fields that it needs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stoker.model.observed import Key, ObservedPod
from stoker.naming import Component

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Denied:
    """It may not be read, or was not looked at; `right` says what it takes."""

    right: str


@dataclass(frozen=True, slots=True)
class Absent:
    """It was looked for, and is not there."""


One = Body | Absent | Denied
Many = tuple[Body, ...] | Denied
UNSEEN = Denied("a look that got so far")


@dataclass(frozen=True, slots=True)
class Api:
    """The API server itself."""

    version: str = ""
    problem: str = ""  # why it does not answer


@dataclass(frozen=True, slots=True)
class Kinds:
    """What the API server serves, as discovery and its schema tell everybody."""

    served: Mapping[str, frozenset[str]] | Denied = UNSEEN  # plurals by group and version
    # Paths of fields that this command knows and the server's schema lacks, by kind.
    lacking: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operator:
    """The operator's own objects."""

    deployments: Many = UNSEEN
    pods: Many = UNSEEN
    lease: One = UNSEEN
    moves: bool = False  # the Lease was renewed while we looked: clocks that differ do not matter
    config: One = UNSEEN  # the administrator's file, parsed
    lacks: tuple[str, ...] | Denied = UNSEEN  # rights that its account does not have


@dataclass(frozen=True, slots=True)
class Around:
    """What surrounds a service in its namespace, and the nodes."""

    namespace: One = UNSEEN
    pods: Many = UNSEEN  # of the service and of its cache's jobs
    deployments: Many = UNSEEN  # of the service
    events: Many = UNSEEN  # of the namespace
    claims: Mapping[str, One] = field(default_factory=dict)  # that the service names
    caches: Many = UNSEEN  # of the namespace
    secrets: Mapping[str, One] = field(default_factory=dict)  # metadata alone, never the content
    quotas: Many = UNSEEN
    policies: Many = UNSEEN  # of the namespace
    nodes: Many = UNSEEN
    lines: Mapping[str, str] = field(default_factory=dict)  # last log lines by pod


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tiny request brought."""

    seconds: float
    problem: str = ""  # why it brought no token


@dataclass(frozen=True, slots=True)
class World:
    """Everything that was seen. `now` in Unix seconds, of the machine that looks."""

    now: float
    key: Key | None = None  # None: no service was named
    api: Api = Api()
    kinds: Kinds = Kinds()
    operator: Operator = Operator()
    service: One = UNSEEN
    around: Around = Around()
    answer: Answer | Denied | None = None  # None: nobody asked for one

    @property
    def body(self) -> Body:
        """The service; empty where there is none to be read."""
        return {} if isinstance(self.service, (Absent, Denied)) else self.service


def several(found: Many) -> tuple[Body, ...]:
    """What there is; nothing where it may not be read."""
    return () if isinstance(found, Denied) else found


def known(found: One) -> Body:
    """The object; empty where there is none to be read."""
    return {} if isinstance(found, (Absent, Denied)) else found


def of_component(pods: Iterable[ObservedPod], *components: Component) -> tuple[ObservedPod, ...]:
    """Those of these parts of the service."""
    return tuple(pod for pod in pods if pod.component in components)
