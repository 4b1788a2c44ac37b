"""How old the news of each watch are: since when nothing has shown that it tells the truth.

An event shows it, and so does a comparison with a list (`audit`) that finds nothing missing. A
quiet cluster has no events, so without the comparisons a dead watch would look like a quiet one.
"""

from collections.abc import Iterable

from stoker.clock import Clock
from stoker.cluster.kinds import Kind


class Freshness:
    """Remembers when each kind was last heard of."""

    def __init__(self, clock: Clock, kinds: Iterable[Kind]) -> None:
        self._clock = clock
        self._resources = {kind.name: kind.plural for kind in kinds}
        self._heard: dict[str, float] = {}

    def heard(self, kind: str) -> None:
        """The watch of a kind, or a list that agrees with it, has spoken."""
        self._heard[kind] = self._clock.monotonic()

    def ages(self) -> dict[str, float]:
        """Seconds by resource (`pods`); one that was never heard of is absent."""
        now = self._clock.monotonic()
        return {
            self._resources[kind]: max(0.0, now - at)
            for kind, at in self._heard.items()
            if kind in self._resources
        }
