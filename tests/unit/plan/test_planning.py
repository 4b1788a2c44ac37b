"""Stories of plans: facts first, then what runs, and why it stays."""

import json
from dataclasses import replace
from typing import Any

import pytest

from stoker import naming
from stoker.model import reasons
from stoker.model.location import IMAGE_LIMIT
from stoker.model.plan import Apply, Delete
from stoker.model.platform import Platform
from stoker.plan import measured, revision, stored
from stoker.plan.conditions import MESSAGE_LIMIT
from stoker.plan.frontend import frontend_input
from stoker.plan.measured import Measured
from stoker.plan.status import CLAIM_LIMIT, REVISION_LIMIT
from stoker_worker import modelfacts
from stoker_worker.contract import ENV_CONFIG, Termination, WorkerConfig
from tests.unit.plan import worlds
from tests.unit.plan.worlds import PLANNING, World

L4 = {"accelerator": {"types": ["nvidia-l4"], "perReplica": 1}, "context": {"maxModelLen": 8192}}
HUGE = {**L4, "optimization": {"quantization": "none", "kvCache": {"dtype": "none"}}}
NOTHING = Termination("ModelNotFound", "there is no folder /models/tiny: /models holds other")


def new(platform: Platform = PLANNING, **fields: Any) -> World:
    return World(worlds.spec(**(fields or L4)), platform)


def settled(**fields: Any) -> World:
    world = new(**fields)
    world.settle()
    return world


