"""What a policy costs at a given attainment, from runs with several of its parameters.

Each run is a point: the share of requests within both targets, and what it cost. A point stands for
all lower attainments too, and a service that is run with one parameter on some days and another on
others reaches what lies between two points. So a policy's frontier is the lower convex hull of its
points, from the cheapest one to the one that attains most:

    cost │               o        o  a corner
         │        x     /
         │             /          x  a run that costs more than a mix of its neighbours
         │     __--o--'
         │  o--
         └───────────────── attainment

Two policies are compared by the costs of their frontiers at one attainment. Beyond the most that
was reached a frontier has no cost: the policy cannot do it with any parameter that was tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Point:
    """One run."""

    attained: float  # share, 0 to 1
    cost: float  # accelerator-hours
    label: str  # the policy's name with its parameter


Frontier = tuple[Point, ...]  # corners, attainment and cost rising


def frontier_of(points: Iterable[Point]) -> Frontier:
    """The corners of the lower convex hull; empty where there is no point."""
    corners: list[Point] = []
    for point in _undominated(points):
        while len(corners) > 1 and not _turns_up(corners[-2], corners[-1], point):
            corners.pop()
        corners.append(point)
    return tuple(corners)


def cost_at(frontier: Frontier, attained: float) -> float | None:
    """What this attainment costs; None where it is not reached."""
    if not frontier or attained > frontier[-1].attained:
        return None
    if attained <= frontier[0].attained:
        return frontier[0].cost
    for low, high in pairwise(frontier):
        if attained <= high.attained:
            share = (attained - low.attained) / (high.attained - low.attained)
            return low.cost + share * (high.cost - low.cost)
    raise AssertionError("an attainment within the frontier lies between two corners")


def runs_at(frontier: Frontier, attained: float) -> tuple[Point, ...]:
    """The one or two runs that `cost_at` is computed from; none where it is not reached."""
    if not frontier or attained > frontier[-1].attained:
        return ()
    if attained <= frontier[0].attained:
        return (frontier[0],)
    for low, high in pairwise(frontier):
        if attained == high.attained:
            return (high,)
        if attained < high.attained:
            return (low, high)
    return ()


@dataclass(frozen=True, slots=True)
class Best:
    """The cheapest of several policies at one attainment."""

    name: str
    cost: float
    runs: tuple[Point, ...]


def best_at(frontiers: Mapping[str, Frontier], attained: float) -> Best | None:
    """Of the policies that reach this attainment, the one that costs least; None: none does."""
    found: Best | None = None
    for name, frontier in frontiers.items():
        cost = cost_at(frontier, attained)
        if cost is not None and (found is None or cost < found.cost):
            found = Best(name, cost, runs_at(frontier, attained))
    return found


def reached(frontier: Frontier) -> float:
    """The most that was attained; 0 without a run."""
    return frontier[-1].attained if frontier else 0.0


def unable(frontiers: Mapping[str, Frontier], attained: float) -> Sequence[tuple[str, float]]:
    """Policies that reach this attainment with no parameter, and the most that each did."""
    found = [(name, reached(frontier)) for name, frontier in frontiers.items()]
    return sorted(
        ((name, most) for name, most in found if most < attained), key=lambda each: -each[1]
    )


def _undominated(points: Iterable[Point]) -> list[Point]:
    """By rising cost, those that attain more than every cheaper one."""
    found: list[Point] = []
    for point in sorted(points, key=lambda each: (each.cost, -each.attained)):
        if not found or point.attained > found[-1].attained:
            found.append(point)
    return found


def _turns_up(first: Point, middle: Point, last: Point) -> bool:
    """Whether cost per attainment rises at the middle one."""
    before = (middle.cost - first.cost) * (last.attained - middle.attained)
    after = (last.cost - middle.cost) * (middle.attained - first.attained)
    return before < after
