"""How many replicas the load of this moment needs."""

import math
from typing import Final

from stoker.autoscale.belief import in_progress
from stoker.autoscale.demand import Demand
from stoker.autoscale.policy import Policy
from stoker.model.load import Load

# A hair above a whole number is that number.
ROUNDING: Final = 1e-6


def need_of(
    policy: Policy, load: Load, current: int, *, settled: bool, demand: Demand | None = None
) -> int:
    """Replicas that this load needs; `settled` when every wanted replica already answers."""
    waiting, running = load.queue_depth, load.running
    capacity = math.ceil((running + waiting) / (policy.concurrency + policy.queue_target))
    if demand is None or not demand.request_s:
        target = math.ceil(waiting / policy.queue_target)
        if not settled:
            target = min(target, current)
    else:
        capacity = min(capacity, current)
        target = math.ceil(demand.replicas - ROUNDING)
        if waiting > policy.queue_target * max(1, current):
            backlog = demand.replicas + waiting * demand.request_s / policy.lead_s
            target = math.ceil(backlog - ROUNDING)
    return max(capacity, target, 1 if in_progress(load) else 0)
