"""What /metrics tells of one service, read from its object and its pods."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stoker.model.observed import Key


@dataclass(frozen=True, slots=True)
class ServiceFigures:
    """Numbers by the words that name them. Times in seconds."""

    key: Key
    model: str  # the name that clients send; empty before it is known
    accelerator: str
    engine: str
    objective: str
    replicas: Mapping[str, int]  # desired, ready, pending
    limits: Mapping[str, int]  # min, max
    # Type and reason of conditions that speak against the service.
    conditions: tuple[tuple[str, str], ...] = ()
    targets: Mapping[str, float] = field(default_factory=dict)  # ttft, itl
    shares: Mapping[str, float] = field(default_factory=dict)  # of requests that are to keep them
    accelerators: int | None = None  # of one replica
    flops: float | None = None  # of one replica, dense, in the type that its weights compute in
    bandwidth: float | None = None  # bytes per second of one replica's accelerators' memory
    startup: Mapping[str, float] = field(default_factory=dict)  # node, image, load
    residuals: Mapping[str, float] = field(default_factory=dict)  # measured over planned
    has_budget: bool = False
    waiting_since: float | None = None  # Unix seconds; the oldest pod that no node can take
    deadline_s: float | None = None  # how long nodes may take, where a pod waits for one
