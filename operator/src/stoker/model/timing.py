"""How fast engines say they are, and at what load: what estimates of time are compared with.

An engine counts since it began: `Timings`. What happened between two looks is the difference, and
differences of all its pods over a while are one `Seen`. Times without the load that they were taken
at say nothing, so both are in it. Tokens and requests are counts, times are in seconds.
"""

import dataclasses
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

# (upper edge in seconds, how many took no longer), edges rising; the last edge is infinite.
Buckets = tuple[tuple[float, float], ...]


def within(buckets: Buckets, seconds: float) -> float:
    """How many took no longer; between two edges they are taken to be spread evenly."""
    before = (0.0, 0.0)
    for edge, count in buckets:
        if edge >= seconds:
            if math.isinf(edge):
                return before[1]
            share = (seconds - before[0]) / (edge - before[0])
            return before[1] + share * (count - before[1])
        before = (edge, count)
    return before[1]


@dataclass(frozen=True, slots=True)
class Timings:
    """Sums and counts of one engine; its data parallel ranks are added up."""

    first_tokens: float = 0.0
    first_token_s: float = 0.0  # from arrival to the first token, waiting included
    gaps: float = 0.0
    gap_s: float = 0.0  # from one token of a request to the next
    requests: float = 0.0  # that ended; the sums below are of these
    queue_s: float = 0.0
    prompt_tokens: float = 0.0
    computed_tokens: float = 0.0  # of the prompts, not found in the prefix cache
    generated_tokens: float = 0.0
    preemptions: float = 0.0

    def plus(self, other: Self) -> Self:
        """Both together."""
        return self._each(other, operator.add)

    def since(self, before: Self) -> Self | None:
        """What came after `before`; None where a count went back: another engine counts."""
        found = self._each(before, operator.sub)
        return None if min(_counts(found)) < 0 else found

    def _each(self, other: Self, combine: Callable[[float, float], float]) -> Self:
        return type(self)(*map(combine, _counts(self), _counts(other)))


# Every look at every engine is counted: `dataclasses.astuple` takes several times as long.
_counts: Callable[[Timings], tuple[float, ...]] = operator.attrgetter(
    *(each.name for each in dataclasses.fields(Timings))
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One revision over a while, all its pods together, as means of one pod."""

    revision: str
    counted: Timings = Timings()
    seconds: float = 0.0  # that were looked at, of all pods
    looks: int = 0
    running_s: float = 0.0  # integral of the running requests
    squared_s: float = 0.0  # integral of their square

    def plus(self, counted: Timings, running: float, seconds: float) -> "Seen":
        """With a pod's next stretch, in which so many requests ran."""
        return Seen(
            revision=self.revision,
            counted=self.counted.plus(counted),
            seconds=self.seconds + seconds,
            looks=self.looks + 1,
            running_s=self.running_s + running * seconds,
            squared_s=self.squared_s + running * running * seconds,
        )

    @property
    def requests(self) -> int:
        """Requests that ended."""
        return round(self.counted.requests)

    @property
    def itl_s(self) -> float:
        """Mean time between two tokens of a request; 0 where there were none."""
        return _mean(self.counted.gap_s, self.counted.gaps)

    @property
    def ttft_s(self) -> float:
        """Mean time to the first token after the wait for a place in the batch."""
        return _mean(self.counted.first_token_s, self.counted.first_tokens) - self.queue_s

    @property
    def queue_s(self) -> float:
        """Mean wait for a place in the batch."""
        return _mean(self.counted.queue_s, self.counted.requests)

    @property
    def prompt_tokens(self) -> float:
        """Mean length of a prompt."""
        return _mean(self.counted.prompt_tokens, self.counted.requests)

    @property
    def computed_tokens(self) -> float:
        """Mean part of a prompt that was computed."""
        return _mean(self.counted.computed_tokens, self.counted.requests)

    @property
    def generated_tokens(self) -> float:
        """Mean length of an answer."""
        return _mean(self.counted.generated_tokens, self.counted.requests)

    @property
    def met(self) -> float:
        """Requests that one which comes at any moment finds running."""
        return _mean(self.running_s, self.seconds)

    @property
    def batch(self) -> float:
        """Requests that run when a token is made, its own included.

        Tokens are made where requests are: each moment counts as often as there are requests.
        """
        return _mean(self.squared_s, self.running_s)

    @property
    def in_prefill(self) -> float:
        """Requests that wait for their first token at any moment (Little's law)."""
        return _mean(self.counted.first_token_s, self.seconds)


def _mean(total: float, count: float) -> float:
    return total / count if count > 0 else 0.0
