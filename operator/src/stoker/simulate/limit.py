"""A limit on the requests that one replica computes at once, set by the frontend while it runs.

An engine changes no batch limit at run time, so whoever wants small batches in quiet times and
large ones at the peak has to hold requests back before the engine. These are the rules for that:
each is asked once a second and sees what a frontend can see; requests above the limit are held.
`python -m benchmarks.batch_limit` shows what each of them brings.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Look:
    """What a rule sees."""

    limit: int  # in force, requests per replica
    held: int  # requests at the frontend
    fullest: int  # requests in the replica that has most
    slowest_s: float  # mean step since the last look, of the slowest replica: time between tokens


class Rule(Protocol):
    """A way to set the limit."""

    @property
    def name(self) -> str:
        """As tables show it."""

    @property
    def begins_with(self) -> int:
        """The first limit."""

    def next(self, look: Look) -> int:
        """The limit for the next second; at least 1."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Always the same."""

    requests: int

    @property
    def name(self) -> str:
        """As tables show it."""
        return f"fixed {self.requests}"

    @property
    def begins_with(self) -> int:
        """The first limit."""
        return self.requests

    def next(self, look: Look) -> int:
        """It stays."""
        return look.limit


@dataclass(frozen=True, slots=True)
class ByQueue:
    """Small while little is held, up to large while more is: doubled and halved."""

    small: int
    large: int

    @property
    def name(self) -> str:
        """As tables show it."""
        return f"by queue {self.small} to {self.large}"

    @property
    def begins_with(self) -> int:
        """The first limit."""
        return self.small

    def next(self, look: Look) -> int:
        """Twice as many while requests are held, half as many once half of that is enough."""
        if look.held:
            return min(self.large, look.limit * 2)
        if look.fullest <= look.limit // 2:
            return max(self.small, look.limit // 2)
        return look.limit


@dataclass(frozen=True, slots=True)
class ByPace:
    """As many as keep the time between tokens: one step up, a tenth down (AIMD)."""

    target_s: float
    least: int
    most: int

    @property
    def name(self) -> str:
        """As tables show it."""
        return f"by pace {self.target_s * 1000:g} ms"

    @property
    def begins_with(self) -> int:
        """The first limit."""
        return self.most

    def next(self, look: Look) -> int:
        """Fewer where steps are too long, more where they are short and the limit is what holds."""
        if look.slowest_s > self.target_s:
            return max(self.least, min(look.limit, look.fullest) * 9 // 10)
        if look.fullest >= look.limit and look.slowest_s < 0.9 * self.target_s:
            return min(self.most, look.limit + 1)
        return look.limit
