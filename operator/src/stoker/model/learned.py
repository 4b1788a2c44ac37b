"""What the autoscaler has learned of one service's demand: counts, as plain values.

`stoker.autoscale.forecast` fills and reads them; they live in `History`. Demands are in replicas,
as real numbers, and are kept in bins of their logarithm.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

# The key of the ConfigMap that it is written down in.
LEARNED: Final = "learned"

# (bin of the demand now, bin of the recent peak or of the time of silence)
Kind = tuple[int, int]
# (bin of what followed, count), by bin
Histogram = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment of the past. Time in monotonic seconds, demand in replicas."""

    time: float
    demand: float
    kind: Kind


@dataclass(frozen=True, slots=True)
class Learned:
    """What followed which kind of moment, and the moments that are still going on."""

    counts: Mapping[Kind, Histogram] = field(default_factory=dict)
    # The last moments, oldest first: as many as the next ones are judged by.
    moments: tuple[Moment, ...] = ()
    quiet_since: float | None = None  # None while there is demand, or before anything was seen
    silence: Kind = (0, 0)  # the kind of silence that the last moment is, or would be
    matured: float | None = None  # the moments up to here have been learned from


@dataclass(frozen=True, slots=True)
class Forecast:
    """The demand that a quantile of moments like this one did not exceed, and from how many."""

    demand: float  # replicas, as a real number
    seen: int  # such moments; 0: nothing is known, and the demand is the recent peak
    words: str
