"""A replica's way from being asked for to its first answer, and what can go wrong on it.

Phases, one after the other; each takes a time of its own:

    pod created ─ node ─ image ─ weights ─ compile ─ warmUp ─► ready

A node that a pod has left stays for a while with the image on it, and so do nodes that were there
from the beginning: a pod that finds one skips the first two phases. A time is drawn from a
log-normal distribution around its median. Chance is the seed's and the pod's number's alone, so
that two policies that create their third pod draw the same start for it.

The times in use by default are those of an 8B model in a cloud: a node within 100 s, an image
within a minute (streamed or small), weights of 16 GB from a disk of 1 GB/s with a good loader,
compilation with a warm cache (`docs/simulator.md` has the sources).
"""

import math
from dataclasses import dataclass, field
from random import Random
from typing import Final

PHASES: Final = ("node", "image", "weights", "compile", "warmUp")
_ON_NODE: Final = ("weights", "compile", "warmUp")


@dataclass(frozen=True, slots=True)
class Phase:
    """How long one phase takes."""

    median_s: float
    sigma: float = 0.0  # standard deviation of its logarithm; 0: always the median

    def draw(self, chance: Random) -> float:
        """One time, in seconds."""
        drawn = chance.gauss(0.0, 1.0)  # always drawn, so that phases do not shift each other
        return self.median_s * math.exp(self.sigma * drawn)


@dataclass(frozen=True, slots=True)
class Starts:
    """All starts of a service."""

    node: Phase = Phase(100.0, 0.2)
    image: Phase = Phase(60.0, 0.2)
    weights: Phase = Phase(16.0, 0.1)
    compile: Phase = Phase(20.0, 0.1)
    warm_up: Phase = Phase(10.0, 0.1)
    warm_nodes: int = 0  # free nodes with the image that are there from the beginning, for good
    node_stays_s: float = 600.0  # how long a node stays after its pod has gone
    not_granted: float = 0.0  # probability that a node that is asked for never comes
    never_ready: float = 0.0  # probability that a pod never becomes ready
    spot_losses_per_hour: float = 0.0  # of each replica

    def lead_s(self, deviations: float = 0.0) -> float:
        """What a start takes when no node has been left yet, each phase so far from its median."""
        phases = [self.weights, self.compile, self.warm_up]
        if not self.warm_nodes:
            phases += [self.node, self.image]
        return sum(each.median_s * math.exp(deviations * each.sigma) for each in phases)


@dataclass(frozen=True, slots=True)
class Start:
    """What was drawn for one pod, in seconds."""

    phases: dict[str, float] = field(default_factory=dict)
    granted: bool = True  # whether a node comes, where one is needed
    healthy: bool = True  # whether it ever becomes ready
    lost_after_s: float = math.inf  # from being ready to the loss of its spot node

    def ready_after_s(self, *, node_there: bool) -> float:
        """From the pod's creation to its first answer; infinity: never."""
        names = _ON_NODE if node_there else PHASES
        if not self.healthy or not (node_there or self.granted):
            return math.inf
        return sum(self.phases[name] for name in names)


def draw_start(starts: Starts, seed: int, number: int) -> Start:
    """The start of pod `number` in a run with this seed."""
    chance = Random(f"start {seed} {number}")  # noqa: S311 - a simulation's chance is its seed's
    drawn = (starts.node, starts.image, starts.weights, starts.compile, starts.warm_up)
    phases = {name: phase.draw(chance) for name, phase in zip(PHASES, drawn, strict=True)}
    granted = chance.random() >= starts.not_granted
    healthy = chance.random() >= starts.never_ready
    life = chance.expovariate(1.0)
    rate = starts.spot_losses_per_hour / 3600
    return Start(phases, granted, healthy, life / rate if rate > 0 else math.inf)


@dataclass(slots=True)
class Nodes:
    """Free nodes that have the image."""

    warm: int
    left: list[float] = field(default_factory=list)  # when each goes, rising

    def take(self, now: float) -> bool | None:
        """One of them: whether it is there for good; None where a new one has to come."""
        while self.left and self.left[0] <= now:
            self.left.pop(0)
        if self.warm:
            self.warm -= 1
            return True
        if self.left:
            self.left.pop()
            return False
        return None
