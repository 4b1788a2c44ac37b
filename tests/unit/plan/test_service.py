"""Stories of one service: passes over a small cluster that carries the plans out."""

from dataclasses import replace

import pytest

from stoker import naming
from stoker.model import reasons
from stoker.model.load import EngineSample, FrontendSample, Load
from stoker.model.observed import ContainerFailure
from stoker.model.plan import Apply, Delete
from tests.unit.plan import worlds
from tests.unit.plan.worlds import World

SCALING = {
    "minReplicas": 0,
    "maxReplicas": 4,
    "scaleToZeroAfter": "1m",
    "scaleDownStabilization": "30s",
}
CRASH = (ContainerFailure("engine", "Error", "", exit_code=1, termination="boom"),)
OTHER = {"engine": {"args": {"max-num-seqs": "8"}}}


def load(world: World, *, held: int = 0, running: int = 0, total: float = 0) -> Load:
    engines = (EngineSample("e", running, 0, 0.1),) if world.ready() else ()
    return Load(world.time, (FrontendSample("f", held, held + running, total),), engines)


def settled(**fields: object) -> World:
    world = World(worlds.spec(**fields))
    world.settle()
    return world


def test_a_new_service_gets_its_objects_in_a_safe_order() -> None:
    world = World(worlds.spec())
    applied = [
        (action.manifest["kind"], action.manifest["metadata"]["name"])
        for action in world.look().actions
        if isinstance(action, Apply)
    ]
    kinds = [kind for kind, _ in applied]
    assert kinds.index("Deployment") > max(
        place for place, kind in enumerate(kinds) if kind in {"ServiceAccount", "RoleBinding"}
    )
    assert kinds[-2:] == ["Deployment", "Deployment"]
    assert applied[-2][1].startswith("llama-engine-")
    assert applied[-1][1] == "llama-frontend"
    assert len(set(applied)) == len(applied)


def test_every_object_is_owned_named_and_digested() -> None:
    for action in World(worlds.spec()).look().actions:
        assert isinstance(action, Apply)
        metadata = action.manifest["metadata"]
        (owner,) = metadata["ownerReferences"]
        assert owner["uid"] == "uid-service"
        assert owner["controller"] is True
        assert owner["blockOwnerDeletion"] is False
        assert metadata["namespace"] == "chat"
        assert metadata["annotations"][naming.ANNOTATION_APPLIED]
        assert metadata["labels"][naming.LABEL_SERVICE] == "llama"
        assert len(metadata["name"]) <= 63


def test_a_settled_service_writes_nothing() -> None:
    world = settled()
    before = world.status
    for _ in range(3):
        plan = world.look()
        assert plan.actions == ()
        assert plan.events == ()
        assert plan.status == before
    assert world.condition("Ready")["status"] == "True"
    assert world.condition("Progressing")["reason"] == reasons.SETTLED


def test_a_steady_load_writes_nothing() -> None:
    world = World(worlds.spec(scaling=SCALING))
    world.settle(load(world, running=1))
    before = world.decide(load(world, running=1)).status
    for second in range(0, 600, 5):
        plan = world.look(load(world, held=second % 2, running=second % 3 + 1, total=second))
        assert plan.actions == ()
        assert plan.status == before
        assert plan.events == ()


def test_ready_comes_with_the_first_answer() -> None:
    world = World(worlds.spec())
    world.look()
    world.run_pods(start=False)
    world.look()
    assert world.condition("Ready")["status"] == "False"
    assert world.condition("Reconciling")["status"] == "True"
    world.settle()
    assert world.condition("Ready")["status"] == "True"
    assert world.condition("Ready")["observedGeneration"] == 1


def test_a_change_makes_a_revision_that_is_ready_before_the_old_one_goes() -> None:
    world = settled(replicas=2)
    (old,) = world.replicas()
    world.change(worlds.spec(replicas=2, **OTHER))
    for _ in range(20):
        world.look()
        assert sum(world.replicas().values()) <= 3
        assert world.ready() >= 2
        world.run_pods()
        assert world.ready() >= 2
    assert old not in world.replicas()
    assert list(world.replicas().values()) == [2]
    assert world.condition("Ready")["observedGeneration"] == 2


