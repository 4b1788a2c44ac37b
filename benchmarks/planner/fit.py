"""Parameters of the time model that fit measurements best: coordinate search over their logarithm.

Few parameters and cheap arithmetic, so nothing cleverer is needed; deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log

_FIRST, _LAST = 1.3, 1.01


def fit(
    start: Mapping[str, float],
    errors: Callable[[Mapping[str, float]], Sequence[float]],
    limits: Mapping[str, tuple[float, float]],
) -> dict[str, float]:
    """Values near `start` and within `limits` that minimise the squares of `errors`."""

    def cost(values: Mapping[str, float]) -> float:
        return sum(error * error for error in errors(values))

    best = dict(start)
    lowest, step = cost(best), _FIRST
    while step > _LAST:
        moved = False
        for name, (low, high) in limits.items():
            for factor in (step, 1 / step):
                tried = {**best, name: min(high, max(low, best[name] * factor))}
                found = cost(tried)
                if found < lowest - 1e-9:
                    best, lowest, moved = tried, found, True
        if not moved:
            step **= 0.5
    return best


def log_error(predicted: float, measured: float) -> float:
    """Twice too long and half as long count alike."""
    return log(predicted / measured)
