"""How full the replicas of a revision were over a while: what other places are judged by.

Two things of an engine fill up: its places (requests that it computes at once, `max-num-seqs` of
each data parallel rank) and its KV cache. Which of them is full while requests wait says what to
change. Times are in seconds of one replica, so that a share is one of all replicas' time.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from stoker.model.load import EngineSample
from stoker.model.timing import Timings

# Sequences end one by one, and their places are filled with the next step.
_TAKEN: Final = 0.95
# Room in the cache for a quarter more of what is there; and so full that the picker sends a replica
# nothing more (`render.frontend_picker`).
_ROOM: Final = 0.8
FULL: Final = 0.9


@dataclass(frozen=True, slots=True)
class Strain:
    """All replicas of one revision together, over a window."""

    revision: str
    places: int  # of one replica
    counted: Timings = field(default_factory=Timings)
    seconds: float = 0.0  # that were looked at
    crowded_s: float = 0.0  # every place taken, requests waiting, room in the cache
    short_s: float = 0.0  # the cache full and requests waiting, or requests put off for it
    running_s: float = 0.0  # integral of the running requests
    cache_s: float = 0.0  # integral of the share of the cache in use
    most: int = 0  # requests that ran at once
    most_cache: float = 0.0  # share of the cache in use

    def plus(self, sample: EngineSample, counted: Timings, held: int, seconds: float) -> "Strain":
        """With a stretch that began so, while so many requests were held for the service.

        Where the cache in use is not told, nothing can be said of that stretch.
        """
        cache = sample.kv_cache
        if cache is None:
            return self
        waits = sample.waiting + held > 0
        taken = sample.running >= _TAKEN * self.places
        crowded = taken and waits and cache <= _ROOM
        short = counted.preemptions > 0 or (cache >= FULL and waits)
        return Strain(
            revision=self.revision,
            places=self.places,
            counted=self.counted.plus(counted),
            seconds=self.seconds + seconds,
            crowded_s=self.crowded_s + seconds * crowded,
            short_s=self.short_s + seconds * short,
            running_s=self.running_s + seconds * sample.running,
            cache_s=self.cache_s + seconds * cache,
            most=max(self.most, sample.running),
            most_cache=max(self.most_cache, cache),
        )

    def and_also(self, other: "Strain") -> "Strain":
        """Two windows of the same revision as one."""
        return replace(
            self,
            counted=self.counted.plus(other.counted),
            seconds=self.seconds + other.seconds,
            crowded_s=self.crowded_s + other.crowded_s,
            short_s=self.short_s + other.short_s,
            running_s=self.running_s + other.running_s,
            cache_s=self.cache_s + other.cache_s,
            most=max(self.most, other.most),
            most_cache=max(self.most_cache, other.most_cache),
        )

    @property
    def crowded(self) -> float:
        """Share of the time in which a place was all that was missing."""
        return self.crowded_s / self.seconds if self.seconds else 0.0

    @property
    def short(self) -> float:
        """Share of the time in which room in the cache was missing."""
        return self.short_s / self.seconds if self.seconds else 0.0

    @property
    def fit(self) -> float:
        """Requests as they came that the whole cache holds; infinite where it held none of them."""
        return self.running_s / self.cache_s if self.cache_s else float("inf")

    @property
    def put_off(self) -> float:
        """Times that a request was put off and computed again, in the mean."""
        return self.counted.preemptions / self.counted.requests if self.counted.requests else 0.0