def test_a_lower_number_is_guarded_by_what_was_seen() -> None:
    world = settled(replicas=3)
    world.change(worlds.spec(replicas=1))
    (action,) = world.decide().actions
    assert isinstance(action, Apply)
    assert (
        action.resource_version
        == world.deployment(action.manifest["metadata"]["name"]).resource_version
    )
    world.change(worlds.spec(replicas=5))
    (action,) = world.decide().actions
    assert isinstance(action, Apply)
    assert action.resource_version is None


def test_a_broken_revision_leaves_the_old_one_serving_and_the_next_spec_recovers() -> None:
    world = settled(replicas=2)
    (old,) = world.replicas()
    world.change(worlds.spec(replicas=2, **OTHER))
    world.look()
    (new,) = set(world.replicas()) - {old}
    world.broken[new] = CRASH
    world.settle()
    assert world.replicas() == {old: 2, new: 1}
    ready, progressing = world.condition("Ready"), world.condition("Progressing")
    assert (ready["status"], ready["reason"]) == ("True", reasons.OLD_REVISION_SERVES)
    assert "boom" in ready["message"]
    assert (progressing["status"], progressing["reason"]) == ("False", reasons.ROLLOUT_BLOCKED)
    world.change(worlds.spec(replicas=2))
    world.settle()
    assert world.replicas() == {old: 2}
    assert world.condition("Progressing")["reason"] == reasons.SETTLED


def test_a_first_revision_that_cannot_start_is_replaced_at_once() -> None:
    world = World(worlds.spec(replicas=2))
    world.look()
    (bad,) = world.replicas()
    world.broken[bad] = CRASH
    world.settle()
    assert world.condition("Ready")["reason"] == reasons.ENGINE_CRASHED
    assert "boom" in world.condition("Ready")["message"]
    world.change(worlds.spec(replicas=2, **OTHER))
    world.look()
    assert world.replicas()[bad] == 0
    world.settle()
    assert list(world.replicas().values()) == [2]


def test_three_revisions_end_as_one() -> None:
    world = settled(replicas=2)
    world.change(worlds.spec(replicas=2, **OTHER))
    world.look()
    world.run_pods()
    world.change(worlds.spec(replicas=2, context={"maxModelLen": 64}))
    world.look()
    assert len(world.replicas()) == 3
    world.settle()
    assert list(world.replicas().values()) == [2]


def test_going_back_reuses_the_old_revision() -> None:
    world = settled(replicas=2)
    (first,) = world.replicas()
    world.change(worlds.spec(replicas=2, **OTHER))
    world.look()
    world.run_pods()
    world.change(worlds.spec(replicas=2))
    world.settle()
    assert world.replicas() == {first: 2}


def test_recreate_waits_until_the_old_pods_are_gone() -> None:
    world = settled(replicas=1, rollout={"strategy": "recreate"})
    (old,) = world.replicas()
    world.change(worlds.spec(replicas=1, rollout={"strategy": "recreate"}, **OTHER))
    for _ in range(6):
        world.look()
        told = world.replicas()
        running = {pod.revision for pod in world.pods.values() if pod.revision}
        assert sum(told.values()) <= 1
        assert len(running) <= 1
        world.run_pods()
    assert old not in world.replicas()
    assert list(world.replicas().values()) == [1]


def test_an_upgrade_of_the_operator_rolls_neither_engines_nor_frontends() -> None:
    world = settled(replicas=2)
    templates = {
        name: present.body["spec"]["template"]
        for (kind, name), present in world.objects.items()
        if kind == "Deployment"
    }
    world.platform = replace(
        worlds.PLATFORM,
        worker_image="registry.test/stoker-worker:2.0",
        envoy_image="registry.test/envoy:2.0",
        drain_s=60,
    )
    plan = world.settle()
    assert {note.reason for note in plan.notes} >= {reasons.UPDATE_PENDING}
    world.change(worlds.spec(replicas=3))
    world.settle()
    for name, template in templates.items():
        assert world.deployment(name).body["spec"]["template"] == template
    assert list(world.replicas().values()) == [3]
    # The next change of the spec takes it along.
    world.change(worlds.spec(replicas=3, frontend={"maxHeld": 7}, **OTHER))
    world.settle()
    text = str([present.body for present in world.objects.values()])
    assert "stoker-worker:2.0" in text
    assert "envoy:2.0" in text
    assert "stoker-worker:1.0" not in text


