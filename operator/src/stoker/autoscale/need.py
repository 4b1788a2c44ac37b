"""How many replicas the load of this moment needs."""

import math
from typing import Final

from stoker.autoscale.belief import in_progress
from stoker.autoscale.demand import Demand
from stoker.autoscale.policy import Policy
from stoker.model.load import Load

# A hair above a whole number is that number.
ROUNDING: Final = 1e-6
# A queue above the target for so long, while all replicas answer, says that they are slower than
# was thought.
PATIENCE_S: Final = 15.0
# How fast a queue is to be worked off: whoever comes meanwhile waits behind it.
DRAIN_S: Final = 30.0


def need_of(
    policy: Policy,
    load: Load,
    current: int,
    *,
    settled: bool,
    demand: Demand | None = None,
    stuck: bool = False,
) -> int:
    """Replicas that this load needs.

    `settled` when every wanted replica already answers; `stuck` when these have left too much
    waiting for longer than `PATIENCE_S`, whatever is known of their pace.
    """
    waiting, running = load.queue_depth, load.running
    capacity = math.ceil((running + waiting) / (policy.concurrency + policy.queue_target))
    target = math.ceil(waiting / policy.queue_target)
    if not settled:
        target = min(target, current)
    if demand is not None and demand.request_s:
        capacity = min(capacity, current)
        target = min(target, 2 * max(1, current)) if stuck else 0
        arriving = demand.replicas
        if waiting > policy.queue_target * max(1, current):
            arriving += waiting * demand.request_s / DRAIN_S
        target = max(target, math.ceil(arriving - ROUNDING))
    return max(capacity, target, 1 if in_progress(load) else 0)
