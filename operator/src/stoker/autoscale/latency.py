"""Replicas for a latency target: learned from what engines measure, given up where none help.

What decides how long a token takes is how many requests share a replica. So a target becomes a cap
of requests in progress per replica, found by looking:

    need = requests in progress / cap

* A window is over once it has seen enough requests to tell the percentile. Its share in time says
  whether the target is kept, broken, or neither by more than chance.
* Broken: the cap is four fifths of what the replicas had in progress; replicas come. Kept with half
  of the allowed misses or fewer, at that cap: a tenth more. In between nothing moves, so the cap
  does not swing. As the need follows what is in progress, nothing goes where one replica fewer
  would have more than the cap.
* Adding does not help a target that a lone request misses. Where three fifths of the requests per
  replica take away less than a quarter of the misses, or a replica has but one request and it is
  late, the target asks for nothing for an hour, and the words say so: at most about twice the
  replicas were spent on it. Where the plan expects a lone request to take more than twice the
  target, it is not even tried; estimates may be wrong by less.

Until it is broken for the first time a target asks for nothing. What was learned goes with the
operator's memory. Requests that are held at the frontend are not in the engines' times; the queue's
target is for them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from stoker import quantity
from stoker.autoscale.policy import LatencyTarget, Policy
from stoker.model.load import EngineSample, Load
from stoker.model.scale import Latencies, Promise, Term
from stoker.model.timing import Buckets, within

WINDOW_S: Final = 30.0
# Fewer requests in so long tell nothing.
_LONGEST_S: Final = 600.0
# Two looks further apart are not one observation.
_GAP_S: Final = 30.0
# Requests that could miss the target in a window: of so many, chance is told from change.
_MISSES: Final = 3.0
_LOWER: Final = 0.8
_HIGHER: Final = 1.1
_AT_CAP: Final = 0.9
# With so many fewer requests per replica, so much of what is missing has to be gone.
_FEWER: Final = 0.6
_HELPS: Final = 0.75
HOPELESS_S: Final = 3600.0
_TWICE: Final = 2.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A window that is over."""

    busy: float  # requests in progress per replica, on average
    share: float  # in time
    chance: float  # how far a share may be off by chance


def missing(policy: Policy, load: Load) -> str | None:
    """Which histogram that a target needs is not there; None where all are."""
    for target in policy.latency:
        for engine in load.engines:
            if not _buckets(engine, target.term):
                what = "time to first token" if target.term is Term.TTFT else "inter-token latency"
                return (
                    f"pod {engine.pod} does not report its histogram of {what}, which "
                    f"target.{target.term.value} needs"
                )
    return None


def look(policy: Policy, before: Latencies, load: Load, time: float) -> Latencies:
    """Take in what the engines measured since the last look."""
    if not policy.latency:
        return before if before == Latencies() else Latencies()
    seconds = 0.0 if before.time is None else time - before.time
    counted = {engine.pod: _all(engine) for engine in load.engines}
    # Other replicas, or a gap, begin a window anew: they carry another load.
    anew = seconds <= 0 or seconds > _GAP_S or counted.keys() != before.buckets.keys()
    promises = {}
    for target in policy.latency:
        promise = before.promises.get(target.name, Promise())
        if anew:
            promise = _begun(promise)
        else:
            promise = _count(promise, target, before, counted, seconds)
            promise = _close(promise, target, time)
        promises[target.name] = promise
    busy = (load.running + load.queue_depth) / max(1, len(load.engines))
    return Latencies(time, busy, counted, promises)


def caps(policy: Policy, latencies: Latencies, time: float) -> Mapping[LatencyTarget, float]:
    """Requests in progress per replica, for each target that asks for something now."""
    found = {}
    for target in policy.latency:
        promise = latencies.promises.get(target.name, Promise())
        if promise.cap is not None and not _hopeless(policy, promise, target, time):
            found[target] = promise.cap
    return found


def words(policy: Policy, latencies: Latencies, time: float) -> str:
    """Which targets no number of replicas keeps, in sentences."""
    told = ""
    for target in policy.latency:
        promise = latencies.promises.get(target.name, Promise())
        why = _hopeless(policy, promise, target, time)
        if why:
            told += f" No number of replicas keeps {said(target)}: {why}."
    return told