def test_a_correction_by_the_administrator_reaches_a_service_that_cannot_start() -> None:
    world = World(worlds.spec())
    world.look()
    (revision,) = world.replicas()
    world.broken[revision] = (ContainerFailure("engine", "ImagePullBackOff", "not found"),)
    world.settle()
    assert world.condition("Ready")["reason"] == reasons.IMAGE_PULL_FAILED
    engine = replace(worlds.PLATFORM.engines["vllm"], image="registry.test/vllm:fixed")
    world.platform = replace(worlds.PLATFORM, engines={"vllm": engine})
    world.look()
    world.broken.clear()
    world.settle()
    assert world.condition("Ready")["status"] == "True"
    deployment = world.deployment(naming.engine_deployment("llama", revision))
    (container,) = deployment.body["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.test/vllm:fixed"


def test_an_old_frontend_configuration_goes_after_the_roll() -> None:
    world = settled()
    (first,) = [name for kind, name in world.objects if kind == "ConfigMap"]
    world.change(worlds.spec(frontend={"maxHeld": 7}))
    world.look()
    assert ("ConfigMap", first) in world.objects
    world.settle()
    (second,) = [name for kind, name in world.objects if kind == "ConfigMap"]
    assert second != first


def test_drift_is_taken_back() -> None:
    world = settled(replicas=2)
    (name,) = [n for k, n in world.objects if k == "Deployment" and n.startswith("llama-engine")]
    present = world.deployment(name)
    body = dict(present.body)
    body["spec"] = {**body["spec"], "replicas": 9}
    world.objects["Deployment", name] = replace(present, body=body)
    (action,) = world.decide().actions
    assert isinstance(action, Apply)
    assert action.manifest["spec"]["replicas"] == 2
    assert action.resource_version == present.resource_version


def test_to_zero_and_back() -> None:
    world = World(worlds.spec(scaling=SCALING))
    for _ in range(70):
        world.look(load(world))
        world.run_pods()
    assert set(world.replicas().values()) == {0}
    ready = world.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("True", reasons.SCALED_TO_ZERO)
    assert world.status["lastScale"]["from"] == 1
    assert world.status["lastScale"]["to"] == 0
    plan = world.look(load(world, held=1))
    assert set(world.replicas().values()) == {1}
    assert [event.reason for event in plan.events if "to 1" in event.message] == [
        reasons.REQUEST_ARRIVED
    ]
    assert world.condition("Ready")["status"] == "True"
    assert world.condition("Ready")["reason"] == reasons.WAKING_UP


def test_lost_metrics_are_a_condition_at_once_and_one_alarm_within_a_minute() -> None:
    world = World(worlds.spec(scaling=SCALING))
    world.settle(load(world, running=1))
    wanted = world.replicas()
    alarms = []
    for second in range(120):
        plan = world.look()
        condition = world.condition("ScalingActive")
        assert condition["status"] == "False"
        alarms += [(second, each.reason) for each in plan.events if each.type == "Warning"]
    assert [reason for _, reason in alarms] == [reasons.METRICS_LOST]
    assert alarms[0][0] < 60
    assert world.replicas() == wanted
    world.look(load(world, running=1))
    assert world.condition("ScalingActive")["status"] == "True"


def test_a_refused_spec_touches_nothing_that_runs_but_still_scales() -> None:
    world = World(worlds.spec(scaling=SCALING))
    world.settle(load(world, running=1))
    (revision,) = world.replicas()
    world.change(worlds.spec(scaling=SCALING, engine={"args": {"middleware": "x"}}))
    world.time += 60
    assert world.look(load(world, running=1)).actions == ()
    assert world.condition("Ready")["status"] == "True"
    assert world.condition("Progressing")["reason"] == reasons.ARGUMENT_NOT_ALLOWED
    assert world.condition("Stalled")["status"] == "True"
    for _ in range(70):
        world.look(load(world, total=1))
        world.run_pods()
    assert world.replicas() == {revision: 0}
    world.look(load(world, held=1, total=2))
    assert world.replicas() == {revision: 1}


def test_an_unreadable_spec_says_so_and_changes_nothing() -> None:
    world = settled(replicas=2)
    world.spec_error = "spec.replicas: must be a number"
    world.generation += 1
    plan = world.look()
    assert plan.actions == ()
    assert world.condition("Progressing")["reason"] == reasons.INVALID_SPEC
    assert "must be a number" in world.condition("Stalled")["message"]
    assert world.status["desiredReplicas"] == 2


def test_an_unreadable_first_spec_makes_nothing() -> None:
    world = World(worlds.spec())
    world.spec_error = "spec.model: missing"
    assert world.look().actions == ()
    assert world.condition("Ready")["reason"] == reasons.INVALID_SPEC
    assert [event.type for event in world.decide().events] == []


def test_a_taken_name_is_never_written() -> None:
    world = World(worlds.spec())
    world.taken = frozenset({("Service", "llama")})
    assert world.look().actions == ()
    assert world.condition("NameTaken")["status"] == "True"
    assert "Service llama" in world.condition("NameTaken")["message"]
    assert world.condition("Ready")["status"] == "False"
    assert world.condition("Ready")["reason"] == reasons.NAME_TAKEN
    world.taken = frozenset()
    world.settle()
    assert world.condition("Ready")["status"] == "True"
    assert world.condition("NameTaken")["status"] == "False"


def test_a_name_taken_later_leaves_the_rest_working() -> None:
    world = settled(replicas=2)
    world.taken = frozenset({("NetworkPolicy", "llama-engine")})
    world.change(worlds.spec(replicas=3))
    plan = world.look()
    assert [type(action) for action in plan.actions] == [Apply]
    assert list(world.replicas().values()) == [3]


def test_a_service_that_is_being_deleted_gets_nothing() -> None:
    world = settled()
    world.deleting = True
    plan = world.decide()
    assert plan.actions == ()
    assert plan.status == {}


@pytest.mark.parametrize(
    ("phase", "reason"), [(None, reasons.CLAIM_NOT_FOUND), ("Pending", reasons.CLAIM_NOT_BOUND)]
)
def test_a_claim_that_is_not_there(phase: str | None, reason: str) -> None:
    world = World(worlds.spec())
    world.claims["models"] = phase
    world.look()
    world.run_pods(start=False)
    name = next(n for n in world.pods if "engine" in n)
    world.pods[name] = replace(world.pods[name], unschedulable='claim "models" not found')
    front = next(n for n in world.pods if "frontend" in n)
    world.pods[front] = replace(world.pods[front], ready=True)
    world.look()
    assert world.condition("Ready")["reason"] == reason
    assert "models" in world.condition("Ready")["message"]
    assert world.condition("ModelReady")["status"] == "False"


def test_the_accelerator_that_no_node_offers_yet() -> None:
    world = World(worlds.spec(accelerator={"types": ["nvidia-l4"]}))
    world.look()
    world.run_pods(start=False)
    for name, each in world.pods.items():
        if each.component is naming.Component.ENGINE:
            said = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
            world.pods[name] = replace(each, unschedulable=said)
        else:
            world.pods[name] = replace(each, ready=True)
    world.look()
    for kind in ("Ready", "Schedulable"):
        assert world.condition(kind)["status"] == "False"
        assert world.condition(kind)["reason"] == reasons.NO_NODE_FOR_ACCELERATOR


def test_pods_that_the_api_server_refuses() -> None:
    world = World(worlds.spec())
    world.look()
    for present in list(world.objects.values()):
        if present.kind == "Deployment" and present.name.startswith("llama-engine"):
            failed = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
            body = {**present.body, "status": {"conditions": [failed]}}
            world.objects["Deployment", present.name] = replace(present, body=body)
    world.pods["f"] = worlds.pod(
        "f", component=naming.Component.FRONTEND, revision=None, ready=True
    )
    world.look()
    assert world.condition("Ready")["reason"] == reasons.PODS_REFUSED
    assert "exceeded quota" in world.condition("Ready")["message"]


def test_a_frontend_that_does_not_answer_is_the_first_thing_to_say() -> None:
    world = settled()
    for name, each in world.pods.items():
        if each.component is naming.Component.FRONTEND:
            bad = (ContainerFailure("envoy", "ErrImagePull", "no such image"),)
            world.pods[name] = replace(each, ready=False, failures=bad)
    world.look()
    ready = world.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", reasons.FRONTEND_NOT_READY)
    assert "no such image" in ready["message"]


def test_an_old_revision_is_deleted_only_when_nothing_of_it_is_left() -> None:
    world = settled(replicas=1)
    (old,) = world.replicas()
    world.change(worlds.spec(replicas=1, **OTHER))
    for _ in range(3):
        world.look()
        world.run_pods(finish=False)
    assert world.replicas()[old] == 0
    assert not any(isinstance(action, Delete) for action in world.look().actions)
    world.run_pods()
    (removal,) = [a for a in world.look().actions if isinstance(a, Delete)]
    assert removal.name == naming.engine_deployment("llama", old)
    assert removal.uid
