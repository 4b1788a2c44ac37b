"""Now, as an argument. The core never asks a clock.

Two clocks, because each lies in its own way: the monotonic one measures windows and wake-ups and
means nothing to another process; the Unix one is what pods and people write down and may jump.
"""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Moment:
    """One reading of both clocks, in seconds."""

    monotonic: float
    unix: float

    def rfc3339(self, monotonic: float | None = None) -> str:
        """As the API server writes it; also for another time given on the monotonic clock."""
        return rfc3339(self.unix if monotonic is None else self.unix - (self.monotonic - monotonic))


def rfc3339(unix: float) -> str:
    """Unix seconds as the API server writes a time."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def earliest(*times: float | None) -> float | None:
    """The first of those that are known."""
    return min((time for time in times if time is not None), default=None)
