"""What came of a run: how well requests were served, what it cost, and how calmly.

* Attainment is a share of all requests that came: one that was shed, cut or not answered by the
  end has missed both targets. Percentiles are of those that have the value at all. Time between
  tokens is the mean of each request.
* Accelerator-seconds are billed from a pod's creation to its deletion or the end of the run, its
  start included; replicas that were there at the start count from there.
* Capacity is short while fewer replicas answer than the trace needs (`need`); how long each such
  spell lasts is the time to enough capacity. Spells shorter than a bucket are not seen.
* A direction change is a decision to go up after one to go down, or the other way round.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stoker.simulate.need import Need, need_of
from stoker.simulate.policy import Setting
from stoker.simulate.world import Pod, World

FLAPPING_WINDOW_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Change:
    """A decision that changed the number of replicas."""

    time: float
    before: int
    after: int
    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What a policy had to say beside its numbers, when it said so first."""

    time: float
    words: str


@dataclass(frozen=True, slots=True)
class Life:
    """One pod: when it was made, got its node, answered, and went.

    Infinity where it did not within the run.
    """

    created: float
    placed: float
    ready: float
    deleted: float


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles, in seconds; NaN where there is no value."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True, slots=True)
class Result:
    """One policy on one trace. Times in seconds, shares from 0 to 1."""

    policy: str
    arrivals: int
    served: int
    shed: int
    cut: int  # lost in the middle of a stream
    in_flight: int  # at the end
    preemptions: int
    ttft: Spread
    itl: Spread
    ttft_attained: float
    itl_attained: float
    attained: float  # both targets
    accelerator_s: float  # billed
    starting_s: float  # the part of it before pods were ready, or that never were
    replicas_mean: float  # billed over time
    replicas_peak: int
    pods: int  # that were created, those at the start included
    lives: tuple[Life, ...]  # of all of them, in the order of their creation
    changes: tuple[Change, ...]
    changes_per_hour: float
    direction_changes: int
    direction_changes_in_10_min: int  # in the worst ten minutes
    short_spells: int  # times that capacity was short
    short_s: float  # in all
    enough_after: Spread  # over the spells
    end_s: float
    events: int
    notices: tuple[Notice, ...] = ()


def result_of(  # noqa: PLR0917 - a run's leftovers
    setting: Setting,
    policy: str,
    world: World,
    changes: tuple[Change, ...],
    end_s: float,
    events: int,
) -> Result:
    """The figures of a run that has ended."""
    seen, targets = world.seen, setting.targets
    count = len(setting.arrivals)
    in_time = [  # NaN is not
        value <= targets.ttft_s + request.input_tokens * targets.ttft_token_s
        for value, request in zip(seen.ttft, setting.arrivals, strict=True)
    ]
    steady = [value <= targets.itl_s for value in seen.itl]
    both = sum(first and rest for first, rest in zip(in_time, steady, strict=True))
    pods = [*world.gone, *world.pods]
    billed, starting, peak = _bill(pods, end_s)
    accelerators = setting.service.accelerators
    need = need_of(setting.service, targets, setting.arrivals, end_s)
    spells = short_spells(need, pods, end_s)
    turns = _turns(changes)
    share = 1 / count if count else math.nan
    return Result(
        policy=policy,
        arrivals=count,
        served=seen.finished,
        shed=seen.shed,
        cut=seen.cut,
        in_flight=world.in_flight,
        preemptions=sum(pod.engine.put_off for pod in pods),
        ttft=spread_of(seen.ttft),
        itl=spread_of(seen.itl),
        ttft_attained=sum(in_time) * share,
        itl_attained=sum(steady) * share,
        attained=both * share,
        accelerator_s=billed * accelerators,
        starting_s=starting * accelerators,
        replicas_mean=billed / end_s if end_s > 0 else 0.0,
        replicas_peak=peak,
        pods=len(pods),
        lives=tuple(_life(pod, end_s) for pod in sorted(pods, key=lambda pod: pod.number)),
        changes=changes,
        changes_per_hour=len(changes) / end_s * 3600 if end_s > 0 else 0.0,
        direction_changes=len(turns),
        direction_changes_in_10_min=_densest(turns, FLAPPING_WINDOW_S),
        short_spells=len(spells),
        short_s=sum(spells),
        enough_after=spread_of(spells),
        end_s=end_s,
        events=events,
    )


def spread_of(values: Sequence[float]) -> Spread:
    """Percentiles by nearest rank, of the values that are numbers."""
    known = sorted(value for value in values if not math.isnan(value))
    if not known:
        return Spread(math.nan, math.nan, math.nan)

    def at(share: float) -> float:
        return known[max(0, math.ceil(share * len(known)) - 1)]

    return Spread(at(0.5), at(0.9), at(0.99))


def short_spells(need: Need, pods: Sequence[Pod], end_s: float) -> list[float]:
    """How long each time that fewer replicas answered than were needed lasted, by buckets."""
    size = need.bucket_s
    changes = [0] * (len(need.replicas) + 1)
    for pod in pods:
        if pod.ready <= min(pod.deleted, end_s):
            # Ready in a bucket only if ready when it ends, and no longer if gone before.
            first = min(len(need.replicas), int(pod.ready / size))
            last = min(len(need.replicas), int(min(pod.deleted, end_s) / size))
            changes[first] += 1
            changes[last] -= 1
    spells: list[float] = []
    ready = short = 0
    for wanted, change in zip(need.replicas, changes, strict=False):
        ready += change
        if ready < math.ceil(wanted - 1e-9):
            short += 1
        elif short:
            spells.append(short * size)
            short = 0
    if short:
        spells.append(short * size)
    return spells


def _life(pod: Pod, end_s: float) -> Life:
    ready = pod.ready if pod.ready <= min(pod.deleted, end_s) else math.inf
    placed = pod.created + pod.node_after_s
    return Life(
        pod.created,
        placed if placed <= min(pod.deleted, end_s) else math.inf,
        ready,
        pod.deleted,
    )


def _bill(pods: Sequence[Pod], end_s: float) -> tuple[float, float, int]:
    """Replica-seconds, those of them before pods were ready, and the most pods at once."""
    billed = starting = 0.0
    moments: list[tuple[float, int]] = []
    for pod in pods:
        until = min(pod.deleted, end_s)
        billed += until - pod.created
        starting += min(pod.ready, until) - pod.created
        moments += [(pod.created, 1), (until, -1)]
    moments.sort()  # at one moment, who goes before who comes
    present = peak = 0
    for _, change in moments:
        present += change
        peak = max(peak, present)
    return billed, starting, peak


def _turns(changes: Sequence[Change]) -> list[float]:
    """When the direction changed."""
    found: list[float] = []
    up: bool | None = None
    for change in changes:
        now_up = change.after > change.before
        if up is not None and now_up != up:
            found.append(change.time)
        up = now_up
    return found


def _densest(times: Sequence[float], window_s: float) -> int:
    """The most of these times within one window."""
    most = first = 0
    for last, time in enumerate(times):
        while time - times[first] > window_s:
            first += 1
        most = max(most, last - first + 1)
    return most
