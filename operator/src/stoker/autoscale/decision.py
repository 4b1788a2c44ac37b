"""Queue depth → replicas.

With Q requests waiting (held at the frontends plus waiting in the engines), R being computed, C
computed at once by one replica and T waiting requests per replica that are fine:

    need = max( ceil((R + Q) / (C + T)),   what N replicas can compute and keep waiting
                ceil(Q / T),               the target that the user set
                1 if anything is in progress )

* Up at once to the need; down only to the largest need of a whole stabilisation window.
* A replica that is still warming up is credited: it will take from the queue what waits for it, so
  meanwhile the target may keep replicas but not add any. The first term still may. The credit ends
  after a while, because a replica that never comes must not hold the others back.
* The first term alone guards the way down: N - 1 replicas are enough only if they can compute and
  keep waiting all that is there, so removing one never asks for it back at once.
* To zero only from a whole window without any request: none held, waiting, computed or active, and
  no frontend's counter moved. The window begins once a replica answers: whoever asked for it gets
  to use it, however short the window and however long the start. From zero at once, at the first
  request.
* No data is not zero. Absent, stale, partial and not-a-number samples move nothing; a gap restarts
  the windows, because nobody knows what happened in it. One exception: at zero, a request that one
  frontend does report wakes the service although another frontend is silent; it was seen.
* Bounds are obeyed last and always, also without data.
"""

import math
from dataclasses import replace
from typing import Final

from stoker import quantity
from stoker.autoscale.policy import Policy
from stoker.autoscale.sample import Sample
from stoker.model import reasons
from stoker.model.load import Load
from stoker.model.moment import Moment
from stoker.model.plan import Verdict
from stoker.model.scale import History, ScaleDecision

# A sample older than this says nothing about now.
STALE_AFTER: Final = 15.0
# Two complete samples further apart than this are not one observation.
LONGEST_GAP: Final = 30.0
# How long a replica that was asked for is credited although it is not ready.
WARMING_CREDIT: Final = 900.0


def decide(policy: Policy, history: History, sample: Sample, now: Moment) -> ScaleDecision:
    """How many replicas are wanted from now on."""
    problem = _problem(sample.load, now.monotonic)
    if sample.load is None or problem is not None:
        return _without_data(policy, history, sample, problem or "", now)
    return _with_data(policy, history, sample, sample.load, now)


def need_of(policy: Policy, load: Load, current: int, *, settled: bool) -> int:
    """Replicas that this load needs; `settled` when every wanted replica already answers."""
    waiting, running = load.queue_depth, load.running
    capacity = math.ceil((running + waiting) / (policy.concurrency + policy.queue_target))
    target = math.ceil(waiting / policy.queue_target)
    if not settled:
        target = min(target, current)
    return max(capacity, target, 1 if _in_progress(load) else 0)


def _with_data(
    policy: Policy, history: History, sample: Sample, load: Load, now: Moment
) -> ScaleDecision:
    time = now.monotonic
    history, moved = _remember(history, load, time)
    first = sample.wanted is None
    # A new service starts at one even where zero is allowed: a model that cannot run shows at once.
    current = max(1, policy.min_replicas) if sample.wanted is None else sample.wanted
    need = need_of(policy, load, current, settled=_settled(history, sample, current, time))
    if moved:
        need = max(need, 1)
    active = moved or _in_progress(load) or _starting(history, sample, current, time)
    history = _record(history, policy, need, time, active=active)

    replicas, verdict = _judge(policy, history, load, current=current, need=need, time=time)
    if first and replicas == current:
        verdict = Verdict(reasons.FIRST_REPLICAS, f"a new service starts with {current}")
    replicas, verdict = _clamp(policy, replicas, verdict)
    if replicas > current:
        history = replace(history, raised_at=time)
    return ScaleDecision(
        replicas,
        verdict,
        active=True,
        activity=_follows(policy),
        load=load,
        queue_target=policy.queue_target,
        history=history,
        wake_at=_next_change(policy, history, replicas, time),
    )


def _judge(
    policy: Policy, history: History, load: Load, *, current: int, need: int, time: float
) -> tuple[int, Verdict]:
    seen = f"{load.held} held, {load.waiting} waiting, {load.running} running"
    if need > current:
        if current == 0:
            return need, Verdict(
                reasons.REQUEST_ARRIVED, f"a request came at zero replicas: {seen}"
            )
        return need, Verdict(
            reasons.LOAD_GREW,
            f"{seen} need {need} replicas at {policy.queue_target} waiting per replica",
        )
    if current == 0:
        return 0, Verdict(reasons.IDLE, "no request since the last replica went")
    if _idle(policy, history, time):
        words = quantity.format_duration(policy.idle_before_zero)
        return 0, Verdict(reasons.IDLE, f"no request for {words}")
    if max(1, need) == current:
        return current, Verdict(reasons.LOAD_STEADY, f"{seen}: {current} replicas fit")
    highest = max(1, history.needs[0][1])
    words = quantity.format_duration(policy.stabilization)
    if highest < current and _full(history, policy.stabilization, time):
        return highest, Verdict(
            reasons.LOAD_SHRANK, f"{seen}; {highest} replicas were enough for {words}"
        )
    return current, Verdict(
        reasons.WAITING_TO_SCALE_DOWN, f"{seen} need {need} replicas; fewer only after {words}"
    )


