"""What one look at the cluster found, before anything is decided.

`observe` builds an `Observed` from caches and a few reads; every decision of a pass is made from
this one value, so that two decisions never see two different worlds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from stoker.api import v1alpha1
from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model.inventory import Inventory, Node
from stoker.model.load import Load
from stoker.model.location import Location, UsedCache
from stoker.model.past import Past
from stoker.model.strain import Strain
from stoker.model.timing import Seen
from stoker.naming import Component


@dataclass(frozen=True, slots=True)
class Key:
    """Namespace and name of a service, or of a cache."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class ScaledBy:
    """Who else set the replicas of a workload last, as the API server keeps it."""

    manager: str
    time: str


@dataclass(frozen=True, slots=True)
class ObservedObject:
    """A child object as the API server has it."""

    kind: str
    name: str
    uid: str
    resource_version: str
    owner_uid: str | None  # uid of the controlling owner
    body: Mapping[str, Any]
    scaled_by: ScaledBy | None = None  # None: replicas are as we set them


@dataclass(frozen=True, slots=True)
class ContainerFailure:
    """Why a container of a pod does not run, or ended last."""

    container: str
    reason: str  # ImagePullBackOff, CrashLoopBackOff, OOMKilled, Error, …
    message: str
    exit_code: int | None = None
    termination: str | None = None  # the raw termination message
    finished: float | None = None  # Unix seconds


@dataclass(frozen=True, slots=True)
class ObservedPod:
    """One pod of the service. Times in Unix seconds."""

    name: str
    uid: str
    component: Component
    revision: str | None
    phase: str
    ready: bool
    deleting: bool
    ip: str | None
    node: str | None
    created: float
    restarts: int
    scheduled: bool
    unschedulable: str | None  # the scheduler's message, when it said no
    failures: tuple[ContainerFailure, ...] = ()
    result: str | None = None  # what a container that ended well left as its termination message
    # When a node was found, the engine's container began to run, and the pod became ready.
    scheduled_at: float | None = None
    started_at: float | None = None
    ready_at: float | None = None
    replica_set: str | None = None  # that controls it
    deletion_cost: int = 0
    gated: bool = False  # somebody keeps it from the scheduler, as a queue does
    awaits_model: bool = False  # its node does not have the model yet
    asks: tuple[tuple[str, int], ...] = ()  # extended resources, and how many of each
    ranks: int = 1  # that it computes, where it asks for none
    selector: tuple[tuple[str, str], ...] = ()  # of nodes


class Owned(Protocol):
    """What a user made: a service or a cache. Objects are made for it, and words are said of it."""

    @property
    def kind(self) -> str:
        """InferenceService or ModelCache."""

    @property
    def key(self) -> Key:
        """Namespace and name."""

    @property
    def uid(self) -> str:
        """Of this very object."""

    @property
    def generation(self) -> int:
        """Of its spec."""

    @property
    def status(self) -> Mapping[str, Any]:
        """As last written."""


@dataclass(frozen=True, slots=True)
class ObservedService:
    """The user's object: spec parsed at the door, status as last written."""

    kind: ClassVar[str] = v1alpha1.KIND
    key: Key
    uid: str
    generation: int
    resource_version: str
    spec: InferenceServiceSpec | None  # None when it cannot be parsed; see `spec_error`
    spec_error: str | None
    annotations: Mapping[str, str]
    status: Mapping[str, Any]
    deleting: bool


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that one pass knows about one service."""

    service: ObservedService
    objects: tuple[ObservedObject, ...]
    pods: tuple[ObservedPod, ...]
    # Where the model lies; None: nowhere yet, for which `cache` has the reason.
    location: Location | None = None
    # The ModelCache that the model comes from; None where it is the user's own folder.
    cache: UsedCache | None = None
    # Claims the service names: phase (Bound, Pending, Lost), or None when there is no such claim.
    claims: Mapping[str, str | None] = field(default_factory=dict)
    # Uids of those claims that exist.
    claim_uids: Mapping[str, str] = field(default_factory=dict)
    # Facts that other services of the namespace know of this service's model; their JSON.
    shared_facts: str | None = None
    # What nodes have that can reach the model's volume; None where nodes are not read.
    inventory: Inventory | None = None
    # The nodes that its pods are on, as far as nodes are read, by name.
    nodes: Mapping[str, Node] = field(default_factory=dict)
    # Tokens that the KV cache of each ready engine pod holds, as the engine says, by pod.
    kv_tokens: Mapping[str, int] = field(default_factory=dict)
    # The last two windows of times of the revision that the status names, the older first.
    seen: tuple[Seen, ...] = ()
    # The last windows of how full its replicas were, the older first.
    strains: tuple[Strain, ...] = ()
    # The newest look at frontends and engines, complete or not.
    load: Load | None = None
    past: Past = field(default_factory=Past)
    # What the API server said when it refused to make the Job that reads facts.
    job_refused: str | None = None
    # (kind, name) of objects that exist under our names but belong to somebody else.
    taken: frozenset[tuple[str, str]] = frozenset()

    def object(self, kind: str, name: str) -> ObservedObject | None:
        """Our child of that kind and name, if it exists."""
        for candidate in self.objects:
            if candidate.kind == kind and candidate.name == name:
                return candidate
        return None
