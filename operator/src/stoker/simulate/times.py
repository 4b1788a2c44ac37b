"""What an engine counts of its times, in buckets with the edges that vLLM has.

The edges are those of `vllm/v1/metrics/loggers.py`. A first token counts from the moment that the
request reached the engine, as there: what it waited at the frontend is not in it.
"""

import math
from bisect import bisect_left
from itertools import accumulate
from typing import Final

from stoker.model.timing import Buckets
from stoker.planner.batching import Engine

_FIRST: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0),
    *(2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0, math.inf),
)
_BETWEEN: Final = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0),
    *(2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, math.inf),
)


class Times:
    """Two histograms of one engine since it began."""

    def __init__(self) -> None:
        self._first = [0] * len(_FIRST)
        self._between = [0] * len(_BETWEEN)

    def count(self, engine: Engine, now: float) -> None:
        """Take in the boundary that the engine carried out at `now`."""
        for job in engine.first_tokens:
            self._first[bisect_left(_FIRST, now - job.came)] += 1
        for seconds, tokens in engine.gaps:
            self._between[bisect_left(_BETWEEN, seconds)] += tokens

    @property
    def ttft(self) -> Buckets:
        """Times to a first token."""
        return tuple(zip(_FIRST, accumulate(map(float, self._first)), strict=True))

    @property
    def itl(self) -> Buckets:
        """Times between two tokens."""
        return tuple(zip(_BETWEEN, accumulate(map(float, self._between)), strict=True))
