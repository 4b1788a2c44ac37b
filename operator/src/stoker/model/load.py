"""One sample of a service's load. Absent, stale, not-a-number and zero are four different things.

A sample that could not be had is listed in `Load.problems` and never turned into a zero; whoever
decides looks at `Load.complete` first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from stoker.model.timing import Buckets, Timings

# A problem that comes with every new service and with every new frontend: nobody is silent.
NO_FRONTEND: Final = "no frontend pod is ready"


@dataclass(frozen=True, slots=True)
class FrontendSample:
    """What one frontend pod reported."""

    pod: str
    held: int  # requests waiting for a replica (flow control's queue)
    active: int  # API requests in progress, held ones included
    requests_total: float  # API requests since the proxy started: a counter
    uid: str = ""  # of the pod; empty where that is not known


@dataclass(frozen=True, slots=True)
class EngineSample:
    """What one ready engine pod reported."""

    pod: str
    running: int
    waiting: int
    kv_cache: float | None  # share of the KV cache in use, 0 to 1
    kv_tokens: int | None = None  # tokens that its KV cache holds, as it says itself
    timings: Timings | None = None  # what it counts of its times; None where it does not tell
    uid: str = ""  # of the pod; empty where that is not known
    started: float | None = None  # when its engine began, in Unix seconds, as its worker says
    # How many requests and tokens took how long since it began; empty where it does not tell.
    ttft: Buckets = ()
    itl: Buckets = ()


@dataclass(frozen=True, slots=True)
class Load:
    """All samples of one moment. `time` in seconds of the monotonic clock."""

    time: float
    frontends: tuple[FrontendSample, ...]
    engines: tuple[EngineSample, ...]
    problems: tuple[str, ...] = ()  # in words: which pod, what went wrong
    # Those of them that waiting does not mend: an engine that does not write a needed series.
    lacks: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every pod that should report did."""
        return not self.problems

    @property
    def held(self) -> int:
        """Requests held at all frontends."""
        return sum(sample.held for sample in self.frontends)

    @property
    def waiting(self) -> int:
        """Requests waiting inside the engines."""
        return sum(sample.waiting for sample in self.engines)

    @property
    def running(self) -> int:
        """Requests being computed."""
        return sum(sample.running for sample in self.engines)

    @property
    def queue_depth(self) -> int:
        """The signal that scales: held at the frontends plus waiting in the engines."""
        return self.held + self.waiting

    @property
    def requests_total(self) -> float:
        """API requests that all frontends have seen."""
        return sum(sample.requests_total for sample in self.frontends)

    def of_pods(self, uids: Mapping[str, str]) -> "Load":
        """Without the samples of pods that are gone, given the uids of those that are there.

        A pod of the same name is another pod, unless nobody knows whose sample it was.
        """

        def lives(sample: FrontendSample | EngineSample) -> bool:
            return sample.pod in uids and sample.uid in ("", uids[sample.pod])

        frontends = tuple(filter(lives, self.frontends))
        engines = tuple(filter(lives, self.engines))
        if (len(frontends), len(engines)) == (len(self.frontends), len(self.engines)):
            return self
        return replace(self, frontends=frontends, engines=engines)
