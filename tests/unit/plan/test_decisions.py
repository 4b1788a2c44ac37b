"""What the status keeps of decisions on the number of replicas."""

from typing import Any

from stoker.model.load import EngineSample, FrontendSample, Load
from tests.unit.plan import worlds
from tests.unit.plan.worlds import World

SCALING = {
    "minReplicas": 0,
    "maxReplicas": 4,
    "scaleToZeroAfter": "1m",
    "scaleDownStabilization": "30s",
}


def load(world: World, held: int = 0, running: int = 0) -> Load:
    engines = (EngineSample("e", running, 0, 0.1),) if world.ready() else ()
    return Load(world.time, (FrontendSample("f", held, held + running, 0),), engines)


def swing(world: World) -> None:
    """Up, and a minute later down."""
    for _ in range(3):
        world.look(load(world, held=15, running=1))
        world.run_pods()
    for _ in range(40):
        world.look(load(world, running=1))
        world.run_pods()


def test_the_standing_decision_has_its_numbers() -> None:
    world = World(worlds.spec(scaling=SCALING))
    world.settle(load(world, running=1))
    world.look(load(world, held=15, running=1))
    told = world.status["scaling"]
    assert told["reason"] == "LoadGrew"
    assert told["message"] == world.status["lastScale"]["message"]
    assert (told["need"], told["places"]) == (4, 256)
    assert told["terms"] == {"places": 1, "queue": 4, "progress": 1}
    assert told["fewerNotBefore"] > world.status["lastScale"]["time"]
    assert "limit" not in told
    assert "requestSeconds" not in told


def test_a_limit_is_written_when_it_begins_and_at_most_once_a_minute() -> None:
    world = World(worlds.spec(scaling=SCALING))
    world.settle(load(world, running=1))
    world.look(load(world, held=15, running=1))
    world.run_pods()
    before = world.status
    limits: list[tuple[float, Any]] = []
    for second in range(180):
        world.look(load(world, held=15 + 20 * (second // 90), running=1))
        world.run_pods()
        if world.status["scaling"] != before["scaling"]:
            limits.append((world.time, world.status["scaling"].get("limit")))
        before = world.status
    assert [limit for _, limit in limits] == ["Ceiling"]
    assert world.status["scaling"]["need"] == 9
    assert world.status["load"]["held"] == 35


def test_the_last_changes_stay_newest_first_and_short() -> None:
    world = World(worlds.spec(scaling=SCALING))
    world.settle(load(world, running=1))
    for _ in range(4):
        swing(world)
    last, earlier = world.status["lastScale"], world.status["earlierScales"]
    assert len(earlier) == 4
    changes = [last, *earlier]
    assert [(each["from"], each["to"]) for each in changes] == [
        (4, 1), (1, 4), (4, 1), (1, 4), (4, 1),
    ]  # fmt: skip
    assert [each["time"] for each in changes] == sorted(
        (each["time"] for each in changes), reverse=True
    )
    assert all(len(each["message"]) <= 72 for each in earlier)
    assert {each["reason"] for each in earlier} == {"LoadGrew", "LoadShrank"}


def test_a_fixed_number_has_changes_but_no_scaling() -> None:
    world = World(worlds.spec(replicas=1))
    world.settle()
    world.change(worlds.spec(replicas=3))
    world.settle()
    assert "scaling" not in world.status
    assert world.status["lastScale"]["reason"] == "FixedReplicas"
    assert "earlierScales" not in world.status
