"""Stories of nodes: they order the choices of a plan that is made, and never touch one that is."""

import json
from dataclasses import replace
from typing import Any

import pytest

from stoker import naming
from stoker.model.inventory import Inventory, Stock
from stoker.model.topology import Requirement, Topology
from tests.unit.plan import worlds
from tests.unit.plan.worlds import PLANNING, World

EITHER: dict[str, Any] = {
    "accelerator": {"types": ["nvidia-l4", "nvidia-a100"], "perReplica": 1},
    "context": {"maxModelLen": 8192},
}
IN_Z1 = Topology(((Requirement("topology.kubernetes.io/zone", "In", ("z1",)),),), "models")
UNSUITABLE = "NodesUnsuitable"


def inventory(topology: Topology | None = None, **stocks: Stock) -> Inventory:
    named = {name.replace("_", "-"): stock for name, stock in stocks.items()}
    return Inventory(named, frozenset({"cpu"}), topology)


def there(most: int = 1, **fields: Any) -> Stock:
    return Stock(**{"nodes": 1, "accelerators": most, "most_on_node": most, **fields})


NOTHING = inventory()
A100 = inventory(nvidia_a100=there())
BOTH = inventory(nvidia_a100=there(), nvidia_l4=there())


def settled(found: Inventory | None, **fields: Any) -> World:
    world = World(worlds.spec(**(fields or EITHER)), PLANNING)
    world.inventory = found
    world.settle()
    return world


def chosen(world: World) -> str:
    return str(world.status["plan"]["accelerator"])


def told(world: World) -> list[str]:
    return [each["type"] for each in world.status["conditions"]]


@pytest.mark.parametrize(
    ("found", "type_"),
    [
        (None, "nvidia-l4"),
        (NOTHING, "nvidia-l4"),
        (A100, "nvidia-a100"),
        (BOTH, "nvidia-l4"),
        (inventory(IN_Z1, nvidia_l4=Stock(elsewhere=3)), "nvidia-a100"),
        (inventory(IN_Z1, nvidia_l4=Stock(elsewhere=3), nvidia_a100=there()), "nvidia-a100"),
    ],
)
def test_what_nodes_have_orders_the_choices(found: Inventory | None, type_: str) -> None:
    world = settled(found)
    assert chosen(world) == type_
    assert sum(world.replicas().values()) == 1
    kept = world.status["plan"]["inputs"].get("nodes")
    assert (kept is None) == (found is None)


def test_a_type_without_a_node_is_planned_and_its_pod_made() -> None:
    world = settled(NOTHING, **{**EITHER, "accelerator": {"types": ["nvidia-l4"]}})
    assert chosen(world) == "nvidia-l4"
    assert sum(world.replicas().values()) == 1
    assert json.loads(world.status["plan"]["inputs"]["nodes"]) == {"nvidia-l4": 0}
    assert UNSUITABLE not in told(world)


@pytest.mark.parametrize("first", [None, NOTHING, A100, BOTH])
def test_nodes_that_come_and_go_change_nothing_that_was_planned(first: Inventory | None) -> None:
    world = settled(first)
    before, runs = world.status, world.replicas()
    for found in (NOTHING, BOTH, A100, None, inventory(nvidia_l4=there(8)), BOTH):
        world.inventory = found
        plan = world.look()
        assert plan.actions == ()
        assert plan.events == ()
        assert world.status == before
    assert world.replicas() == runs
    assert "BetterPlanAvailable" not in told(world)


def test_an_offer_stays_and_is_taken_as_it_was_made_whatever_nodes_came() -> None:
    free = {"accelerator": {"types": ["nvidia-l4", "nvidia-a100"]}}
    world = settled(A100, **free)
    gpus = dict(PLANNING.gpus)
    known = gpus["nvidia-a100"]
    gpus["nvidia-a100"] = replace(
        known, memory_bytes=4 * known.memory_bytes, bandwidth=4 * known.bandwidth
    )
    world.platform = replace(PLANNING, gpus=gpus)
    world.settle()
    offer = world.status["plan"]["offer"]
    assert "nvidia-a100" in offer["summary"]
    for found in (NOTHING, BOTH, None, inventory(nvidia_l4=there(8)), A100, BOTH):
        world.inventory = found
        plan = world.look()
        assert (plan.actions, plan.events) == ((), ())
        assert world.status["plan"]["offer"] == offer
    world.annotations[naming.ANNOTATION_ACCEPT] = offer["id"]
    world.settle()
    assert chosen(world) == "nvidia-a100"
    assert world.status["plan"]["accepted"] == offer["id"]
    assert "offer" not in world.status["plan"]


