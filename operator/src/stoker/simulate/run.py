"""One run: a trace, a service and a policy in; what came of it out.

The loop takes whatever is next, an arrival or an event of the world. Readings of the service go
through the policy's own pipeline; whatever the policy answers, bounds and budget are obeyed. A run
ends some time after the last arrival, at the same moment for every policy; what is not answered by
then counts as in flight, and as missed.
"""

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

from stoker.planner.batching import Arrival
from stoker.simulate.frontend import STOKERS_FRONTEND, Frontend
from stoker.simulate.policy import Policy, Sample, Setting, Snapshot
from stoker.simulate.result import Change, Notice, Result, result_of
from stoker.simulate.world import Kind, Seen, World

# After the last arrival, so that answers end and windows run out.
TAIL_S: Final = 600.0
# Between two looks of a frontend's rule.
_LIMIT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a run depends on beside its setting."""

    frontend: Frontend = STOKERS_FRONTEND
    seed: int = 0
    tail_s: float = TAIL_S


def simulate(setting: Setting, policy: Policy, conditions: Conditions | None = None) -> Result:
    """Run the policy over the setting's arrivals, which come sorted by time."""
    return simulate_each(setting, policy, conditions)[0]


def simulate_each(
    setting: Setting, policy: Policy, conditions: Conditions | None = None
) -> tuple[Result, Seen]:
    """The same, and what became of each request by its place in the trace."""
    run = _Run(setting, policy, conditions or Conditions())
    return run.run(), run.seen


class _Run:
    def __init__(self, setting: Setting, policy: Policy, conditions: Conditions) -> None:
        self._setting = setting
        self._policy = policy
        self._pipeline = policy.pipeline
        self._conditions = conditions
        self._arrivals: Sequence[Arrival] = setting.arrivals
        self._world = World(
            setting.service,
            setting.starts,
            conditions.frontend,
            len(self._arrivals),
            conditions.seed,
            timed=policy.pipeline.timed,
        )
        self._bounds = setting.allowed
        self._chance = Random(f"noise {conditions.seed}")  # noqa: S311 - of the simulation's seed
        self._history: Any = policy.begin()
        self._coming: deque[tuple[float, Snapshot]] = deque()
        self._latest: Snapshot | None = None
        self._woken = False
        self._changes: list[Change] = []
        self._notices: list[Notice] = []
        self._events = 0

    @property
    def seen(self) -> Seen:
        """What became of each request so far."""
        return self._world.seen

    def run(self) -> Result:
        world, arrivals = self._world, self._arrivals
        events = world.events
        last = arrivals[-1].at_s if arrivals else 0.0
        end = last + self._conditions.tail_s
        bounds, first = self._bounds, self._pipeline.begins_with
        world.start_with(bounds.clamp(bounds.initial if first is None else first))
        world.push(0.0, Kind.SCRAPE)
        world.push(0.0, Kind.TICK)
        if self._conditions.frontend.rule is not None:
            world.push(0.0, Kind.LIMIT)
        position, count = 0, len(arrivals)
        wakes = self._pipeline.wake_s is not None
        handle = self._handle
        while True:
            at = arrivals[position].at_s if position < count else math.inf
            if at <= events[0][0]:
                world.arrive(arrivals[position], at)
                position += 1
                if wakes and world.wanted == 0 and world.held and not self._woken:
                    self._woken = True
                    world.push(at + (self._pipeline.wake_s or 0.0), Kind.WAKE)
                self._events += 1
                continue
            time, kind, _, pod = heapq.heappop(events)
            if time > end:
                break
            self._events += 1
            if kind == Kind.ENGINE:
                # An entry that an arrival has overtaken is stale.
                if pod is not None and pod.engine.due == time:
                    world.advance(pod, time)
            else:
                handle(time, Kind(kind), pod)
        found = result_of(
            self._setting, self._policy.name, world, tuple(self._changes), end, self._events
        )
        return replace(found, notices=tuple(self._notices))

    def _handle(self, now: float, kind: Kind, pod: Any) -> None:  # noqa: ANN401 - Pod, by kind
        world = self._world
        match kind:
            case Kind.READY:
                world.become_ready(pod, now)
            case Kind.LOST:
                world.lose(pod, now)
            case Kind.EXPIRE:
                world.expire(now)
            case Kind.DRAINED:
                world.end_drain(pod, now)
            case Kind.SCRAPE | Kind.TICK | Kind.LIMIT:
                world.push(now + self._look(now, kind), kind)
            case Kind.WAKE:
                self._woken = False
                if world.wanted == 0:
                    self._decide(now, (self._read(now),))
            case Kind.ENGINE:
                raise AssertionError("the loop advances engines itself")

    def _look(self, now: float, kind: Kind) -> float:
        """What is done again and again; seconds until the next time."""
        if kind == Kind.LIMIT:
            self._world.set_limit(now)
            return _LIMIT_S
        if kind == Kind.SCRAPE:
            self._coming.append((now + self._pipeline.lag_s, self._read(now)))
            return self._pipeline.scrape_s
        self._decide(now)
        return self._pipeline.tick_s

    def _read(self, now: float) -> Snapshot:
        return self._world.snapshot(now, self._pipeline.noise, self._chance)

    def _decide(self, now: float, told: tuple[Snapshot, ...] = ()) -> None:
        world = self._world
        visible: list[Snapshot] = []
        while self._coming and self._coming[0][0] <= now:
            visible.append(self._coming.popleft()[1])
        visible += told
        if visible:
            self._latest = visible[-1]
        staying = world.staying
        sample = Sample(world.wanted, len(staying), world.ready, tuple(visible), self._latest)
        decision = self._policy.decide(self._history, sample, now)
        self._history = decision.history
        if decision.notice and decision.notice not in {each.words for each in self._notices}:
            self._notices.append(Notice(now, decision.notice))
        replicas = self._bounds.clamp(decision.replicas)
        if replicas != world.wanted:
            self._changes.append(Change(now, world.wanted, replicas, decision.reason))
            world.scale_to(replicas, now)