def said(target: LatencyTarget) -> str:
    """The target in words."""
    return f"{target.name} within {_time(target.seconds)}"


def _hopeless(policy: Policy, promise: Promise, target: LatencyTarget, time: float) -> str:
    alone = _alone(policy, target.term)
    if alone is not None and alone > _TWICE * target.seconds:
        return f"by the plan a lone request takes {_time(alone)}"
    if promise.hopeless_until is not None and time < promise.hopeless_until:
        return promise.words
    return ""


def _alone(policy: Policy, term: Term) -> float | None:
    """What a request takes that has a replica for itself, in seconds; None where nobody knows."""
    work = policy.work
    if work is None:
        return None
    step = work.step_s + work.sequence_s
    if term is Term.ITL:
        return step + work.prompt_tokens * work.context_token_s
    prompt = work.prompt_tokens
    return step + prompt * (work.prompt_token_s + prompt / 2 * work.prompt_key_s)


def _begun(promise: Promise) -> Promise:
    return replace(promise, seconds=0.0, busy_s=0.0, measured=0.0, in_time=0.0)


def _count(
    promise: Promise,
    target: LatencyTarget,
    before: Latencies,
    counted: Mapping[str, Mapping[str, Buckets]],
    seconds: float,
) -> Promise:
    measured, in_time = promise.measured, promise.in_time
    for pod, buckets in counted.items():
        now, then = buckets[target.term.value], before.buckets[pod][target.term.value]
        if not now or not then or now[-1][1] < then[-1][1]:
            continue  # it began anew
        total = now[-1][1] - then[-1][1]
        good = within(now, target.seconds) - within(then, target.seconds)
        measured += total
        in_time += max(0.0, min(good, total))
    return replace(
        promise,
        seconds=promise.seconds + seconds,
        busy_s=promise.busy_s + before.busy * seconds,
        measured=measured,
        in_time=in_time,
    )


def _close(promise: Promise, target: LatencyTarget, time: float) -> Promise:
    """After a window that is over, what it taught."""
    if promise.seconds < WINDOW_S:
        return promise
    if promise.measured * (1 - target.share) < _MISSES:
        return _begun(promise) if promise.seconds > _LONGEST_S else promise
    chance = math.sqrt(target.share * (1 - target.share) / promise.measured)
    busy = promise.busy_s / promise.seconds
    return _learn(
        _begun(promise), target, Seen(busy, promise.in_time / promise.measured, chance), time
    )


def _learn(promise: Promise, target: LatencyTarget, seen: Seen, time: float) -> Promise:
    if promise.hopeless_until is not None and time < promise.hopeless_until:
        return promise
    if seen.share < target.share - seen.chance:
        return _broken(promise, target, seen, time)
    if promise.cap is None or seen.share < target.share:
        return replace(promise, words=_told(seen))
    comfortable = (1 + target.share) / 2
    cap = promise.cap
    if seen.share >= comfortable and seen.busy >= _AT_CAP * cap:
        cap = _HIGHER * max(cap, seen.busy)
    return replace(promise, cap=cap, broken=None, words=_told(seen))


def _broken(promise: Promise, target: LatencyTarget, seen: Seen, time: float) -> Promise:
    first = promise.broken or (seen.busy, seen.share)
    fewer = seen.busy <= _FEWER * first[0]
    helped = target.share - seen.share < _HELPS * (target.share - first[1])
    if seen.busy <= 1 or (fewer and not helped):
        told = _told(seen)
        if fewer:
            told = f"{_told(Seen(first[0], first[1], 0.0))}, and {told}"
        return replace(promise, cap=None, broken=None, hopeless_until=time + HOPELESS_S, words=told)
    cap = _LOWER * min(seen.busy, math.inf if promise.cap is None else promise.cap)
    return replace(promise, cap=max(1.0, cap), broken=first, hopeless_until=None, words=_told(seen))


def _told(seen: Seen) -> str:
    return f"{seen.share:.0%} were in time with {seen.busy:.1f} requests in progress per replica"


def _all(engine: EngineSample) -> Mapping[str, Buckets]:
    return {Term.TTFT.value: engine.ttft, Term.ITL.value: engine.itl}


def _buckets(engine: EngineSample, term: Term) -> Buckets:
    return engine.ttft if term is Term.TTFT else engine.itl


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 10 else quantity.format_duration(seconds)