def test_a_changed_wish_is_planned_with_the_nodes_of_today() -> None:
    world = settled(A100)
    world.inventory = BOTH
    world.change(worlds.spec(**{**EITHER, "context": {"maxModelLen": 4096}}))
    world.settle()
    assert chosen(world) == "nvidia-l4"


def test_what_does_not_fit_is_said_in_words_that_stay() -> None:
    huge = {**EITHER, "optimization": {"quantization": "none", "workload": {"concurrency": 5000}}}
    messages = set()
    world = World(worlds.spec(**huge), PLANNING)
    for found in (None, NOTHING, A100, BOTH):
        world.inventory = found
        for _ in range(3):
            world.look()
            world.run_pods()
        assert world.condition("Planned")["status"] == "False"
        messages.add(world.condition("Planned")["message"])
    assert len(messages) == 1


def test_an_old_driver_on_the_planned_type_is_told_once() -> None:
    world = settled(A100)
    assert UNSUITABLE not in told(world)
    world.inventory = inventory(nvidia_a100=there(drivers=frozenset({535, 580})))
    plan = world.look()
    assert [event.reason for event in plan.events] == ["DriverTooOld"]
    assert plan.events[0].type == "Warning"
    condition = world.condition(UNSUITABLE)
    assert (condition["status"], condition["reason"]) == ("True", "DriverTooOld")
    assert "driver 535" in condition["message"]
    # More nodes of that kind, and none of the other type's affair.
    old = frozenset({535, 580})
    world.inventory = inventory(
        nvidia_a100=there(8, nodes=9, drivers=old), nvidia_l4=there(drivers=frozenset({470}))
    )
    plan = world.look()
    assert plan.events == ()
    assert world.condition(UNSUITABLE)["message"] == condition["message"]
    world.inventory = A100
    assert world.look().events == ()
    assert UNSUITABLE not in told(world)


def test_several_troubles_are_said_together() -> None:
    world = settled(A100)
    bad = there(drivers=frozenset({470}), memory_bytes=40 * 2**30)
    world.inventory = inventory(nvidia_a100=bad)
    world.look()
    condition = world.condition(UNSUITABLE)
    assert condition["reason"] == "DriverTooOld"
    assert "accelerators.nvidia-a100.hardware.memoryGiB" in condition["message"]


def test_a_volume_that_the_planned_type_cannot_reach_is_told() -> None:
    only = {**EITHER, "accelerator": {"types": ["nvidia-l4"], "perReplica": 1}}
    world = settled(inventory(IN_Z1, nvidia_l4=Stock(elsewhere=2)), **only)
    condition = world.condition(UNSUITABLE)
    assert condition["reason"] == "VolumeNotOnNodes"
    assert "zone z1" in condition["message"]
    assert sum(world.replicas().values()) == 1  # told, and made all the same
    world.inventory = inventory(IN_Z1, nvidia_l4=there(), nvidia_a100=Stock(elsewhere=1))
    world.look()
    assert UNSUITABLE not in told(world)


def test_before_a_plan_only_a_volume_that_no_type_reaches_is_told() -> None:
    world = World(worlds.spec(**EITHER), PLANNING)
    world.inventory = inventory(IN_Z1, nvidia_l4=Stock(elsewhere=2), nvidia_a100=Stock(elsewhere=2))
    world.look()
    assert world.condition("Planned")["reason"] == "ReadingModel"
    assert world.condition(UNSUITABLE)["reason"] == "VolumeNotOnNodes"
    world.inventory = inventory(IN_Z1, nvidia_l4=Stock(elsewhere=2))
    world.look()
    assert UNSUITABLE not in told(world)
