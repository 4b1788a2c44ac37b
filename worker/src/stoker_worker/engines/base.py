"""What an engine driver answers: values only, no input or output."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, Mapping, Optional, Protocol, Sequence, Tuple

from stoker_worker.contract import Termination, WorkerConfig
from stoker_worker.events import Sample


@dataclass(frozen=True)
class Request:
    """One HTTP request to the engine; without a body it is a GET."""

    path: str
    body: Optional[bytes] = None
    headers: Dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """One pod's place in a group that is one replica, once all its pods are there."""

    nodes: int
    rank: int  # 0 is the leader
    leader: str  # its address
    port: int  # where the engines meet, on the leader
    address: str  # this pod's own
    interface: str = ""  # the network interface that has it; empty where that is not known


class Driver(Protocol):
    """One engine's dialect."""

    program: str
    """The engine's own command, as its image's entry point calls it."""

    module: str
    """The Python module behind that command."""

    @property
    def health(self) -> Request:
        """The cheapest request that is answered 200 once the model is loaded."""

    @property
    def looks(self) -> Tuple[Request, ...]:
        """What a heartbeat reads, in the order that `read_sample` takes the bodies."""

    @property
    def version(self) -> Request:
        """What the engine says of its version."""

    def read_version(self, body: bytes) -> str:
        """Return the version in that body; empty where there is none."""

    @property
    def metrics(self) -> Request:
        """The page of metrics that `load_lines` takes."""

    def load_lines(self, body: bytes) -> bytes:
        """Return the lines of the engine's metrics that scaling needs, as they are."""

    def arguments(self, config: WorkerConfig, place: Optional[Place] = None) -> List[str]:
        """Return what follows the engine's command; ContractError refuses what we own."""

    def environment(self, base: Mapping[str, str], place: Optional[Place] = None) -> Dict[str, str]:
        """Complete the pod's environment for the engine."""

    def probes(
        self, config: WorkerConfig, tokens: int, env: Mapping[str, str]
    ) -> Tuple[Request, ...]:
        """Return requests for a few tokens, each for models that do not know the one before."""

    def is_answer(self, body: bytes) -> bool:
        """Whether the body of a 200 holds something that the model computed."""

    def read_sample(self, bodies: Sequence[Optional[bytes]]) -> Optional[Sample]:
        """Turn a heartbeat's bodies into counters; None when the first cannot be read."""

    def start_profiler(self, steps: int) -> Request:
        """Return what makes an engine that was started with its profiler record."""

    @property
    def stop_profiler(self) -> Request:
        """What makes it write the trace; it is answered once that is done."""

    def explain(self, code: int, log: Sequence[str]) -> Termination:
        """Say from the last lines of its log why the engine ended."""
