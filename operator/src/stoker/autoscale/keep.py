"""What was learned of a service's traffic, kept beyond the operator's own life.

Counts are written down as text, at most every half an hour and only when they say something else
than what was written last: a service whose traffic stays the same is never written. What is read
back may come from another version, so what makes no sense counts as nothing learned.
"""

import json
import math
from dataclasses import replace
from typing import Any, Final

from stoker.autoscale.forecast import quantiles
from stoker.model.learned import Histogram, Kind, Learned
from stoker.model.scale import History

KEEP_EVERY_S: Final = 1800.0
# Of bins and counts, which are small numbers; anything beyond was not written by us.
_LARGEST_BIN: Final = 1000
_LARGEST_COUNT: Final = 1e6
_MOST_KINDS: Final = 500
_VERSION: Final = 1


def to_text(learned: Learned) -> str:
    """The counts, some kilobytes of JSON."""
    counts = {
        f"{kind[0]},{kind[1]}": [[place, round(count, 2)] for place, count in histogram]
        for kind, histogram in sorted(learned.counts.items())
    }
    return json.dumps({"version": _VERSION, "counts": counts}, separators=(",", ":"))


def from_text(text: str) -> Learned:
    """What was learned; nothing where the text is not ours."""
    try:
        given: Any = json.loads(text)
        if given["version"] != _VERSION or len(given["counts"]) > _MOST_KINDS:
            return Learned()
        return Learned(
            counts={_kind(name): _histogram(rows) for name, rows in given["counts"].items()}
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return Learned()


def due(history: History, time: float) -> tuple[History, str | None]:
    """The text to write now, where there is one, and the history after that."""
    if history.kept_at is None:
        return _kept(history, history.kept, time), None
    if time - history.kept_at < KEEP_EVERY_S:
        return history, None
    said = quantiles(history.learned)
    if said == history.kept:
        return _kept(history, said, time), None
    return _kept(history, said, time), to_text(history.learned)


def _kept(history: History, said: tuple[Any, ...], time: float) -> History:
    return replace(history, kept_at=time, kept=said)


def _kind(name: str) -> Kind:
    first, second = name.split(",")
    return (int(first), int(second))


def _histogram(rows: Any) -> Histogram:  # noqa: ANN401 - anything that a file may hold
    found = []
    for place, count in rows:
        if type(place) is not int or not -_LARGEST_BIN <= place <= _LARGEST_BIN:
            raise ValueError(place)
        if not (math.isfinite(count) and 0 < count <= _LARGEST_COUNT):
            raise ValueError(count)
        found.append((place, float(count)))
    return tuple(sorted(found))
