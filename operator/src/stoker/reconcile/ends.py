"""Which ends of engines are news: each is counted once, and none that is older than this process.

What ended before is the count of whoever led then; counters start anew with a process.
"""

from collections.abc import Iterable, Iterator

from stoker.model.observed import Key, ObservedPod
from stoker.plan.failures import end_of


class Ends:
    """Remembers the last end of each engine pod. Times in Unix seconds."""

    def __init__(self, since: float) -> None:
        self._since = since
        self._seen: dict[Key, dict[str, float]] = {}

    def fresh(self, key: Key, pods: Iterable[ObservedPod]) -> Iterator[str]:
        """Why engines of this service have ended since the last look."""
        seen = self._seen.get(key, {})
        now: dict[str, float] = {}
        for pod in pods:
            end = end_of(pod)
            if end is None:
                continue
            now[pod.uid] = end.finished
            if end.finished > seen.get(pod.uid, self._since):
                yield end.word
        if now:
            self._seen[key] = now
        else:
            self._seen.pop(key, None)

    def forget(self, key: Key) -> None:
        """The service is gone."""
        self._seen.pop(key, None)
