"""One sample of a service's load. Absent, stale, not-a-number and zero are four different things.

A sample that could not be had is listed in `Load.problems` and never turned into a zero; whoever
decides looks at `Load.complete` first.
"""

from dataclasses import dataclass

from stoker.model.timing import Timings


@dataclass(frozen=True, slots=True)
class FrontendSample:
    """What one frontend pod reported."""

    pod: str
    held: int  # requests waiting for a replica (flow control's queue)
    active: int  # API requests in progress, held ones included
    requests_total: float  # API requests since the proxy started: a counter


@dataclass(frozen=True, slots=True)
class EngineSample:
    """What one ready engine pod reported."""

    pod: str
    running: int
    waiting: int
    kv_cache: float | None  # share of the KV cache in use, 0 to 1
    kv_tokens: int | None = None  # tokens that its KV cache holds, as it says itself
    timings: Timings | None = None  # what it counts of its times; None where it does not tell


@dataclass(frozen=True, slots=True)
class Load:
    """All samples of one moment. `time` in seconds of the monotonic clock."""

    time: float
    frontends: tuple[FrontendSample, ...]
    engines: tuple[EngineSample, ...]
    problems: tuple[str, ...] = ()  # in words: which pod, what went wrong

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
