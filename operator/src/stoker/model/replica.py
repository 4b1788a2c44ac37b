"""What one replica of a service is, once the spec has met the administrator's catalogue.

`plan.replica` makes it, `render.engine` turns it into a pod. All mappings are sorted tuples of
pairs, so that equal replicas are equal values and give equal bytes.
"""

from dataclasses import dataclass

from stoker.model.platform import Mount

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Accelerators:
    """What the replica runs on: how many of which resource, and on which nodes."""

    names: tuple[str, ...]  # catalogue entries, the preferred one first
    resource: str | None  # extended resource; None for processors
    count: int
    # Node labels of each entry, in the order of `names`.
    selectors: tuple[Pairs, ...]
    tolerations: tuple[Pairs, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """What a plan says of a replica, or explicit fields where there is no plan."""

    args: Pairs = ()
    env: Pairs = ()
    # Catalogue name; None: what the spec or the administrator names, with the spec's ranks.
    accelerator: str | None = None
    ranks: int = 1  # accelerators of one replica, where `accelerator` is said


@dataclass(frozen=True, slots=True)
class PodAdditions:
    """What the user added to the pods, already allowed."""

    node_selector: Pairs = ()
    tolerations: tuple[Pairs, ...] = ()
    labels: Pairs = ()
    annotations: Pairs = ()
    requests: Pairs = ()
    limits: Pairs = ()
    priority_class: str | None = None
    runtime_class: str | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """Which nodes may take a pod: all that `render.pods` asks of a replica for that."""

    accelerators: Accelerators
    additions: PodAdditions
    image_pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Replica:
    """Everything that decides how the pods of a replica look. Durations in seconds."""

    engine: str
    image: str
    python: str
    claim: str  # '' where the model lies in an image
    folder: str  # below the root of the claim or image, '' for the root itself
    served_names: tuple[str, ...]
    args: Pairs
    env: Pairs
    mounts: tuple[Mount, ...]
    accelerators: Accelerators
    additions: PodAdditions
    shared_memory: str
    worker_image: str
    image_pull_secrets: tuple[str, ...]
    settle_s: float
    drain_s: float
    # Whether its engine may read weights that are pickles.
    allow_pickle: bool = False
    # What nodes carry that have the model already, where it lies per node; None where it does not.
    node_label: str | None = None
    # Folder of its claim for what its engines compile, '' where nothing is kept; and its bytes.
    compiled: str = ""
    compiled_bytes: int = 0
    # Whether its pods carry annotations for a Prometheus.
    scrape_annotations: bool = False
    # Whether its engine is started with its profiler.
    profiling: bool = False
    # The image that holds the model, by its digest; '' where a claim does.
    model_image: str = ""
    # Weights that are copied into memory before the engine starts; 0: none.
    staged_bytes: int = 0
    # Pods that it spans; they share its accelerators out evenly.
    nodes: int = 1
