"""The numbers of a decision for whoever asks why: what asked for it, what holds it, and how long.

Nothing is decided here. `stoker why` shows these values, from the status that they are written to.
"""

from collections.abc import Mapping
from dataclasses import replace

from stoker.autoscale.judgement import Present
from stoker.autoscale.memory import LEAST_IDLE_S, OBSERVED_S, TURN_S, full
from stoker.autoscale.policy import Policy
from stoker.model.scale import History, Limit, Reckoning, Term


def reckon(
    present: Present,
    terms: Mapping[Term, float],
    request_s: float,
    replicas: int,
    history: History,
    *,
    settled: bool,
) -> Reckoning:
    """The numbers of the decision for so many replicas; `history` is what is remembered of it."""
    policy = present.policy
    if policy.stabilization is None:
        terms = {**terms, Term.FORECAST: present.outlook.demand}
    after = replace(present, history=history)
    return Reckoning(
        need=present.need,
        terms=terms,
        places=policy.concurrency,
        request_s=request_s,
        limit=_limit(after, replicas, settled=settled),
        fewer_at=fewer_at(policy, history, replicas, present.time),
    )


def _limit(present: Present, replicas: int, *, settled: bool) -> Limit | None:
    """What makes the number another one than what the load asks for."""
    policy, asked = present.policy, max(present.expected, present.need)
    if replicas < asked and replicas >= policy.max_replicas:
        return Limit.CEILING
    waiting = present.load.queue_depth
    if not settled and waiting > policy.queue_target * max(1, replicas):
        return Limit.STARTING
    if replicas <= max(1, asked):
        return None
    if replicas <= policy.min_replicas:
        return Limit.FLOOR
    if policy.stabilization is not None:
        return Limit.STABILIZATION
    if not full(present.history, OBSERVED_S, present.time):
        return Limit.OBSERVING
    return Limit.ADDED_STAYS


def fewer_at(policy: Policy, history: History, replicas: int, time: float) -> float | None:
    """Before when nothing goes, however little comes; None where nothing may go at all."""
    moments = []
    if replicas > 0 and policy.min_replicas == 0:
        moments.append(_zero_at(policy, history, time))
    if replicas > max(1, policy.min_replicas):
        moments.append(_less_at(policy, history, replicas, time))
    return min(moments, default=None)


def _zero_at(policy: Policy, history: History, time: float) -> float:
    active = time if history.active_at is None else history.active_at
    if policy.idle_before_zero is not None:
        return active + policy.idle_before_zero
    return max(active + LEAST_IDLE_S, _turn_at(history, time))


def _less_at(policy: Policy, history: History, replicas: int, time: float) -> float:
    window = policy.stabilization
    if window is None:
        return _turn_at(history, time)
    since = time if history.since is None else history.since
    asked = (seen for seen, need in history.needs if need >= replicas)
    return max([since, *asked]) + window


def _turn_at(history: History, time: float) -> float:
    """When what was added may go, and enough has been seen."""
    observed = (time if history.since is None else history.since) + OBSERVED_S
    if history.falling or history.turned_up_at is None:
        return observed
    return max(observed, history.turned_up_at + TURN_S)
