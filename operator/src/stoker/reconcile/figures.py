"""The figures of all services for a scrape; those of an object that has not changed are kept."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from stoker.model.figures import ServiceFigures
from stoker.model.observed import Key, ObservedPod
from stoker.model.platform import Platform
from stoker.plan.figures import figures_of

Body = Mapping[str, Any]


class Figures:
    """Reads objects once, however often somebody scrapes."""

    def __init__(self, platform: Platform, pods: Callable[[Key], Sequence[ObservedPod]]) -> None:
        self._platform = platform
        self._pods = pods
        self._known: dict[Key, tuple[Body, ServiceFigures]] = {}

    def of(self, bodies: Iterable[tuple[Key, Body]]) -> list[ServiceFigures]:
        """The figures of these services, and of no other any more."""
        self._known = {key: (body, self._look(key, body)) for key, body in bodies}
        return [figures for _, figures in self._known.values()]

    def _look(self, key: Key, body: Body) -> ServiceFigures:
        known = self._known.get(key)
        if known is not None and known[0] is body and not known[1].replicas.get("pending"):
            return known[1]
        found = figures_of(key, body, self._platform)
        if found.replicas.get("pending"):
            # Only now the pods matter: how long they have waited, and whether for a node.
            return figures_of(key, body, self._platform, self._pods(key))
        return found
