"""What the administrator decided, as one value: images, catalogues and what users may set."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stoker.catalog.gpus import Gpu


@dataclass(frozen=True, slots=True)
class Mount:
    """A read-only claim of the service's namespace that every engine container mounts."""

    claim: str
    path: str


@dataclass(frozen=True, slots=True)
class EnginePlatform:
    """How one engine is run here (one entry of the engine catalogue)."""

    name: str
    image: str
    python: str = "python3"  # interpreter inside the image, at least 3.9
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    args: Mapping[str, str] = field(default_factory=dict)  # defaults; the user's win
    allowed_args: frozenset[str] = frozenset()
    allowed_env: frozenset[str] = frozenset()
    image_prefixes: tuple[str, ...] = ()  # which other images a user may name
    # Python packages of `image` beyond the stock ones, for techniques that need them.
    plugins: tuple[str, ...] = ()
    concurrency: int = 256  # requests one replica computes at once, unless max-num-seqs says so
    shared_memory: str = "1Gi"  # size of /dev/shm; with the usual 64 MiB the engine core dies


@dataclass(frozen=True, slots=True)
class AcceleratorPlatform:
    """One accelerator type (one entry of the GPU catalogue)."""

    name: str
    resource: str | None  # extended resource, None for cpu
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Platform:
    """The administrator's side of every decision."""

    operator_namespace: str
    worker_image: str
    envoy_image: str
    picker_image: str
    # Not hashed, so that a platform may be a key; compared all the same.
    engines: Mapping[str, EnginePlatform] = field(hash=False)
    accelerators: Mapping[str, AcceleratorPlatform] = field(hash=False)
    default_accelerator: str
    # Hardware of the accelerators that plans can be made for, by their names.
    gpus: Mapping[str, Gpu] = field(default_factory=dict, hash=False)
    cluster_domain: str = "cluster.local"
    # Labels of the namespaces whose pods may read metrics; empty: the operator alone may.
    scrapers: Mapping[str, str] = field(default_factory=dict, hash=False)
    # Of those pods only the ones with these labels; empty: all of them.
    scraper_pods: Mapping[str, str] = field(default_factory=dict, hash=False)
    # Whether new pods carry the annotations that a plain Prometheus finds its targets by.
    scrape_annotations: bool = False
    image_pull_secrets: tuple[str, ...] = ()
    allowed_labels: tuple[str, ...] = ()  # label keys or prefixes ending in '/'
    allowed_annotations: tuple[str, ...] = ()
    allowed_tolerations: tuple[str, ...] = ()  # taint keys
    allowed_priority_classes: tuple[str, ...] = ()
    allowed_runtime_classes: tuple[str, ...] = ()
    # host:port of the operator that frontends tell of a request after a quiet time.
    notify: str | None = None
    # Whether models whose weights are pickles are served.
    allow_pickle: bool = False
    compile_bytes: int = 2 * 2**30  # most that engines may keep of what they compiled; 0: nothing
    # Whether a replica may span pods, as a LeaderWorkerSet.
    groups: bool = False
    # How long a replica may wait for a node where no wait was measured, and how long until it is
    # asked for again.
    node_wait_s: float = 900.0
    node_retry_s: float = 300.0
    # How long replicas are looked at before their fullness says something.
    strain_s: float = 900.0
    settle_s: float = 3.0
    drain_s: float = 120.0
