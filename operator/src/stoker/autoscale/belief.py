"""Which numbers may move anything: absent, stale, partial and not-a-number samples may not."""

import math
from typing import Final

from stoker.model.load import Load

# A sample older than this says nothing about now.
STALE_AFTER: Final = 15.0


def problem_of(load: Load | None, time: float) -> str | None:
    """Why this load must not move anything, in words; None when it may."""
    if load is None:
        return "no metrics yet"
    if not load.complete:
        return "; ".join(load.problems)
    if not time - load.time <= STALE_AFTER:
        return f"the newest metrics are older than {STALE_AFTER:.0f} s"
    if not load.frontends:
        return "no frontend pod reports its queue"
    for engine in load.engines:
        if not _count(engine.running) or not _count(engine.waiting):
            return f"pod {engine.pod} reports a number that is none"
    for frontend in load.frontends:
        if not all(map(_count, (frontend.held, frontend.active, frontend.requests_total))):
            return f"pod {frontend.pod} reports a number that is none"
    return None


def _count(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def seen_in_part(load: Load | None, time: float) -> bool:
    """Whether an incomplete but fresh load shows a request."""
    if load is None or not time - load.time <= STALE_AFTER:
        return False
    return any(
        _count(value) and value > 0
        for frontend in load.frontends
        for value in (frontend.held, frontend.active)
    )


def in_progress(load: Load) -> bool:
    """Whether any request is held, waiting, computed or otherwise with a frontend."""
    return load.queue_depth + load.running + sum(pod.active for pod in load.frontends) > 0
