"""Weights that are copied into memory before the engine starts."""

from __future__ import annotations

from typing import Any

import pytest

from stoker.quantity import parse_quantity
from stoker.render.engine import ENGINE_BYTES
from stoker_worker.contract import ENV_CONFIG, STAGED_DIR, WorkerConfig
from tests.unit.plan import worlds
from tests.unit.plan.worlds import FACTS, PLANNING, World

L4: dict[str, Any] = {
    "accelerator": {"types": ["nvidia-l4"], "perReplica": 1},
    "context": {"maxModelLen": 8192},
}
STAGED = {"optimization": {"staging": "memory"}}


def settled(**fields: Any) -> World:
    world = World(worlds.spec(**{**L4, **fields}), PLANNING)
    world.settle()
    return world


def pod(world: World) -> dict[str, Any]:
    (name,) = [name for kind, name in world.objects if kind == "Deployment" and "-engine-" in name]
    found: dict[str, Any] = world.deployment(name).body["spec"]["template"]["spec"]
    return found


def config(found: dict[str, Any]) -> WorkerConfig:
    (container,) = found["containers"]
    env = {each["name"]: each.get("value", "") for each in container["env"]}
    return WorkerConfig.from_json(env[ENV_CONFIG])


def test_an_init_container_copies_them_and_the_engine_reads_the_copy() -> None:
    found = pod(settled(**STAGED))
    (volume,) = [each for each in found["volumes"] if each["name"] == "staged"]
    room = int(volume["emptyDir"]["sizeLimit"])
    assert volume["emptyDir"]["medium"] == "Memory"
    assert FACTS.weight_bytes < room < FACTS.weight_bytes * 1.1
    stager = found["initContainers"][-1]
    staged = f"{STAGED_DIR}/tiny"
    assert stager["command"][-2:] == ["/models/tiny", staged]
    assert int(stager["resources"]["limits"]["memory"]) > room
    assert (config(found).model_path, config(found).prefetch) == (staged, False)
    (container,) = found["containers"]
    mounts = {each["name"]: each for each in container["volumeMounts"]}
    assert mounts["staged"]["readOnly"]
    assert mounts["model"]["readOnly"], "what is not copied is a link"
    assert int(container["resources"]["requests"]["memory"]) == room + ENGINE_BYTES


def test_it_is_another_revision_and_nothing_changes_without_it() -> None:
    plain, staged, none = (
        settled(), settled(**STAGED), settled(optimization={"staging": "none"}),
    )  # fmt: skip
    assert plain.replicas() != staged.replicas()
    assert "staged" not in str(pod(plain))
    assert pod(plain) == pod(none)


@pytest.mark.parametrize("field", ["limits", "requests"])
def test_memory_that_would_not_do_is_refused(field: str) -> None:
    world = settled(**STAGED, template={"resources": {field: {"memory": "16Gi"}}})
    told = world.condition("Planned")
    assert (told["status"], told["reason"]) == ("False", "NotEnoughMemory")
    assert f"template.resources.{field}.memory is 16Gi" in told["message"]
    assert "write at least" in told["message"]
    assert world.replicas() == {}


def test_memory_that_will_do_is_obeyed() -> None:
    amounts = {"requests": {"memory": "20Gi"}, "limits": {"memory": "24Gi"}}
    found = pod(settled(**STAGED, template={"resources": amounts}))
    (container,) = found["containers"]
    assert parse_quantity(container["resources"]["requests"]["memory"]) == parse_quantity("20Gi")
    assert parse_quantity(container["resources"]["limits"]["memory"]) == parse_quantity("24Gi")


def test_on_processors_it_would_be_there_twice() -> None:
    world = settled(**STAGED, accelerator={"types": ["cpu"]})
    told = world.condition("Planned")
    assert (told["status"], told["reason"]) == ("False", "StagingNeedsAccelerator")
