"""What one pass wants done, as a value that can be printed before it is carried out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stoker.model.past import Past

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement: one CamelCase word for programs, one sentence for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition without its times; the status writer adds those."""

    type: str
    status: str  # True, False, Unknown
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of one whole object.

    `resource_version` is set where the write lowers replicas: it must not overwrite a world that
    the decision has not seen.
    """

    manifest: Manifest
    reason: str
    resource_version: str | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Removal of one object that we own, guarded by its uid."""

    kind: str
    name: str
    uid: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeletionCost:
    """What it costs to lose one of our pods, for its ReplicaSet; guarded by its uid."""

    pod: str
    uid: str
    cost: int


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event: goes with a status write that changes its reason, or with an action."""

    type: str  # Normal, Warning
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Actions in order, then the status, then the events; and when to look again."""

    actions: tuple[Apply | Delete, ...]
    status: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    wake_at: float | None = None  # monotonic seconds; None: only when something changes
    notes: tuple[Verdict, ...] = ()  # why this plan and no other, for the log and `stoker why`
    costs: tuple[DeletionCost, ...] = ()  # written before the actions
    reports: tuple[Event, ...] = ()  # posted once the actions are carried out
    past: Past = field(default_factory=Past)  # what is true then
    # The ModelCache to make, where the model's source has none: the one object without an owner.
    cache: Manifest | None = None
