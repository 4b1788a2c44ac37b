"""What earlier passes did that a later one has to know.

It lives as long as the process. A new leader knows nothing of it, which costs at most one write too
many, and a condition that comes a little later.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PutBack:
    """A number of replicas that somebody else changed, and that Stoker changed back."""

    time: float  # monotonic seconds
    kind: str
    name: str
    who: str  # in words
    at: str  # when, as the API server writes it
    before: int
    after: int
    now: int  # what it was changed back to


@dataclass(frozen=True, slots=True)
class Past:
    """Times in monotonic seconds."""

    # When the costs of losing pods were written last.
    costs_at: float | None = None
    # Of the last minutes, oldest first.
    put_back: tuple[PutBack, ...] = ()
