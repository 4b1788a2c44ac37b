"""Which numbers may move anything: absent, stale, partial and not-a-number samples may not.

Why there are none has three reasons: `MetricsMissing` for what happens whenever a pod comes or
goes, `MetricsLost` once that has lasted, which is worth an alarm, and `MetricMissing` where an
engine answers without a needed series, so that waiting is in vain.
"""

import math
from typing import Final

from stoker.model import reasons
from stoker.model.load import NO_FRONTEND, Load

# A sample older than this says nothing about now.
STALE_AFTER: Final = 15.0
# Longer without a sample that may move anything is worth an alarm.
LOST_AFTER: Final = 30.0


def problem_of(load: Load | None, time: float) -> str | None:
    """Why this load must not move anything, in words; None when it may."""
    if load is None:
        return "no metrics yet"
    if not load.complete:
        return "; ".join(dict.fromkeys((*load.lacks, *load.problems)))
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


def reason_of(load: Load | None, blind_s: float) -> str:
    """The word for a load that must not move anything, after so many seconds without one."""
    if load is not None and load.lacks:
        return reasons.METRIC_MISSING
    if load is not None and load.problems == (NO_FRONTEND,):
        # Nobody is silent; that no frontend is ready is what `Ready` says.
        return reasons.METRICS_MISSING
    return reasons.METRICS_LOST if blind_s > LOST_AFTER else reasons.METRICS_MISSING


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