def engine(world: World) -> dict[str, Any]:
    """The engine container of the one revision that runs."""
    (name,) = [name for kind, name in world.objects if kind == "Deployment" and "-engine-" in name]
    pod = world.deployment(name).body["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return dict(container)


def args(world: World) -> dict[str, str]:
    """Flags that the engine gets."""
    env = {each["name"]: each.get("value", "") for each in engine(world)["env"]}
    return WorkerConfig.from_json(env[ENV_CONFIG]).args


def test_facts_come_before_any_engine_pod() -> None:
    world = new()
    plan = world.look()
    (job,) = [a for a in plan.actions if isinstance(a, Apply) and a.manifest["kind"] == "Job"]
    assert job.manifest["metadata"]["name"] == world.jobs()[0]
    assert world.replicas() == {}
    assert ("Deployment", "llama-frontend") in world.objects
    for kind, status in (("Planned", "Unknown"), ("Ready", "False"), ("Progressing", "True")):
        condition = world.condition(kind)
        if kind == "Ready":
            continue  # the frontend does not answer yet, which is said first
        assert (condition["status"], condition["reason"]) == (status, reasons.READING_MODEL)
    assert "revision" not in world.status
    world.settle()
    assert world.condition("Planned")["status"] == "True"
    assert world.condition("Ready")["status"] == "True"
    assert world.status["model"]["digest"] == "sha256:llama"
    assert world.status["model"]["parameters"] == worlds.FACTS.parameters
    assert modelfacts.from_json(world.status["model"]["facts"]) == worlds.FACTS
    assert world.jobs() == []
    assert not [pod for pod in world.pods.values() if pod.component is naming.Component.FACTS]


def test_the_job_goes_only_after_its_facts_are_kept() -> None:
    world = new()
    world.look()
    world.run_pods()
    world.run_pods()
    plan = world.look()
    assert not [action for action in plan.actions if isinstance(action, Delete)]
    assert plan.status["model"]["facts"]
    assert list(world.replicas().values()) == [1]  # in the same pass
    (gone,) = [action for action in world.look().actions if isinstance(action, Delete)]
    assert gone.kind == "Job"


def test_the_plan_is_told_and_carried_out() -> None:
    world = settled()
    plan = world.status["plan"]
    assert plan["accelerator"] == "nvidia-l4"
    assert (plan["perReplica"], plan["tensor"], plan["maxModelLen"]) == (1, 1, 8192)
    assert plan["weightsGiB"] == pytest.approx(15.0, abs=0.5)
    assert plan["kvCacheTokens"] > 8192
    assert {each["name"] for each in plan["techniques"]} >= {"kvCacheDtype", "prefixCaching"}
    assert plan["expected"]["itl"]["typical"].endswith("ms")
    given = args(world)
    assert given["max-model-len"] == "8192"
    assert given["max-num-seqs"] == str(plan["maxNumSeqs"])
    assert engine(world)["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_a_planned_number_of_accelerators() -> None:
    world = settled(accelerator={"types": ["nvidia-l4"]}, parallelism={"tensor": 2})
    assert world.status["plan"]["perReplica"] == 2
    assert args(world)["tensor-parallel-size"] == "2"
    assert engine(world)["resources"]["limits"]["nvidia.com/gpu"] == "2"


def test_what_was_found_wrong_with_the_model_holds_everything() -> None:
    world = new()
    world.model = NOTHING
    for _ in range(4):
        world.look()
        world.run_pods()
    assert world.replicas() == {}
    for kind in ("Planned", "Ready", "ModelReady", "Progressing"):
        condition = world.condition(kind)
        assert (condition["status"], condition["reason"]) == ("False", "ModelNotFound"), kind
        assert "there is no folder /models/tiny" in condition["message"]
    assert world.condition("Stalled")["status"] == "True"
    # The cluster removes a failed Job after a while; the next one looks again.
    for name in world.jobs():
        del world.objects["Job", name]
    world.pods = {n: pod for n, pod in world.pods.items() if "-facts-" not in n}
    plan = world.look()
    assert len(world.jobs()) == 1
    assert plan.events == ()
    assert world.condition("Planned")["reason"] == "ModelNotFound"  # until it says otherwise
    world.model = worlds.FACTS
    world.settle()
    assert world.condition("Ready")["status"] == "True"


def test_a_model_that_cannot_be_planned_with_leaves_the_old_revision_serving() -> None:
    world = settled()
    (old,) = world.replicas()
    world.model = NOTHING
    world.change(worlds.spec(model={"uri": "pvc://models/nowhere"}, **L4))
    for _ in range(4):
        world.look()
        world.run_pods()
    assert world.replicas() == {old: 1}
    assert world.ready() == 1
    ready, progressing = world.condition("Ready"), world.condition("Progressing")
    assert (ready["status"], ready["reason"]) == ("True", reasons.OLD_REVISION_SERVES)
    assert (progressing["status"], progressing["reason"]) == ("False", reasons.ROLLOUT_BLOCKED)
    assert "(ModelNotFound)" in progressing["message"]
    assert world.status["plan"]["accelerator"] == "nvidia-l4"  # what runs
    world.change(worlds.spec(**L4))
    world.settle()
    assert world.replicas() == {old: 1}
    assert world.condition("Progressing")["reason"] == reasons.SETTLED


def test_a_pod_that_left_nonsense() -> None:
    world = new()
    world.look()
    world.run_pods(start=False)
    for name, pod in world.pods.items():
        if "-facts-" in name:
            world.pods[name] = replace(pod, phase="Succeeded", result='{"facts": {"v": 99}}')
    world.look()
    condition = world.condition("Planned")
    assert (condition["status"], condition["reason"]) == ("False", reasons.FACTS_NOT_READ)
    assert "version 99" in condition["message"]


def test_a_facts_pod_that_cannot_be_placed_or_pulled_says_so_and_waits() -> None:
    world = new()
    world.look()
    world.run_pods(start=False)
    (name,) = [name for name in world.pods if "-facts-" in name]
    said = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
    world.pods[name] = replace(world.pods[name], unschedulable=said)
    world.look()
    condition = world.condition("Planned")
    assert (condition["status"], condition["reason"]) == (
        "Unknown",
        reasons.NO_NODE_FOR_ACCELERATOR,
    )
    assert world.condition("Schedulable")["status"] == "False"
    world.settle()
    assert world.condition("Planned")["status"] == "True"


def test_a_job_whose_pod_was_removed_unread_is_made_anew() -> None:
    world = new()
    world.look()
    world.run_pods()
    world.run_pods()
    (job,) = world.jobs()
    del world.pods[f"{job}-x"]
    plan = world.look()
    assert [action.name for action in plan.actions if isinstance(action, Delete)] == [job]
    world.settle()
    assert world.condition("Planned")["status"] == "True"


def test_a_second_service_of_the_same_model_needs_no_job() -> None:
    world = new()
    world.shared_facts = modelfacts.to_json(worlds.FACTS)
    plan = world.look()
    assert not [a for a in plan.actions if isinstance(a, Apply) and a.manifest["kind"] == "Job"]
    assert list(world.replicas().values()) == [1]
    assert world.status["model"]["source"] == "uid-models/tiny"


def test_no_claim_no_job() -> None:
    world = new()
    world.claims["models"] = None
    world.look()
    assert world.jobs() == []
    assert world.replicas() == {}
    assert world.condition("Planned")["reason"] == reasons.CLAIM_NOT_FOUND
    assert world.condition("Progressing")["reason"] == reasons.CLAIM_NOT_FOUND
    world.claims["models"] = "Bound"
    world.settle()
    assert world.condition("Ready")["status"] == "True"


def test_a_claim_that_waits_for_its_first_user_gets_one() -> None:
    world = new()
    world.claims["models"] = "Pending"
    world.look()
    assert len(world.jobs()) == 1


def test_what_does_not_fit_makes_no_pod_and_names_ways_out() -> None:
    world = new(
        accelerator={"types": ["nvidia-l4"], "perReplica": 1},
        context={"maxModelLen": 131_072},
        optimization={"quantization": "none", "kvCache": {"dtype": "none"}},
    )
    world.settle()
    assert world.replicas() == {}
    condition = world.condition("Planned")
    assert (condition["status"], condition["reason"]) == ("False", reasons.DOES_NOT_FIT)
    assert "GiB are missing" in condition["message"]
    assert condition["message"].count("; or ") == 2
    assert "at once" in condition["message"]
    assert world.condition("Stalled")["reason"] == reasons.DOES_NOT_FIT
    world.change(worlds.spec(**L4))
    world.settle()
    assert world.condition("Ready")["status"] == "True"


def test_what_does_not_fit_leaves_the_old_revision_serving_and_scaling() -> None:
    world = settled()
    (old,) = world.replicas()
    world.change(worlds.spec(**{**L4, "context": {"maxModelLen": 1_000_000}}, replicas=2))
    world.settle()
    assert world.replicas() == {old: 2}
    assert world.condition("Ready")["reason"] == reasons.OLD_REVISION_SERVES
    assert world.condition("Planned")["status"] == "False"


def test_a_settled_plan_writes_nothing_also_after_a_restart_of_the_operator() -> None:
    world = settled()
    before = world.status
    for _ in range(3):
        plan = world.look()
        assert plan.actions == ()
        assert plan.events == ()
        assert plan.status == before


def cheaper(platform: Platform = PLANNING) -> Platform:
    """The same cluster a year later: the other type costs next to nothing."""
    gpus = dict(platform.gpus)
    gpus["nvidia-a100"] = replace(gpus["nvidia-a100"], price_per_hour=0.01)
    return replace(platform, gpus=gpus)


FREE = {"accelerator": {"types": ["nvidia-l4"]}, "optimization": {"objective": "cost"}}


def test_new_knowledge_is_offered_and_restarts_nothing() -> None:
    world = settled(**FREE)
    (old,) = world.replicas()
    configuration = world.status["plan"]["configuration"]
    # Three times the bandwidth: another driver, a corrected entry of the catalogue.
    gpus = dict(PLANNING.gpus)
    l4 = gpus["nvidia-l4"]
    gpus["nvidia-l4"] = replace(l4, memory_bytes=4 * l4.memory_bytes, bandwidth=4 * l4.bandwidth)
    world.platform = replace(PLANNING, gpus=gpus)
    world.settle()
    assert world.replicas() == {old: 1}
    assert world.status["plan"]["configuration"] == configuration
    offered = world.condition("BetterPlanAvailable")
    assert (offered["status"], offered["reason"]) == ("True", reasons.BETTER_PLAN)
    offer = world.status["plan"]["offer"]
    assert offer["id"] in offered["message"]
    assert "instead of" in offer["saves"]
    world.annotations["stoker.dev/accept-plan"] = "another"
    world.settle()
    assert world.replicas() == {old: 1}
    world.annotations["stoker.dev/accept-plan"] = offer["id"]
    world.settle()
    assert list(world.replicas()) != [old]
    assert world.status["plan"]["accepted"] == offer["id"]
    assert world.status["plan"]["configuration"] != configuration
    assert "offer" not in world.status["plan"]
    assert not [c for c in world.status["conditions"] if c["type"] == "BetterPlanAvailable"]


def reread(world: World, word: str) -> None:
    """What whoever has overwritten the model's files writes."""
    world.annotations["stoker.dev/reread-model"] = word
    world.settle()


def test_a_model_that_is_read_again_and_is_the_same_changes_nothing() -> None:
    world = settled()
    before, (old,) = world.status["plan"], world.replicas()
    world.annotations["stoker.dev/reread-model"] = "monday"
    plan = world.look()
    (job,) = [a.manifest for a in plan.actions if isinstance(a, Apply)]
    assert job["kind"] == "Job"
    assert job["metadata"]["annotations"]["stoker.dev/reread-model"] == "monday"
    assert plan.status["plan"] == before  # offers, reports and all
    assert world.condition("Planned")["status"] == "True"
    world.settle()
    assert world.replicas() == {old: 1}
    assert world.status["plan"] == before
    assert world.status["model"]["reread"] == "monday"
    assert world.jobs() == []
    # The same word asks for nothing, and neither does none.
    for word in ("monday", ""):
        world.annotations["stoker.dev/reread-model"] = word
        assert world.look().actions == ()
    assert world.status["model"]["reread"] == "monday"


def test_a_model_that_was_changed_in_place_is_planned_and_loaded_anew() -> None:
    world = settled()
    (old,) = world.replicas()
    world.model = replace(worlds.FACTS, digest="sha256:other")
    world.settle()
    assert world.replicas() == {old: 1}  # nobody notices
    reread(world, "monday")
    (new_one,) = world.replicas()
    assert new_one != old  # although the flags are the same
    assert world.status["model"]["digest"] == "sha256:other"
    assert world.status["plan"]["inputs"]["model"] == "sha256:other"
    # Neither the next look nor writing down what was planned restarts it again.
    plan = world.status["plan"]
    reread(world, "tuesday")
    world.change(
        worlds.spec(
            accelerator=L4["accelerator"],
            context=L4["context"],
            parallelism={"tensor": plan["tensor"]},
        )
    )
    world.settle()
    assert list(world.replicas()) == [new_one]


def test_a_model_that_cannot_be_read_again_leaves_what_runs() -> None:
    world = settled()
    (old,) = world.replicas()
    world.model = NOTHING
    world.annotations["stoker.dev/reread-model"] = "monday"
    for _ in range(4):
        world.look()
        world.run_pods()
    said = world.condition("Planned")
    assert said["status"] == "True"
    assert "could not be read again" in said["message"]
    assert NOTHING.message in said["message"]
    assert world.replicas() == {old: 1}
    assert "reread" not in world.status["model"]
    # The cluster removes the failed Job, and the next one looks again; the words stay meanwhile.
    for name in world.jobs():
        del world.objects["Job", name]
    world.pods = {n: pod for n, pod in world.pods.items() if "-facts-" not in n}
    world.look()
    assert len(world.jobs()) == 1
    assert world.condition("Planned")["message"] == said["message"]
    # A new spec waits for what can be read.
    world.change(worlds.spec(**{**L4, "context": {"maxModelLen": 4096}}))
    for _ in range(4):
        world.look()
        world.run_pods()
    assert world.replicas() == {old: 1}
    assert world.condition("Planned")["reason"] == "ModelNotFound"
    world.model = worlds.FACTS
    for name in world.jobs():
        del world.objects["Job", name]
    world.pods = {n: pod for n, pod in world.pods.items() if "-facts-" not in n}
    world.settle()
    assert world.condition("Planned")["status"] == "True"
    assert world.status["model"]["reread"] == "monday"
    assert old not in world.replicas()


def test_where_jobs_are_forbidden_the_model_stays_as_it_was_read() -> None:
    world = settled()
    (old,) = world.replicas()
    world.job_refused = "exceeded quota"
    reread(world, "monday")
    assert world.replicas() == {old: 1}
    assert "exceeded quota" in world.condition("Planned")["message"]
    world.change(worlds.spec(**{**L4, "context": {"maxModelLen": 4096}}))
    world.settle()
    assert world.status["plan"]["maxModelLen"] == 4096
    assert "reread" not in world.status["model"]


def test_a_service_that_asks_takes_nobody_elses_facts() -> None:
    world = new()
    world.shared_facts = modelfacts.to_json(worlds.FACTS)
    world.annotations["stoker.dev/reread-model"] = "x" * 1000
    world.look()
    assert len(world.jobs()) == 1
    world.settle()
    assert len(world.status["model"]["reread"]) == 64


def test_another_price_is_no_better_plan() -> None:
    world = settled(**FREE)
    before = dict(world.replicas())
    gpus = {
        name: replace(gpu, price_per_hour=2 * (gpu.price_per_hour or 1))
        for name, gpu in PLANNING.gpus.items()
    }
    world.platform = replace(PLANNING, gpus=gpus)
    world.settle()
    assert world.replicas() == before
    assert not [c for c in world.status["conditions"] if c["type"] == "BetterPlanAvailable"]


def test_writing_down_what_was_planned_restarts_nothing() -> None:
    world = settled(accelerator={"types": ["nvidia-l4"]})
    (old,) = world.replicas()
    plan = world.status["plan"]
    world.change(
        worlds.spec(
            accelerator={"types": ["nvidia-l4"], "perReplica": plan["perReplica"]},
            parallelism={"tensor": plan["tensor"]},
            context={"maxModelLen": plan["maxModelLen"]},
        )
    )
    world.settle()
    assert world.status["plan"]["tensor"] == plan["tensor"]
    assert list(world.replicas()) == [old]


def test_another_wish_is_another_plan() -> None:
    world = settled()
    (old,) = world.replicas()
    world.change(worlds.spec(**L4, optimization={"kvCache": {"dtype": "fp8"}}))
    world.settle()
    assert list(world.replicas()) != [old]
    assert args(world)["kv-cache-dtype"].startswith("fp8")
    assert "KV cache in fp8" in world.status["plan"]["summary"]


def test_a_users_flag_is_part_of_the_plan() -> None:
    world = settled(**L4, engine={"args": {"max-num-seqs": "3"}})
    assert args(world)["max-num-seqs"] == "3"
    assert world.status["plan"]["maxNumSeqs"] == 3


def test_the_administrators_defaults_are_heard() -> None:
    base = PLANNING.engines["vllm"]
    vllm = replace(
        base,
        args={"enforce-eager": "true", "distributed-executor-backend": "uni", "seed": "1"},
        env={**base.env, "VLLM_CPU_KVCACHE_SPACE": "1"},
    )
    world = new(
        replace(PLANNING, engines={"vllm": vllm}),
        accelerator={"types": ["cpu"]},
        context={"maxModelLen": 4096},
        engine={"args": {"max-num-seqs": "4"}},
    )
    world.settle()
    given = args(world)
    assert given["enforce-eager"] == "true"
    assert given["distributed-executor-backend"] == "uni"
    assert (given["max-num-seqs"], given["max-model-len"]) == ("4", "4096")
    env = {each["name"]: each.get("value", "") for each in engine(world)["env"]}
    assert env["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert "resources" not in engine(world) or "limits" not in engine(world)["resources"]


def test_plugins_are_those_of_the_administrators_image() -> None:
    wish = {**L4, "optimization": {"loader": "fastsafetensors"}}
    world = settled(**wish)
    assert world.condition("Planned")["reason"] == "NeedsPlugin"
    assert "engines.vllm.plugins" in world.condition("Planned")["message"]

    engine = replace(PLANNING.engines["vllm"], plugins=("fastsafetensors",))
    brings = replace(PLANNING, engines={"vllm": engine})
    world = new(brings, **wish)
    world.settle()
    assert args(world)["load-format"] == "fastsafetensors"

    # Nobody knows what another image brings.
    other = {**wish, "engine": {"image": "registry.test/team/vllm:0.33"}}
    world = new(brings, **other)
    world.settle()
    assert world.condition("Planned")["reason"] == "NeedsPlugin"


def test_adapters_have_names_of_their_own_and_come_with_the_plan() -> None:
    sql = {"name": "sql", "uri": "pvc://models/tiny/lora/sql"}
    wish: dict[str, Any] = {**L4, "model": {"uri": "pvc://models/tiny", "adapters": [sql]}}
    world = new(**wish)
    world.model = replace(worlds.FACTS, adapters=(("lora/sql", 16, 10**7),))
    world.settle()
    assert args(world)["lora-modules"] == "sql=/models/tiny/lora/sql"
    assert args(world)["max-lora-rank"] == "16"
    env = {each["name"]: each.get("value", "") for each in engine(world)["env"]}
    assert WorkerConfig.from_json(env[ENV_CONFIG]).served_names == ["llama"]
    frontend = frontend_input(worlds.KEY, world.spec, PLANNING)
    assert frontend.served_names == ("llama", "sql")
    # What was planned is read back as it was, and rolls nothing.
    kept = stored.stored_in(world.status)
    assert kept is not None
    assert kept.configuration is not None
    assert kept.configuration.adapters[0].folder == "lora/sql"
    assert world.look().actions == ()

    missing = new(**wish)
    missing.settle()
    assert missing.condition("Planned")["reason"] == "AdapterNotFound"
    same = {"name": "llama", "uri": "pvc://models/tiny/lora/sql"}
    clash: dict[str, Any] = {**L4, "model": {"uri": "pvc://models/tiny", "adapters": [same]}}
    twice = new(**clash)
    twice.look()
    assert "NameUsedTwice" in {each["reason"] for each in twice.status["conditions"]}


def test_adapters_are_served_without_a_plan_too() -> None:
    sql = {"name": "sql", "uri": "pvc://models/tiny/lora/sql"}
    world = new(worlds.PLATFORM, model={"uri": "pvc://models/tiny", "adapters": [sql]})
    world.settle()
    assert args(world)["lora-modules"] == "sql=/models/tiny/lora/sql"


def test_hardware_that_nobody_described_runs_as_the_spec_says() -> None:
    world = new(worlds.PLATFORM, **L4, optimization={"gpuMemoryUtilization": 0.8})
    plan = world.look()
    assert not [a for a in plan.actions if isinstance(a, Apply) and a.manifest["kind"] == "Job"]
    assert list(world.replicas().values()) == [1]
    assert args(world) == {"gpu-memory-utilization": "0.8", "max-model-len": "8192"}
    condition = world.condition("Planned")
    assert (condition["status"], condition["reason"]) == ("Unknown", reasons.HARDWARE_UNKNOWN)
    assert "nvidia-l4" in condition["message"]


def test_hardware_that_is_described_later_restarts_nothing() -> None:
    world = new(worlds.PLATFORM, **L4)
    world.settle()
    (old,) = world.replicas()
    world.platform = PLANNING
    world.shared_facts = modelfacts.to_json(worlds.FACTS)
    world.settle()
    assert list(world.replicas()) == [old]
    assert world.condition("Planned")["reason"] == reasons.RUNS_UNPLANNED
    assert world.jobs() == []
    assert world.condition("BetterPlanAvailable")["status"] == "True"
    world.annotations["stoker.dev/accept-plan"] = "true"
    world.settle()
    assert list(world.replicas()) != [old]
    assert world.condition("Planned")["status"] == "True"


def test_a_service_of_an_older_operator_goes_on_as_it_was() -> None:
    world = new(worlds.PLATFORM, **L4)
    world.settle()
    (old,) = world.replicas()
    assert old == revision.revision_of(worlds.KEY, world.spec, worlds.MODELS)
    # As it was stored before there were plans.
    world.status = {**world.status, "plan": "vllm on 1 x nvidia-l4", "model": "llama"}
    world.platform = PLANNING
    world.settle()
    assert list(world.replicas()) == [old]
    assert world.condition("Planned")["reason"] == reasons.RUNS_UNPLANNED
    assert world.status["model"] == {"name": "llama"}
    world.change(worlds.spec(**{**L4, "context": {"maxModelLen": 4096}}))
    world.settle()
    assert world.condition("Planned")["status"] == "True"


def test_a_cluster_without_jobs_gets_a_service_without_a_plan() -> None:
    world = new()
    world.job_refused = "jobs.batch is forbidden: exceeded quota"
    world.settle()
    assert list(world.replicas().values()) == [1]
    condition = world.condition("Planned")
    assert (condition["status"], condition["reason"]) == ("Unknown", reasons.FACTS_NOT_ALLOWED)
    assert "exceeded quota" in condition["message"]


def test_facts_of_another_version_are_read_again_and_hold_nothing_up() -> None:
    world = settled()
    (old,) = world.replicas()
    world.status = {**world.status, "model": {**world.status["model"], "facts": '{"v":0}'}}
    plan = world.look()
    assert len(world.jobs()) == 1
    assert world.replicas() == {old: 1}
    assert plan.status["plan"]["configuration"]
    assert world.condition("Planned")["status"] == "True"
    world.settle()
    assert world.replicas() == {old: 1}
    assert modelfacts.from_json(world.status["model"]["facts"]) == worlds.FACTS


def test_another_model_under_the_same_wishes_is_read_first() -> None:
    world = settled()
    (old,) = world.replicas()
    world.change(worlds.spec(model={"uri": "pvc://models/other"}, **L4))
    world.model = replace(worlds.FACTS, digest="sha256:other", max_positions=4096)
    world.look()
    assert world.replicas() == {old: 1}
    assert world.condition("Planned")["status"] == "Unknown"
    for _ in range(6):
        world.look()
        world.run_pods()
    # 8192 tokens are more than this model was made for.
    assert world.condition("Planned")["reason"] == reasons.CONTEXT_BEYOND_MODEL
    assert world.replicas() == {old: 1}


def test_a_stranger_under_the_name_of_the_job() -> None:
    world = settled()
    world.change(worlds.spec(model={"uri": "pvc://models/other"}, **L4))
    (job,) = [
        action.manifest["metadata"]["name"]
        for action in world.decide().actions
        if isinstance(action, Apply) and action.manifest["kind"] == "Job"
    ]
    world.taken = frozenset({("Job", job)})
    assert world.look().actions == ()
    assert job in world.condition("NameTaken")["message"]


def test_what_the_engine_reports_is_kept_beside_what_was_planned() -> None:
    world = settled()
    assert stored.lacks_report(world.status)
    world.kv_tokens = 30_000
    world.settle()
    predicted = world.status["plan"]["kvCacheTokens"]
    told = {"kvTokensPredicted": predicted, "kvTokensReported": 30_000}
    assert world.status["plan"]["residual"] == told
    assert not stored.lacks_report(world.status)
    world.kv_tokens = 29_000  # one report is enough; a status is no feed
    world.settle()
    assert world.status["plan"]["residual"] == told
    assert not [c for c in world.status["conditions"] if c["type"] == "KvDtypeNotHonoured"]
    # Another plan is another question.
    world.change(worlds.spec(**L4, optimization={"kvCache": {"dtype": "fp8"}}))
    world.kv_tokens = None
    world.settle()
    assert "residual" not in world.status["plan"]
    assert stored.lacks_report(world.status)


@pytest.mark.parametrize(("share", "honoured"), [(0.95, True), (0.75, True), (0.5, False)])
def test_a_kv_type_that_was_accepted_and_not_taken(share: float, *, honoured: bool) -> None:
    world = settled(**L4, optimization={"kvCache": {"dtype": "fp8"}})
    world.kv_tokens = int(share * world.status["plan"]["kvCacheTokens"])
    world.settle()
    found = [c for c in world.status["conditions"] if c["type"] == "KvDtypeNotHonoured"]
    assert bool(found) is not honoured
    if found:
        assert found[0]["status"] == "True"
        assert "fp8" in found[0]["message"]


def test_the_largest_status_is_below_16_kib() -> None:
    adapters = tuple((f"adapter-with-a-long-name-{n}", 64, 10**9) for n in range(8))
    model = replace(
        worlds.FACTS,
        adapters=adapters,
        warnings=("a warning of the reader, as long as they get: " + "x" * 1200,),
    )
    text = modelfacts.to_json(model)
    assert len(text) > 1500
    world = new(accelerator={"types": ["nvidia-a100", "nvidia-l4"]})
    world.model = model
    world.settle()
    status = json.loads(json.dumps(world.status))
    # As long as they may get: every message at its limit, every technique with its longest words.
    for condition in status["conditions"]:
        condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    for technique in status["plan"]["techniques"]:
        technique["why"] = "x" * (105 if technique["state"] == "off" else 140)
    status["plan"]["alternatives"] = [
        {"change": "x" * 70, "concurrency": 10**6, "pricePerHour": "1000.00"}
    ] * 5
    way = Measured("nvidia-rtx-pro-6000", ("16x16x16", "bitsandbytes", "fp8"), 2.0, 10.0, 10.0)
    told = measured.status_of([way] * 3, "image 0123456789", "sha256:" + "x" * 64)
    status["plan"]["measured"] = told
    proposal = {"reason": "PlacesFull", "change": "x" * 188, "why": "", "gain": ""}
    status["plan"]["proposals"] = [proposal] * 2
    status["startup"] = {
        "accelerator": "nvidia-rtx-pro-6000",
        **{f"{phase}Seconds": 12345.6 for phase in ("node", "image", "load")},
        "starts": 10**5,
        "newest": 10**10,
    }
    status["capacity"] = [
        {
            "accelerator": f"nvidia-rtx-pro-600{number}",
            "granted": 1000,
            "since": "2026-01-01T00:00:00Z",
            "retryAt": "2026-01-01T00:00:00Z",
            "attempts": 1000,
        }
        for number in range(3)
    ]
    status["model"]["facts"] = "x" * modelfacts.MAX_BYTES
    status["model"] |= {
        "cache": "x" * 40,
        "claim": "x" * CLAIM_LIMIT,
        "revision": "x" * REVISION_LIMIT,
    }
    status.update(worlds.longest_decisions())
    long = {"reason": "RolloutBlocked", "message": "x" * MESSAGE_LIMIT, "observedGeneration": 1}
    for kind in ("Ready", "Progressing", "ModelReady", "Schedulable", "ScaledByOthers"):
        status["conditions"] = [c for c in status["conditions"] if c["type"] != kind]
        status["conditions"].append(
            {"type": kind, "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z", **long}
        )
    assert len(json.dumps(status, separators=(",", ":"))) < 16 * 1024
    del status["model"]["claim"]
    status["model"]["source"] = "x" * IMAGE_LIMIT
    assert len(json.dumps(status, separators=(",", ":"))) < 16 * 1024
