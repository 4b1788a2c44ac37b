"""What a frontend is rendered from: one frozen value, and the numbers that its parts agree on."""

from dataclasses import dataclass
from typing import Final

from stoker.api.v1alpha1 import Frontend
from stoker.model.platform import Platform
from stoker.naming import Track
from stoker.render.timeouts import Timeouts

# The names of the container ports, for whoever looks for them on a pod.
PORT_API: Final = "http"
PORT_OPS: Final = "ops"
PORT_PICKER_METRICS: Final = "picker-metrics"

# Served on the ops port.
PATH_READY: Final = "/readyz"
PATH_LIVE: Final = "/livez"
PATH_LOAD: Final = "/load"  # a few of Envoy's statistics as JSON
PATH_METRICS: Final = "/metrics"  # those that rules and dashboards use, for Prometheus

# A body is kept until the first byte of the answer, so that the request can be sent again. Larger
# ones are refused with 413: what passes can be retried.
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
# Bodies of held requests that one picker keeps; beyond this new requests are answered with 429.
HELD_BYTES: Final = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TrackPorts:
    """Ports of one track's picker in the frontend pod."""

    grpc: int
    health: int
    metrics: int


@dataclass(frozen=True, slots=True)
class FrontendPorts:
    """Ports of a frontend pod. Tests run several frontends on one machine and choose others."""

    api: int = 8080
    ops: int = 9902
    drain: int = 9903
    admin: int = 9901  # loopback only
    stable: TrackPorts = TrackPorts(grpc=9002, health=9003, metrics=9090)
    candidate: TrackPorts = TrackPorts(grpc=9012, health=9013, metrics=9091)

    def track(self, track: Track) -> TrackPorts:
        """Ports of that track's picker."""
        return self.candidate if track is Track.CANDIDATE else self.stable


@dataclass(frozen=True, slots=True)
class TrackWeight:
    """One track: how much of the traffic it gets and which engine pods are its own.

    Without a revision the track has all engine pods of the service, which is what a rolling change
    wants: old and new replicas share the load while both are ready.
    """

    track: Track
    weight: int = 100
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class FrontendInput:
    """Everything that decides what a frontend looks like."""

    service: str
    namespace: str
    frontend: Frontend
    served_names: tuple[str, ...]  # the first is the main one
    platform: Platform
    timeouts: Timeouts
    tracks: tuple[TrackWeight, ...] = (TrackWeight(Track.STABLE),)
    ports: FrontendPorts = FrontendPorts()
    # host:port that is told when a request arrives after a quiet time; None: nobody is told.
    notify: str | None = None
    access_log: bool = False  # every request instead of server errors only
    api_server_ports: tuple[int, ...] = (443, 6443)

    def __post_init__(self) -> None:
        """Reject what cannot be rendered: these are mistakes of the caller, not of a user."""
        if not self.served_names:
            raise ValueError("a frontend serves at least one model name")
        if not self.tracks or sum(track.weight for track in self.tracks) <= 0:
            raise ValueError("a frontend has at least one track with a weight")
