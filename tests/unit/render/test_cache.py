"""What is made for a cache, whole, and what its jobs can and cannot do."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from stoker.model.observed import Key
from stoker.model.replica import Accelerators, Placement, PodAdditions
from stoker.render.cache import CacheJob, render_claim, render_job, render_support
from stoker.render.objects import Owner
from stoker.render.pods import pinned, placement
from stoker_worker.cachecontract import ENV_FETCH, SECRET_DIR, VOLUME_DIR, FetchConfig
from tests.unit.caching.worlds import CACHES

GOLDEN = Path(__file__).parents[2] / "golden" / "cache"
OWNER = Owner(Key("chat", "llama"), "cache-uid", "ModelCache")
GPU = Accelerators(
    ("nvidia-l4",),
    "nvidia.com/gpu",
    1,
    ((("nvidia.com/gpu.product", "NVIDIA-L4"),),),
    ((("effect", "NoSchedule"), ("key", "nvidia.com/gpu"), ("operator", "Exists")),),
)
ANY = Accelerators(("cpu",), None, 0, ((),), ())
FETCH = FetchConfig("fetch", "hf://org/llama", "0123abcd", "llama-0123", "chat/llama", live=["a"])
JOBS = {
    "resolve": CacheJob(
        FetchConfig("resolve", "hf://org/llama", name="chat/llama"),
        Placement(ANY, PodAdditions(), ()),
        secret="hub-token",
    ),
    "fetch": CacheJob(
        FETCH,
        Placement(GPU, PodAdditions(), ("registry",)),
        claim="llama-cache",
        secret="hub-token",
    ),
    "fetch-on-node": CacheJob(
        FETCH,
        Placement(GPU, PodAdditions(), ()),
        claim="llama-cache",
        nodes=("n1",),
        per_node=True,
    ),
    "copy": CacheJob(
        replace(FETCH, uri="pvc://models/llama"),
        Placement(ANY, PodAdditions(priority_class="low"), ()),
        claim="llama-cache",
        source_claim="models",
    ),
}


def check(name: str, rendered: Any) -> None:
    text = yaml.safe_dump(rendered, sort_keys=True)
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("STOKER_UPDATE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text


@pytest.mark.parametrize("name", JOBS)
def test_jobs(name: str) -> None:
    rendered = render_job(OWNER, JOBS[name], CACHES)
    (container,) = rendered["spec"]["template"]["spec"]["containers"]
    told = next(each for each in container["env"] if each["name"] == ENV_FETCH)
    assert FetchConfig.from_json(told["value"]) == JOBS[name].config
    # A new field of the contract is another name, and no other manifest.
    told["value"] = "CONFIG"
    rendered["metadata"]["name"] = rendered["metadata"]["name"].rpartition("-")[0] + "-HASH"
    rendered["metadata"]["annotations"]["stoker.dev/applied"] = "HASH"
    check(name, rendered)


def test_support() -> None:
    check("support", list(render_support(OWNER, CACHES)))


@pytest.mark.parametrize("retain", [False, True])
def test_claim(retain: bool) -> None:  # noqa: FBT001
    wanted = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": None,
        "resources": {"requests": {"storage": "19Gi"}},
    }
    check(f"claim{'-retained' * retain}", render_claim(OWNER, wanted, retain=retain))


@pytest.mark.parametrize("name", JOBS)
def test_jobs_meet_the_restricted_standard(name: str) -> None:
    pod = render_job(OWNER, JOBS[name], CACHES)["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"emptyDir", "persistentVolumeClaim", "secret", "configMap"}


def test_a_secret_is_files_and_nothing_else() -> None:
    pod = render_job(OWNER, JOBS["fetch"], CACHES)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert {"name": "secret", "mountPath": SECRET_DIR, "readOnly": True} in container[
        "volumeMounts"
    ]
    assert "envFrom" not in container
    assert not any("secretKeyRef" in str(each) for each in container["env"])


def test_only_what_writes_has_the_volume() -> None:
    mounts = {
        name: {
            mount["mountPath"]
            for mount in render_job(OWNER, job, CACHES)["spec"]["template"]["spec"]["containers"][
                0
            ]["volumeMounts"]
            if not mount.get("readOnly")
        }
        for name, job in JOBS.items()
    }
    assert mounts["resolve"] == {"/tmp"}  # noqa: S108
    assert mounts["fetch"] == {"/tmp", VOLUME_DIR}  # noqa: S108


def test_a_jobs_name_is_its_content_but_for_its_neighbours() -> None:
    def name(job: CacheJob) -> str:
        return str(render_job(OWNER, job, CACHES)["metadata"]["name"])

    job = JOBS["fetch"]
    assert name(job) == name(replace(job, config=replace(FETCH, live=["a", "b"], live_at=9.0)))
    assert name(job) == name(replace(job, nodes=("n1",)))  # who has the volume just now
    others = [
        replace(job, config=replace(FETCH, revision="x")),
        replace(job, nodes=("n1",), per_node=True),
        replace(job, secret="another"),
        replace(job, claim="another"),
        replace(job, word="again"),
    ]
    assert len({name(each) for each in (job, *others)}) == 6
    again = Owner(OWNER.key, "another-uid", "ModelCache")
    assert render_job(again, job, CACHES)["metadata"]["name"] != name(job)


def test_no_job_reaches_metadata_services_or_the_api_server() -> None:
    _, policy = render_support(OWNER, CACHES)
    dns, rest = policy["spec"]["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    blocks = [peer["ipBlock"] for peer in rest["to"]]
    assert blocks == [
        {"cidr": "0.0.0.0/0", "except": ["10.96.0.1/32", "169.254.0.0/16"]},
        {"cidr": "::/0", "except": ["fe80::/10"]},
    ]
    (ingress,) = policy["spec"]["ingress"]
    assert ingress["ports"] == [{"protocol": "TCP", "port": 8002}]


def test_a_choice_of_nodes_joins_a_choice_of_accelerators() -> None:
    several = Accelerators(("a", "b"), "x", 1, ((("type", "a"),), (("type", "b"),)), ())
    placed = pinned(placement(Placement(several, PodAdditions(), ())), ("n1",))
    terms = placed["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    field = {"key": "metadata.name", "operator": "In", "values": ["n1"]}
    assert terms["nodeSelectorTerms"] == [
        {
            "matchExpressions": [{"key": "type", "operator": "In", "values": [name]}],
            "matchFields": [field],
        }
        for name in ("a", "b")
    ]
    assert pinned({"nodeSelector": {"a": "b"}}, ()) == {"nodeSelector": {"a": "b"}}
