"""From one look to the next: what is remembered of requests, replicas and needs, and for how long.

A gap in the looks begins the windows again, because nobody knows what happened in it; what was
learned of the traffic stays.
"""

import math
from dataclasses import replace
from typing import Final

from stoker.autoscale import demand as demands
from stoker.autoscale import forecast as forecasts
from stoker.autoscale.policy import Policy
from stoker.autoscale.sample import Sample
from stoker.model.load import Load
from stoker.model.scale import History

# Two complete samples further apart than this are not one observation.
LONGEST_GAP: Final = 30.0
# How long a replica that was asked for is credited although it is not ready.
WARMING_CREDIT: Final = 900.0
# What was added stays so long where the user has set no window: within any ten minutes the
# direction changes twice at most, however the load moves.
TURN_S: Final = 600.0
# So much has to be seen before anything goes.
OBSERVED_S: Final = 300.0
# Without a window of the user's, the last replica stays for this long without a request.
LEAST_IDLE_S: Final = 60.0


def remember(history: History, load: Load, time: float) -> tuple[History, bool]:
    """Take in a complete sample; also whether requests came that nobody saw in progress."""
    counters = {pod.pod: pod.requests_total for pod in load.frontends}
    if history.since is None or history.seen is None or time - history.seen > LONGEST_GAP:
        # Windows begin again; what was learned, and what of it was written down, stays.
        fresh = replace(
            history,
            since=time,
            seen=time,
            needs=(),
            active_at=time,
            counters=counters,
            queued_since=None,
            arrivals=((time, 0.0),),
            engines={},
            learned=forecasts.forget_continuity(history.learned),
            outlook=None,
        )
        moved = any(
            counters[pod] > known for pod, known in history.counters.items() if pod in counters
        )
        return fresh, moved
    # A counter that fell was restarted: what it shows now came since. One that is new to us began
    # at zero. A restart alone, a counter at zero, is not a request.
    came = 0.0
    for pod, total in counters.items():
        known = history.counters.get(pod, 0.0)
        came += total - known if total >= known else total
    arrivals = demands.count_arrivals(history.arrivals, came, time)
    return replace(history, seen=time, counters=counters, arrivals=arrivals), came > 0


def record(history: History, policy: Policy, need: int, time: float, *, active: bool) -> History:
    """Add one need to the sliding maximum; entries that can never be the maximum again go."""
    window = OBSERVED_S if policy.stabilization is None else policy.stabilization
    kept = [entry for entry in history.needs if entry[1] > need and entry[0] >= time - window]
    return replace(
        history,
        needs=(*kept, (time, need)),
        active_at=time if active else history.active_at,
    )


def settled(history: History, sample: Sample, current: int, time: float) -> bool:
    """Whether no replica is still warming up, or none is credited any longer.

    With replicas that have no node, what is there answers as fast as it can, and more of the same
    would wait as well: a queue is then no reason to ask for more.
    """
    if sample.ready >= current:
        return current > 0
    return sample.ready > 0 and not sample.missing and not _credited(history, time)


def starting(history: History, sample: Sample, current: int, time: float) -> bool:
    """Whether the service is not idle but on its way up: no replica answers yet."""
    return current > 0 and sample.ready == 0 and _credited(history, time)


def _credited(history: History, time: float) -> bool:
    started = max(history.since or time, history.raised_at or -math.inf)
    return time - started <= WARMING_CREDIT


def moved_to(history: History, before: int, after: int, time: float) -> History:
    """After a decision that changes the number of replicas from `before` to `after`."""
    if after > before:
        turns = history.falling or history.turned_up_at is None
        turned = time if turns else history.turned_up_at
        # Whether these are enough, the next while will tell.
        return replace(
            history, raised_at=time, turned_up_at=turned, falling=False, queued_since=None
        )
    return replace(history, falling=True) if after < before else history


def full(history: History, window: float, time: float) -> bool:
    """Whether everything of a window was seen."""
    return history.since is not None and time - history.since >= window


def next_change(policy: Policy, history: History, replicas: int, time: float) -> float | None:
    """When the passing of time alone may change the answer."""
    candidates = []
    idle, window = policy.idle_before_zero, policy.stabilization
    if replicas > 0 and policy.min_replicas == 0 and history.active_at is not None:
        candidates.append(history.active_at + (LEAST_IDLE_S if idle is None else idle))
    if replicas > max(policy.min_replicas, 1) and history.since is not None:
        if window is None:
            candidates.append(history.since + OBSERVED_S)
        else:
            candidates.append(history.since + window)
            candidates.extend(seen + window for seen, _ in history.needs)
    if (idle is None or window is None) and replicas > policy.min_replicas:
        candidates.append((history.turned_up_at or time) + TURN_S)
        # What is learned says something else as time goes by.
        candidates.append(time + forecasts.STRIDE_S)
    later = [moment for moment in candidates if moment > time]
    return min(later) if later else None
