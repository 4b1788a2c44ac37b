"""How many replicas the load of this moment needs."""

import math
from collections.abc import Mapping
from typing import Final

from stoker.autoscale.belief import in_progress
from stoker.autoscale.demand import Demand
from stoker.autoscale.policy import Policy
from stoker.model.load import Load
from stoker.model.scale import Term

# A hair above a whole number is that number.
ROUNDING: Final = 1e-6
# A queue above the target for so long, while all replicas answer, says that they are slower than
# was thought.
PATIENCE_S: Final = 15.0
# How fast a queue is to be worked off: whoever comes meanwhile waits behind it. Faster is dear: the
# replicas for it stay much longer than the queue does.
DRAIN_S: Final = 90.0


def terms_of(
    policy: Policy,
    load: Load,
    current: int,
    *,
    settled: bool,
    demand: Demand | None = None,
    stuck: bool = False,
) -> Mapping[Term, float]:
    """Replicas that each reason asks for.

    `settled` when every wanted replica already answers; `stuck` when these have left too much
    waiting for longer than `PATIENCE_S`, whatever is known of their pace.
    """
    waiting, running = load.queue_depth, load.running
    places = math.ceil((running + waiting) / (policy.concurrency + policy.queue_target))
    queue = math.ceil(waiting / policy.queue_target)
    if not settled:
        queue = min(queue, current)
    going_on = in_progress(load)
    terms: dict[Term, float] = {Term.PROGRESS: 1 if going_on else 0}
    # At zero a rate without a request is of those that have been answered: it wakes nobody.
    if demand is not None and demand.request_s and (going_on or current > 0):
        places = min(places, current)
        queue = min(queue, 2 * max(1, current)) if stuck else 0
        terms[Term.ARRIVALS] = demand.replicas
        if waiting > policy.queue_target * max(1, current):
            terms[Term.BACKLOG] = demand.replicas + waiting * demand.request_s / DRAIN_S
    return {Term.PLACES: places, Term.QUEUE: queue, **terms}


def need_of(terms: Mapping[Term, float]) -> int:
    """Replicas that the load needs: the most that any of these asks for."""
    return max(math.ceil(replicas - ROUNDING) for replicas in terms.values())