def _without_data(
    policy: Policy, history: History, sample: Sample, problem: str, now: Moment
) -> ScaleDecision:
    current = max(1, policy.min_replicas) if sample.wanted is None else sample.wanted
    replicas = current
    verdict = Verdict(reasons.METRICS_MISSING, f"{problem}; the number of replicas stays")
    if current == 0 and _seen_in_part(sample.load, now.monotonic):
        replicas = 1
        verdict = Verdict(reasons.REQUEST_ARRIVED, f"a request came at zero replicas; {problem}")
        history = replace(history, raised_at=now.monotonic)
    elif sample.wanted is None:
        verdict = Verdict(reasons.FIRST_REPLICAS, f"a new service starts with {current}; {problem}")
    replicas, verdict = _clamp(policy, replicas, verdict)
    return ScaleDecision(
        replicas,
        verdict,
        active=False,
        activity=Verdict(
            reasons.METRICS_MISSING, f"Not scaling, the number of replicas stays: {problem}."
        ),
        queue_target=policy.queue_target,
        history=history,
    )


def _clamp(policy: Policy, replicas: int, verdict: Verdict) -> tuple[int, Verdict]:
    clamped = policy.clamp(replicas)
    if clamped == replicas:
        return replicas, verdict
    bound = "minReplicas" if clamped > replicas else "maxReplicas"
    return clamped, Verdict(reasons.WITHIN_BOUNDS, f"{verdict.message}; {bound} makes it {clamped}")


def _follows(policy: Policy) -> Verdict:
    return Verdict(
        reasons.FOLLOWS_QUEUE,
        f"Scaling between {policy.min_replicas} and {policy.max_replicas} replicas, "
        f"{policy.queue_target} waiting requests per replica.",
    )


# What may be believed.


def _problem(load: Load | None, time: float) -> str | None:
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


def _seen_in_part(load: Load | None, time: float) -> bool:
    """Whether an incomplete but fresh load shows a request."""
    if load is None or not time - load.time <= STALE_AFTER:
        return False
    return any(
        _count(value) and value > 0
        for frontend in load.frontends
        for value in (frontend.held, frontend.active)
    )


def _in_progress(load: Load) -> bool:
    return load.queue_depth + load.running + sum(pod.active for pod in load.frontends) > 0


# The memory.


def _remember(history: History, load: Load, time: float) -> tuple[History, bool]:
    """Take in a complete sample; also whether requests came that nobody saw in progress."""
    counters = {pod.pod: pod.requests_total for pod in load.frontends}
    if history.since is None or history.seen is None or time - history.seen > LONGEST_GAP:
        fresh = History(since=time, seen=time, active_at=time, counters=counters)
        moved = any(
            counters[pod] > known for pod, known in history.counters.items() if pod in counters
        )
        return replace(fresh, raised_at=history.raised_at), moved
    # A counter that fell was restarted: what it shows now came since. One that is new to us began
    # at zero. A restart alone, a counter at zero, is not a request.
    moved = any(
        total > history.counters.get(pod, 0.0) or 0 < total < history.counters.get(pod, 0.0)
        for pod, total in counters.items()
    )
    return replace(history, seen=time, counters=counters), moved


def _record(history: History, policy: Policy, need: int, time: float, *, active: bool) -> History:
    """Add one need to the sliding maximum; entries that can never be the maximum again go."""
    kept = [
        entry
        for entry in history.needs
        if entry[1] > need and entry[0] >= time - policy.stabilization
    ]
    return replace(
        history,
        needs=(*kept, (time, need)),
        active_at=time if active else history.active_at,
    )


def _settled(history: History, sample: Sample, current: int, time: float) -> bool:
    """Whether no replica is still warming up, or none is credited any longer."""
    if sample.ready >= current:
        return current > 0
    return sample.ready > 0 and not _credited(history, time)


def _starting(history: History, sample: Sample, current: int, time: float) -> bool:
    """Whether the service is not idle but on its way up: no replica answers yet."""
    return current > 0 and sample.ready == 0 and _credited(history, time)


def _credited(history: History, time: float) -> bool:
    started = max(history.since or time, history.raised_at or -math.inf)
    return time - started <= WARMING_CREDIT


def _full(history: History, window: float, time: float) -> bool:
    return history.since is not None and time - history.since >= window


def _idle(policy: Policy, history: History, time: float) -> bool:
    if policy.min_replicas > 0 or history.active_at is None:
        return False
    return time - history.active_at >= policy.idle_before_zero


def _next_change(policy: Policy, history: History, replicas: int, time: float) -> float | None:
    """When the passing of time alone may change the answer."""
    candidates = []
    if replicas > 0 and policy.min_replicas == 0 and history.active_at is not None:
        candidates.append(history.active_at + policy.idle_before_zero)
    if replicas > max(policy.min_replicas, 1) and history.since is not None:
        candidates.append(history.since + policy.stabilization)
        candidates.extend(seen + policy.stabilization for seen, _ in history.needs)
    later = [moment for moment in candidates if moment > time]
    return min(later) if later else None
