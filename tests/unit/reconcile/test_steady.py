"""What may be said again without a plan, and what may not."""

from __future__ import annotations

from dataclasses import replace

from stoker.model import reasons
from stoker.model.load import EngineSample, FrontendSample, Load
from stoker.model.plan import Plan, Verdict
from stoker.model.scale import ScaleDecision
from stoker.reconcile.steady import OTHER_LOAD_S, SAME_LOAD_S, Steady
from tests.unit.plan import worlds
from tests.unit.plan.worlds import World

NOW = 1000.0
SCALE = ScaleDecision(
    2, Verdict(reasons.LOAD_STEADY, "3 running"), active=True, activity=Verdict("F", "follows")
)


def settled() -> World:
    world = World(worlds.spec(scaling={"maxReplicas": 4}))
    world.settle(load(1))
    return world


def load(running: int) -> Load:
    return Load(
        NOW, (FrontendSample("f", 0, running, 9.0),), (EngineSample("e", running, 0, None),)
    )


def quiet_plan(world: World) -> Plan:
    plan = world.decide(load(1))
    assert not plan.actions
    return replace(plan, wake_at=None)


def test_another_load_alone_is_nothing_new() -> None:
    world = settled()
    steady = Steady.after(world.observe(load(1)), SCALE, quiet_plan(world), NOW)
    assert steady is not None
    again = replace(SCALE, verdict=Verdict(reasons.LOAD_STEADY, "4 running"), load=load(4))
    assert steady.holds(world.observe(load(4)), again, NOW + 1)
    assert not steady.holds(world.observe(load(4)), again, NOW + OTHER_LOAD_S)
    assert steady.holds(world.observe(load(1)), SCALE, NOW + OTHER_LOAD_S)
    assert not steady.holds(world.observe(load(1)), SCALE, NOW + SAME_LOAD_S)


def test_anything_else_is() -> None:
    world = settled()
    seen = world.observe(load(1))
    steady = Steady.after(seen, SCALE, quiet_plan(world), NOW)
    assert steady is not None
    for scale in (
        replace(SCALE, replicas=3),
        replace(SCALE, active=False),
        replace(SCALE, keep="{}"),
        replace(SCALE, activity=Verdict("F", "other words")),
        replace(SCALE, verdict=Verdict(reasons.LOAD_SHRANK, "3 running")),
    ):
        assert not steady.holds(seen, scale, NOW)
    pod = replace(seen.pods[0], ready=not seen.pods[0].ready)
    for other in (
        replace(seen, pods=(pod, *seen.pods[1:])),
        replace(seen, pods=seen.pods[1:]),
        replace(seen, objects=seen.objects[1:]),
        replace(seen, service=replace(seen.service, generation=99)),
        replace(seen, service=replace(seen.service, status={})),
        replace(seen, kv_tokens={"e": 1}),
        replace(seen, job_refused="no"),
    ):
        assert not steady.holds(other, SCALE, NOW)


def test_a_plan_that_does_something_or_has_its_own_time_is_made_again() -> None:
    world = settled()
    seen, plan = world.observe(load(1)), quiet_plan(world)
    first = World(worlds.spec()).decide()
    assert first.actions
    assert Steady.after(seen, SCALE, first, NOW) is None
    assert Steady.after(seen, replace(SCALE, keep="{}"), plan, NOW) is None
    soon = Steady.after(seen, SCALE, replace(plan, wake_at=NOW + 2), NOW)
    assert soon is not None
    assert soon.holds(seen, SCALE, NOW + 1.9)
    assert not soon.holds(seen, SCALE, NOW + 2)
