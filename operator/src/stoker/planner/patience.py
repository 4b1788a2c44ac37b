"""How slow the text of a full batch may come."""

from collections.abc import Callable
from typing import Final

from stoker.model.sizing import Objective, Request

# Latency: as many at once as cost a quarter more per token than one alone.
_PATIENCE: Final = 1.25
# Other objectives: never so many at once that text comes slower than people read (10 tokens/s),
# unless a target says so.
_READING_S: Final = 0.1


def slowest_itl_s(request: Request, alone_s: Callable[[], float]) -> float:
    """Seconds between two tokens that a full batch may take; `alone_s` is one request's own."""
    bound = request.targets.itl_s or _READING_S
    if request.objective is Objective.LATENCY:
        bound = min(bound, _PATIENCE * alone_s())
    return bound
