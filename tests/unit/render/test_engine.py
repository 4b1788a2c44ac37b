"""The engine's objects: golden files, and the promises that a golden file cannot say."""

import copy
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from stoker import naming
from stoker.model.location import Location, UsedCache, locate
from stoker.model.replica import Replica, Run
from stoker.plan.replica import replica_of
from stoker.render import engine, objects, support
from stoker.render.objects import Owner
from stoker_worker.contract import COMPILED_DIR, ENV_CONFIG, PROFILE_DIR, WorkerConfig
from tests.unit.plan import worlds

GOLDEN = Path(__file__).parents[2] / "golden" / "engine"
OWNER = Owner(worlds.KEY, "uid-service")
# What a plan says, with a value for each kind of flag that a plan can hold.
PLANNED = Run(
    args=(
        ("enable-prefix-caching", "true"),
        ("gpu-memory-utilization", "0.9"),
        ("kv-cache-dtype", "fp8"),
        ("max-model-len", "8192"),
        ("max-num-seqs", "64"),
        ("tensor-parallel-size", "2"),
    ),
    accelerator="nvidia-l4",
    ranks=2,
)
SPECS: dict[str, dict[str, Any]] = {
    "cpu": {},
    "gpu": {
        "model": {"uri": "pvc://models", "servedName": "tiny", "aliases": ["small"]},
        "engine": {
            "image": "registry.test/vllm:0.34",
            "args": {"max-num-seqs": "8"},
            "env": [{"name": "OMP_NUM_THREADS", "value": "1"}],
        },
        "accelerator": {"types": ["nvidia-l4"], "perReplica": 2},
        "context": {"maxModelLen": 4096},
        "template": {
            "nodeSelector": {"zone": "a"},
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
            "priorityClassName": "serving",
            "runtimeClassName": "nvidia",
            "labels": {"team": "a"},
            "annotations": {"note.example.com/a": "b"},
            "resources": {
                "requests": {"cpu": 2, "memory": "8Gi"},
                "limits": {"memory": "16Gi"},
            },
        },
    },
    "choice": {"accelerator": {"types": ["nvidia-a100", "nvidia-l4"]}},
    "cached": {"model": {"cacheRef": {"name": "llama"}}},
    # Its claim can be written by whoever reads it, so kernels are kept beside the model.
    "compiled": {"model": {"cacheRef": {"name": "llama"}}},
    # The container runtime mounts the image that holds it.
    "image": {"model": {"cacheRef": {"name": "llama"}}},
    # One claim that is another folder on each node.
    "per-node": {
        "model": {"cacheRef": {"name": "llama"}},
        "accelerator": {"types": ["nvidia-a100", "nvidia-l4"]},
    },
    # The user's flag beside the plan's.
    "planned": {
        "accelerator": {"types": ["nvidia-a100", "nvidia-l4"]},
        "engine": {"args": {"max-num-seqs": "8"}},
    },
}


CONTENT = Location("llama-cache", "models/org-llama-0123456789abcdef", cache="llama")
CACHES = {
    "cached": UsedCache("llama", exists=True, content=CONTENT),
    "compiled": UsedCache("llama", exists=True, content=replace(CONTENT, writable=True)),
    "image": UsedCache(
        "llama",
        exists=True,
        content=Location(
            "",
            "models/llama",
            cache="llama",
            image=f"registry.test/org/llama@sha256:{'a' * 64}",
            pull_secret="registry",
        ),
    ),
    "per-node": UsedCache(
        "llama",
        exists=True,
        content=replace(CONTENT, node_label="model.stoker.dev/0123456789abcdef"),
    ),
}


def replica(name: str) -> Replica:
    run = PLANNED if name == "planned" else Run()
    spec = worlds.spec(**SPECS[name])
    location = locate(spec, CACHES.get(name), {})
    assert location is not None
    return replica_of(worlds.KEY, spec, worlds.PLATFORM, location, run)


