"""Somebody else's hand on the replicas: put back and told; as a fight when it goes on."""

from __future__ import annotations

import pytest

from stoker.model import reasons
from stoker.model.plan import Apply
from stoker.plan import others
from stoker.plan.conditions import SCALED_BY_OTHERS
from tests.unit.plan import worlds
from tests.unit.plan.worlds import World

SCALING = {"minReplicas": 2, "maxReplicas": 4, "scaleDownStabilization": "30s"}


def settled(**fields: object) -> World:
    world = World(worlds.spec(**fields))
    world.settle()
    return world


def engine(world: World) -> str:
    (revision,) = world.replicas()
    return f"llama-engine-{revision}"


def fights(world: World) -> bool:
    return any(each["type"] == SCALED_BY_OTHERS for each in world.status["conditions"])


def test_it_is_put_back_and_told_with_name_time_and_remedy() -> None:
    world = settled(scaling=SCALING)
    name = engine(world)
    world.scale(name, 5)
    plan = world.look()
    (action,) = plan.actions
    assert isinstance(action, Apply)
    assert action.manifest["spec"]["replicas"] == 2
    assert action.reason == reasons.SCALED_BY_OTHERS
    assert action.resource_version is not None  # it lowers
    (event,) = plan.reports
    assert (event.type, event.reason) == ("Warning", "ScaledByOthers")
    assert event.message.startswith(
        f"The replicas of Deployment {name} were changed from 2 to 5 by kubectl at "
        "2026-01-01T00:00:00Z; Stoker decides that number and has set it to 2."
    )
    assert "remove spec.scaling" in event.message
    assert not fights(world)
    plan = world.look()
    assert (plan.actions, plan.reports) == ((), ())


def test_fewer_are_put_back_too() -> None:
    world = settled(scaling=SCALING)
    world.scale(engine(world), 0)
    (event,) = world.look().reports
    assert "from 2 to 0 by kubectl" in event.message


def test_without_scaling_the_remedy_is_another() -> None:
    world = settled(replicas=2)
    world.scale(engine(world), 1)
    (event,) = world.look().reports
    assert "kubectl scale infer" in event.message
    assert "spec.scaling" not in event.message


def test_our_own_scaling_and_the_users_are_nobody_elses() -> None:
    world = settled(replicas=2)
    for wanted in (3, 1, 0, 2):
        world.change(worlds.spec(replicas=wanted))
        plan = world.look()
        assert plan.actions
        assert plan.reports == ()
        world.settle()
        assert world.past.put_back == ()


def test_who_changed_it_to_what_we_want_ourselves_is_not_told() -> None:
    world = settled(replicas=2)
    world.scale(engine(world), 3)
    world.change(worlds.spec(replicas=3))
    plan = world.look()
    assert (plan.actions, plan.reports) == ((), ())
    # Nor later, when the number is still theirs and we go on.
    world.change(worlds.spec(replicas=1))
    plan = world.look()
    assert plan.actions
    assert plan.reports == ()


def test_an_autoscaler_is_called_one() -> None:
    world = settled(scaling=SCALING)
    world.scale(engine(world), 1, "kube-controller-manager")
    (event,) = world.look().reports
    assert "by a HorizontalPodAutoscaler (kube-controller-manager)" in event.message


def test_a_fight_is_a_condition_that_goes_by_itself() -> None:
    world = settled(scaling=SCALING)
    name = engine(world)
    for number, manager in enumerate(("kubectl", "keda", "kubectl"), start=1):
        world.scale(name, 4, manager)
        plan = world.look()
        assert fights(world) == (number == others.FIGHT)
        assert bool(plan.reports) == (number < others.FIGHT)
    said = world.condition(SCALED_BY_OTHERS)
    assert (said["status"], said["reason"]) == ("True", reasons.SCALED_BY_OTHERS)
    assert name in said["message"]
    assert "by keda, kubectl" in said["message"]
    assert [e.reason for e in plan.events if e.reason == reasons.SCALED_BY_OTHERS]

    # It goes on: the same words, and no word more.
    world.settle()
    before = world.condition(SCALED_BY_OTHERS)
    world.scale(name, 4)
    plan = world.look()
    assert world.condition(SCALED_BY_OTHERS) == before
    assert plan.reports == ()
    assert not [e for e in plan.events if e.reason == reasons.SCALED_BY_OTHERS]

    # It ends: somebody looks again in time, and the condition is gone.
    world.settle()
    plan = world.look()
    assert plan.wake_at is not None
    assert plan.wake_at - world.time < others.WINDOW_S
    while fights(world):
        assert plan.wake_at is not None
        world.time = max(world.time, plan.wake_at)
        plan = world.look()
    assert world.time < 1000 + 2 * others.WINDOW_S


@pytest.mark.parametrize("pause", [1, 301])
def test_three_times_in_ten_minutes_is_a_fight_and_more_rarely_is_not(pause: float) -> None:
    world = settled(scaling=SCALING)
    found = []
    for _ in range(5):
        world.scale(engine(world), 3)
        world.look()
        found.append(fights(world))
        world.time += pause
    assert any(found) == (pause == 1)


def test_what_is_remembered_is_bounded_by_the_window() -> None:
    world = settled(scaling=SCALING)
    for _ in range(100):
        world.scale(engine(world), 3)
        world.look()
        world.time += 15
    assert len(world.past.put_back) <= others.WINDOW_S / 15 + 1


def test_a_note_of_our_own_is_not_called_drift() -> None:
    world = World(worlds.spec())
    seen = []
    for _ in range(20):
        seen += [each.reason for each in world.look().actions]
        world.run_pods()
    assert reasons.SERVED in seen
    assert reasons.DRIFTED not in seen
