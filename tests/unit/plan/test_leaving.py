"""Who goes when there are to be fewer, and what is written for it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from stoker.model.load import EngineSample, Load
from stoker.model.observed import ObservedPod
from stoker.naming import Component
from stoker.plan import leaving
from tests.unit.plan import worlds
from tests.unit.plan.worlds import World

OTHER = {"engine": {"args": {"max-num-seqs": "8"}}}


def settled(replicas: int) -> World:
    world = World(worlds.spec(replicas=replicas))
    world.settle()
    return world


def engines(world: World) -> list[str]:
    """Names of the pods that answer, the oldest first."""
    found = [each for each in world.pods.values() if each.component is Component.ENGINE]
    return [each.name for each in sorted(found, key=lambda each: each.created)]


def load(world: World, *requests: int | None) -> Load:
    """Requests at each engine, the oldest first; half of them wait. None: it does not tell."""
    samples = tuple(
        EngineSample(name, count - count // 2, count // 2, None)
        for name, count in zip(engines(world), requests, strict=True)
        if count is not None
    )
    return Load(world.time, (), samples, () if len(samples) == len(requests) else ("silent",))


def order(world: World, *requests: int | None) -> list[int]:
    """Ages of the pods in the order in which they go, 0 for the oldest, when one is to go."""
    names = engines(world)
    world.change(worlds.spec(replicas=len(names) - 1))
    plan = world.decide(load(world, *requests))
    assert [cost.cost for cost in plan.costs] == list(range(1, len(names) + 1))
    assert len(plan.actions) == 1
    return [names.index(cost.pod) for cost in plan.costs]


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        ((0, 3, 0), [2, 0, 1]),
        ((1, 0, 2), [1, 0, 2]),
        ((5, 5, 5), [2, 1, 0]),
        ((0, 0, 9), [1, 0, 2]),
        ((9, 0, None), [1, 0, 2]),
        ((None, None, None), [2, 1, 0]),
    ],
)
def test_the_idle_go_first_then_the_newest_and_silence_is_not_idleness(
    requests: tuple[int | None, ...], expected: list[int]
) -> None:
    assert order(settled(3), *requests) == expected


def test_equal_pods_go_in_the_same_order_however_they_are_listed() -> None:
    world = settled(3)
    world.pods = {name: replace(each, created=7.0) for name, each in world.pods.items()}
    names = sorted(each.name for each in world.pods.values() if each.component is Component.ENGINE)
    world.change(worlds.spec(replicas=1))
    listed = world.pods
    for pods in itertools.permutations(listed.values()):
        world.pods = {each.name: each for each in pods}
        plan = world.decide(load(world, 4, 4, 4))
        assert [cost.pod for cost in plan.costs] == names


def test_an_old_look_says_nothing_of_now() -> None:
    world = settled(2)
    old = load(world, 0, 4)
    world.change(worlds.spec(replicas=1))
    world.time += leaving.EVERY_S + 1
    assert [engines(world).index(cost.pod) for cost in world.decide(old).costs] == [1, 0]


def test_the_busy_one_stays() -> None:
    world = settled(3)
    busy = engines(world)[1]
    world.change(worlds.spec(replicas=1))
    world.look(load(world, 0, 2, 1))
    world.run_pods()
    world.run_pods()
    assert engines(world) == [busy]


def test_nothing_is_written_where_there_is_nothing_to_choose() -> None:
    world = settled(3)
    assert world.decide(load(world, 0, 1, 2)).costs == ()  # nobody goes
    world.change(worlds.spec(replicas=5))
    assert world.decide(load(world, 0, 1, 2)).costs == ()
    world.change(worlds.spec(replicas=0))
    plan = world.decide(load(world, 0, 1, 2))
    assert plan.actions
    assert plan.costs == ()  # everybody goes


def test_those_that_do_not_answer_go_anyway_and_cost_no_write() -> None:
    world = settled(3)
    silent = engines(world)[0]
    world.pods[silent] = replace(world.pods[silent], ready=False)
    world.change(worlds.spec(replicas=2))
    plan = world.decide(load(world, None, 0, 5))
    assert plan.actions
    assert plan.costs == ()
    world.change(worlds.spec(replicas=1))
    plan = world.decide(load(world, None, 5, 0))
    assert [engines(world).index(cost.pod) for cost in plan.costs] == [2, 1]


def test_costs_that_tell_them_apart_already_are_left() -> None:
    world = settled(4)
    world.change(worlds.spec(replicas=3))
    world.look(load(world, 3, 2, 1, 0))
    world.run_pods()
    world.run_pods()
    world.time += leaving.EVERY_S
    world.change(worlds.spec(replicas=2))
    plan = world.decide(load(world, 3, 2, 1))
    assert plan.actions
    assert plan.costs == ()
    written = world.decide(load(world, 3, 1, 2)).costs
    assert [(engines(world).index(cost.pod), cost.cost) for cost in written] == [(1, 1), (0, 3)]


def test_they_are_written_at_most_once_a_minute() -> None:
    world = settled(4)
    world.change(worlds.spec(replicas=3))
    assert world.look(load(world, 3, 2, 1, 0)).costs
    world.run_pods()
    world.run_pods()
    world.change(worlds.spec(replicas=2))
    plan = world.look(load(world, 0, 2, 5))
    assert plan.actions
    assert plan.costs == ()
    world.run_pods()
    world.run_pods()
    world.time += leaving.EVERY_S
    world.change(worlds.spec(replicas=1))
    plan = world.decide(load(world, 0, 2))
    assert [engines(world).index(cost.pod) for cost in plan.costs] == [0, 1]


def test_a_settled_service_never_writes_them() -> None:
    world = settled(3)
    for second in range(900):
        assert world.look(load(world, second % 2, 1, second % 5)).costs == ()


@pytest.mark.parametrize("stranger", [None, "llama-engine-other-5d8c", "theirs"])
def test_pods_of_others_are_not_touched(stranger: str | None) -> None:
    world = settled(2)
    mine = engines(world)
    their: ObservedPod = replace(
        world.pods[mine[0]], name="their", uid="uid-their", replica_set=stranger
    )
    world.pods["their"] = their
    world.change(worlds.spec(replicas=1))
    plan = world.decide()
    assert {cost.pod for cost in plan.costs} == set(mine)


def test_a_rollout_takes_the_idle_ones_of_the_old_revision_first() -> None:
    world = settled(2)
    old = engines(world)
    world.change(worlds.spec(replicas=2, **OTHER))
    world.look()
    world.run_pods()
    world.run_pods()
    new = next(name for name in engines(world) if name not in old)
    busy = Load(
        world.time, (), (EngineSample(old[1], 4, 0, None), EngineSample(old[0], 0, 0, None))
    )
    plan = world.decide(busy)
    assert [cost.pod for cost in plan.costs] == [old[0], old[1]]
    assert new not in {cost.pod for cost in plan.costs}