def check_golden(path: Path, manifests: object) -> None:
    text = yaml.safe_dump(manifests, sort_keys=True, width=100)
    if os.environ.get("STOKER_UPDATE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text, f"STOKER_UPDATE_GOLDEN=1 rewrites {path.name}"


@pytest.mark.parametrize("name", SPECS)
def test_golden_deployment(name: str) -> None:
    check_golden(
        GOLDEN / f"deployment-{name}.yaml",
        engine.render_engine(OWNER, "0123abcd", replica(name), replicas=2),
    )


def test_golden_support() -> None:
    check_golden(
        GOLDEN / "support.yaml",
        list(support.render_support(OWNER, worlds.PLATFORM.operator_namespace, {})),
    )


@pytest.mark.parametrize("name", SPECS)
def test_same_input_same_bytes(name: str) -> None:
    one = engine.render_engine(OWNER, "0123abcd", replica(name), replicas=2)
    two = engine.render_engine(OWNER, "0123abcd", replica(name), replicas=2)
    assert json.dumps(one) == json.dumps(two)


def test_the_number_of_replicas_is_not_part_of_the_digest() -> None:
    one = engine.render_engine(OWNER, "0123abcd", replica("cpu"), replicas=2)
    two = engine.render_engine(OWNER, "0123abcd", replica("cpu"), replicas=7)
    assert objects.applied_digest(one) == objects.applied_digest(two)


def test_the_worker_can_read_what_it_is_told() -> None:
    (container,) = _pod("gpu")["containers"]
    env = {variable["name"]: variable.get("value", "") for variable in container["env"]}
    config = WorkerConfig.from_json(env[ENV_CONFIG])
    assert config.model_path == "/models"
    assert config.served_names == ["tiny", "small"]
    assert config.args == {
        "max-num-seqs": "8",
        "max-model-len": "4096",
        "tensor-parallel-size": "2",
    }
    assert _pod("gpu")["terminationGracePeriodSeconds"] >= config.settle_s + config.drain_s


@pytest.mark.parametrize("name", SPECS)
def test_the_pod_meets_the_restricted_standard(name: str) -> None:
    pod = _pod(name)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in [*pod["initContainers"], *pod["containers"]]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["readOnlyRootFilesystem"] is True
    assert all(
        {"emptyDir", "image", "persistentVolumeClaim"} & set(volume) for volume in pod["volumes"]
    )


@pytest.mark.parametrize("name", SPECS)
def test_every_mount_has_its_volume_and_claims_are_read_only(name: str) -> None:
    pod = _pod(name)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounted = {
        mount["name"]
        for container in [*pod["initContainers"], *pod["containers"]]
        for mount in container["volumeMounts"]
    }
    assert mounted == set(volumes)
    (main,) = pod["containers"]
    claimed = [
        mount for mount in main["volumeMounts"] if "persistentVolumeClaim" in volumes[mount["name"]]
    ]
    written = [mount for mount in claimed if not mount.get("readOnly")]
    # One folder, and nothing beside it, where kernels are kept.
    kept = {"name": "model", "mountPath": COMPILED_DIR}
    folder = "compile/org-llama-0123456789abcdef"
    assert written == ([kept | {"subPath": folder}] if name == "compiled" else [])
    for volume in volumes.values():
        if name != "compiled" and "persistentVolumeClaim" in volume:
            assert volume["persistentVolumeClaim"]["readOnly"] is True


def test_the_users_labels_never_replace_ours() -> None:
    labels = _deployment("gpu")["spec"]["template"]["metadata"]["labels"]
    assert labels["team"] == "a"
    assert labels[naming.LABEL_SERVICE] == "llama"


def test_accelerators_are_asked_for_in_requests_and_limits() -> None:
    (container,) = _pod("gpu")["containers"]
    assert container["resources"]["limits"] == {"memory": "16Gi", "nvidia.com/gpu": "2"}
    assert container["resources"]["requests"]["nvidia.com/gpu"] == "2"
    assert "resources" in _pod("cpu")["containers"][0]


def test_a_choice_of_accelerators_prefers_the_first() -> None:
    affinity = _pod("choice")["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [term["matchExpressions"][0]["values"] for term in terms] == [
        ["NVIDIA-A100-SXM4-80GB"],
        ["NVIDIA-L4"],
    ]
    weights = [
        preferred["weight"]
        for preferred in affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    ]
    assert weights == sorted(weights, reverse=True)
    assert all(1 <= weight <= 100 for weight in weights)


def test_a_plan_stands_between_the_defaults_and_the_users_flags() -> None:
    (container,) = _pod("planned")["containers"]
    env = {variable["name"]: variable.get("value", "") for variable in container["env"]}
    assert WorkerConfig.from_json(env[ENV_CONFIG]).args == {
        **dict(PLANNED.args),
        "max-num-seqs": "8",
    }
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    # One type was chosen, so there is no choice left to the scheduler.
    assert _pod("planned")["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}
    assert "affinity" not in _pod("planned")


def test_rescaling_keeps_the_template_and_mutates_nothing() -> None:
    observed = engine.mark_served(_deployment("gpu"))
    observed["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"
    observed["spec"]["progressDeadlineSeconds"] = 600
    observed["status"] = {"replicas": 2}
    before = copy.deepcopy(observed)
    rescaled = engine.rescale(observed, 5)
    assert observed == before
    assert rescaled["spec"] == {**observed["spec"], "replicas": 5}
    assert "status" not in rescaled
    assert set(rescaled["metadata"]["annotations"]) == {
        naming.ANNOTATION_APPLIED,
        naming.ANNOTATION_SERVED,
    }
    assert engine.was_served(rescaled)
    rescaled["spec"]["template"]["spec"]["containers"].clear()
    assert observed == before


def _deployment(name: str) -> dict[str, Any]:
    return engine.render_engine(OWNER, "0123abcd", replica(name), replicas=2)


def _pod(name: str) -> dict[str, Any]:
    pod: dict[str, Any] = _deployment(name)["spec"]["template"]["spec"]
    return pod


def test_what_cannot_be_kept_gets_no_folder_to_write() -> None:
    kept_nowhere = replace(replica("compiled"), compiled="")
    assert engine.worker_config(kept_nowhere).compiled_key == ""
    pod = engine.render_engine(OWNER, "r", kept_nowhere, 1)["spec"]["template"]["spec"]
    assert not [m for m in pod["containers"][0]["volumeMounts"] if "subPath" in m]
    (claim,) = [v for v in pod["volumes"] if v["name"] == "model"]
    assert claim["persistentVolumeClaim"]["readOnly"] is True


def test_an_engine_that_compiles_nothing_replaces_no_kernels() -> None:
    compiling = replica("compiled")
    eager = replace(compiling, args=(*compiling.args, ("enforce-eager", "true")))
    keys = [engine.worker_config(each).compiled_key for each in (compiling, eager)]
    assert len({*keys}) == 2
    assert all(keys)


def test_an_engine_that_may_be_profiled_has_a_bounded_folder_for_it() -> None:
    plain, profiled = (
        replica_of(worlds.KEY, worlds.spec(**fields), worlds.PLATFORM, Location("models", "tiny"))
        for fields in ({}, {"engine": {"profiling": True}})
    )
    assert engine.worker_config(plain).profile_dir == ""
    assert engine.worker_config(profiled).profile_dir == PROFILE_DIR
    pod = engine.render_engine(OWNER, "r1", profiled, 1)["spec"]["template"]
    (volume,) = (each for each in pod["spec"]["volumes"] if each["name"] == "profile")
    assert volume["emptyDir"] == {"sizeLimit": "1Gi"}
    mounts = pod["spec"]["containers"][0]["volumeMounts"]
    assert {"name": "profile", "mountPath": PROFILE_DIR} in mounts
    local = pod["metadata"]["annotations"][
        "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
    ]
    assert local.endswith(",profile")
    # The pods of a group would each keep a part of a trace that nobody fetches.
    assert engine.worker_config(replace(profiled, nodes=2)).profile_dir == ""
