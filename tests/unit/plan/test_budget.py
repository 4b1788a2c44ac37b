"""A budget that does not pay for the plan: refused with the price, and what runs goes on."""

from typing import Any

import pytest

from stoker.model import reasons
from stoker.model.load import EngineSample, FrontendSample, Load
from tests.unit.plan import worlds


def _world(**scaling: Any) -> worlds.World:
    fields = {"accelerator": {"types": ["nvidia-l4"]}, "scaling": {"maxReplicas": 8, **scaling}}
    return worlds.World(worlds.spec(**fields), worlds.PLANNING)


def _price() -> float:
    world = _world()
    world.settle()
    return float(world.status["plan"]["expected"]["pricePerHour"])


def test_a_budget_that_pays_changes_nothing() -> None:
    world = _world(budget={"maxPerHour": f"{_price():.2f}"})
    world.settle()
    assert world.condition("Planned")["status"] == "True"
    assert world.ready() == 1


def test_a_budget_below_one_replica_starts_nothing() -> None:
    price = _price()
    world = _world(budget={"maxPerHour": f"{price - 0.01:.2f}"})
    world.settle()
    planned = world.condition("Planned")
    assert (planned["status"], planned["reason"]) == ("False", reasons.BUDGET_TOO_SMALL)
    assert (
        f"costs ${price:.2f} an hour, and maxPerHour is ${price - 0.01:.2f}" in planned["message"]
    )
    assert f"write maxPerHour: '{price:.2f}' or more" in planned["message"]
    assert world.ready() == 0
    assert world.condition("Ready")["reason"] == reasons.BUDGET_TOO_SMALL


@pytest.mark.parametrize(
    ("scaling", "field"),
    [
        ({"minReplicas": 3}, "scaling.minReplicas: 3 replicas cost"),
        (
            {
                "schedule": [
                    {"cron": "0 8 * * *", "duration": "1h", "maxReplicas": 5},
                    {"cron": "0 8 * * *", "duration": "1h", "minReplicas": 3, "maxReplicas": 5},
                ]
            },
            "scaling.schedule",
        ),
        (
            {"schedule": [{"cron": "0 8 * * *", "duration": "1h", "minReplicas": 3}]},
            "scaling.schedule[0].minReplicas: 3 replicas cost",
        ),
    ],
)
def test_what_is_always_wanted_has_to_be_paid(scaling: dict[str, Any], field: str) -> None:
    world = _world(budget={"maxPerHour": f"{2 * _price():.2f}"}, **scaling)
    world.settle()
    message = world.condition("Stalled")["message"]
    assert field in message
    assert world.ready() == 0


def test_a_smaller_budget_is_no_outage_and_lets_none_more_come() -> None:
    world = _world(budget={"maxPerHour": f"{5 * _price():.2f}"})
    busy = Load(1000.0, (), ())
    world.settle()
    assert world.ready() == 1
    world.change(_world(budget={"maxPerHour": "0.01"}).spec)
    for _ in range(20):
        front = FrontendSample("front-0", 300, 300, 0.0)
        busy = Load(world.time, (front,), (EngineSample("engine-0", 5, 50, 0.9),))
        world.look(busy)
        world.run_pods()
    assert world.ready() == 1
    assert world.condition("Planned")["reason"] == reasons.BUDGET_TOO_SMALL
    assert world.condition("Ready")["reason"] == reasons.OLD_REVISION_SERVES


def test_where_there_is_no_price_a_budget_cannot_be_kept() -> None:
    fields = {"scaling": {"maxReplicas": 8, "budget": {"maxPerHour": "5"}}}
    world = worlds.World(worlds.spec(**fields))  # processors, without a plan
    world.settle()
    planned = world.condition("Planned")
    assert (planned["status"], planned["reason"]) == ("False", reasons.BUDGET_NEEDS_PRICE)
    assert "no price is known of a replica on cpu; remove budget" in planned["message"]
    assert world.ready() == 0
