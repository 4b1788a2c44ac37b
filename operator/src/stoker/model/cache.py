"""What one look found of a ModelCache, and what the administrator decided for all of them.

As for services, every decision of a pass is made from one `ObservedCache`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from stoker.api import modelcache
from stoker.api.modelcache import CacheStorage, ModelCacheSpec
from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model.inventory import Node
from stoker.model.observed import Key, ObservedObject, ObservedPod
from stoker.model.plan import Apply, Delete, Event
from stoker_worker.cachecontract import Progress


@dataclass(frozen=True, slots=True)
class CachePlatform:
    """The administrator's side. Sizes in bytes, times in seconds."""

    worker_image: str
    operator_namespace: str
    storage: CacheStorage  # where a cache says nothing
    storage_class: str | None = None  # of claims that are made; None: the cluster's default
    access_modes: tuple[str, ...] = ("ReadWriteOnce",)
    hub: str = "https://huggingface.co"
    object_endpoint: str = ""
    plain_hosts: tuple[str, ...] = ()
    private_hosts: bool = True
    schemes: frozenset[str] = frozenset({"hf", "s3", "gs", "oci", "https", "pvc"})
    ca_config_map: str | None = None  # of each cache's namespace, with the key ca.crt
    proxies: tuple[tuple[str, str], ...] = ()  # variables of the environment
    # Where no job may connect to, beside link-local addresses: the API server's.
    forbidden_networks: tuple[str, ...] = ()
    max_bytes: int = 0  # 0: no limit
    verify_every_s: float | None = None
    compile_bytes: int = 2 * 2**30  # room for compiled kernels on a claim that is made
    allow_pickle: bool = False
    allow_code: bool = False
    label_nodes: bool = False  # those that hold a model of a cache that is kept per node
    parallel: int = 8  # connections of one job
    patience_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class CacheObject:
    """The user's object: spec parsed at the door, status as last written."""

    kind: ClassVar[str] = modelcache.KIND
    key: Key
    uid: str
    generation: int
    resource_version: str
    spec: ModelCacheSpec | None  # None when it cannot be parsed; see `spec_error`
    spec_error: str | None
    annotations: Mapping[str, str]
    status: Mapping[str, Any]
    deleting: bool


@dataclass(frozen=True, slots=True)
class CacheClaim:
    """The claim that the spec asks for, as the API server has it. Sizes in bytes."""

    name: str
    phase: str  # Bound, Pending, Lost
    uid: str
    owner_uid: str | None  # of the controlling owner
    resource_version: str = "0"
    labels: Mapping[str, str] = field(default_factory=dict)
    storage_class: str | None = None
    access_modes: tuple[str, ...] = ()
    volume_mode: str | None = None
    requested: int = 0
    capacity: int = 0  # 0 while it is not bound
    deleting: bool = False
    expandable: bool | None = None  # None: nobody tells
    one_node: bool = False  # whether only one node at a time can mount it


@dataclass(frozen=True, slots=True)
class User:
    """A service that uses the cache."""

    key: Key
    spec: InferenceServiceSpec


@dataclass(frozen=True, slots=True)
class ObservedCache:
    """Everything that one pass knows about one cache."""

    cache: CacheObject
    objects: tuple[ObservedObject, ...] = ()  # but the claim
    pods: tuple[ObservedPod, ...] = ()
    claim: CacheClaim | None = None
    users: tuple[User, ...] = ()  # by name; those whose spec can be read
    # Nodes that have the claim's volume now, where it goes to one node at a time.
    held_on: tuple[str, ...] = ()
    # Folders on the same claim that others want.
    others: tuple[str, ...] = ()
    # Nodes that reach the volume, where the cache is kept per node; None where they are not read.
    nodes: tuple[Node, ...] | None = None
    # Of those, where a pod of a service waits for the model.
    waiting_on: frozenset[str] = frozenset()
    # Nodes where an engine's worker found a bad file of this very content, and when, in Unix
    # seconds.
    corrupt: Mapping[str, float] = field(default_factory=dict)
    progress: Mapping[str, Progress] = field(default_factory=dict)  # by pod uid
    # Whether the API server takes image volumes; None where nobody asked, or it does not say.
    image_volumes: bool | None = None
    # (kind, name) of objects that exist under our names but belong to somebody else.
    taken: frozenset[tuple[str, str]] = frozenset()

    def object(self, kind: str, name: str) -> ObservedObject | None:
        """Our child of that kind and name, if it exists."""
        for candidate in self.objects:
            if candidate.kind == kind and candidate.name == name:
                return candidate
        return None


@dataclass(frozen=True, slots=True)
class NodeLabel:
    """Whether a node is to carry the label of a model that it holds."""

    node: str
    key: str
    wanted: bool


@dataclass(frozen=True, slots=True)
class CachePlan:
    """Actions in order, then the status, then the events; and when to look again."""

    actions: tuple[Apply | Delete, ...]
    status: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    wake_at: float | None = None  # monotonic seconds; None: only when something changes
    labels: tuple[NodeLabel, ...] = ()  # a courtesy to the scheduler: none may be lost by it
