"""Services whose model comes from a ModelCache, through the real control plane.

The caches' status is written by the test, as their jobs cannot run here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from stoker import naming
from stoker_worker import modelfacts
from stoker_worker.contract import COMPILED_DIR, MODEL_DIR
from tests.integration.operator.cachejobs import CacheJobs, result
from tests.integration.operator.support import condition, make_claim, service, wait_for
from tests.support.tiny import TINY

if TYPE_CHECKING:
    from tests.support.controlplane import ControlPlane

pytestmark = pytest.mark.usefixtures("operator")

PATCH = "application/merge-patch+json"
CLAIM = "weights"
L4: dict[str, Any] = {
    "accelerator": {"types": ["nvidia-l4"], "perReplica": 1},
    "context": {"maxModelLen": 4096},
}


@pytest.fixture
def namespace(bare_namespace: str) -> str:
    """Without a claim: each test makes those that it needs."""
    return bare_namespace


def make_cache(plane: ControlPlane, namespace: str, name: str, uri: str, **model: Any) -> None:
    plane.apply(
        {
            "apiVersion": "stoker.dev/v1alpha1",
            "kind": "ModelCache",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "model": {"uri": uri, **model},
                "storage": {"existingClaim": {"name": CLAIM}},
            },
        }
    )


def say(plane: ControlPlane, namespace: str, name: str, status: dict[str, Any]) -> None:
    """Write a cache's status."""
    path = f"/apis/stoker.dev/v1alpha1/namespaces/{namespace}/modelcaches/{name}/status"
    code, answer = plane.request("PATCH", path, {"status": status}, kind=PATCH)
    assert code == 200, answer


def content(plane: ControlPlane, namespace: str, folder: str = "org-tiny-0123") -> dict[str, Any]:
    """What a cache says whose model is whole."""
    claim = plane.get("pvc", CLAIM, "-n", namespace)
    return {
        "phase": "Ready",
        "digest": "d" * 64,
        "revision": "0" * 40,
        "bytes": 1000,
        "files": 3,
        "claim": CLAIM,
        "claimUid": claim["metadata"]["uid"],
        "folder": folder,
        "facts": modelfacts.to_json(TINY),
    }


def objects(plane: ControlPlane, namespace: str, kind: str, component: str) -> list[dict[str, Any]]:
    selector = f"stoker.dev/component={component}"
    return list(plane.get(kind, "-n", namespace, "-l", selector)["items"])


def engines(plane: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    return objects(plane, namespace, "deployments", "engine")


def test_a_service_waits_for_its_cache_and_outlives_it(plane: ControlPlane, namespace: str) -> None:
    make_claim(plane, namespace, CLAIM, mode="ReadWriteMany")
    key = (namespace, "tiny")
    model = {"cacheRef": {"name": "tiny"}}
    plane.apply(service("tiny", namespace, model=model, **L4))
    told = wait_for(
        "it says that there is no cache",
        lambda: (
            (found := condition(plane, key, "ModelReady"))
            and found["reason"] == "CacheNotFound"
            and found
        ),
    )
    assert told["status"] == "False"
    assert "ModelCache tiny" in told["message"]
    wait_for(
        "requests can be held",
        lambda: objects(plane, namespace, "deployments", "frontend"),
    )
    make_cache(plane, namespace, "tiny", "hf://org/tiny")
    wait_for(
        "it waits for the cache",
        lambda: (condition(plane, key, "ModelReady") or {}).get("reason") != "CacheNotFound",
    )
    assert engines(plane, namespace) == []
    assert objects(plane, namespace, "jobs", "facts") == []

    say(plane, namespace, "tiny", content(plane, namespace))
    (engine,) = wait_for("the engine's Deployment", lambda: engines(plane, namespace))
    pod = engine["spec"]["template"]["spec"]
    volume = next(each for each in pod["volumes"] if each["name"] == "model")
    assert volume["persistentVolumeClaim"] == {"claimName": CLAIM}
    mounted = {
        each["mountPath"]: (each.get("subPath"), each.get("readOnly", False))
        for each in pod["containers"][0]["volumeMounts"]
        if each["name"] == "model"
    }
    # Every reader of this claim can write it, so what engines compile lies beside the model.
    assert mounted == {MODEL_DIR: (None, True), COMPILED_DIR: ("compile/org-tiny-0123", False)}
    env = {each["name"]: each.get("value", "") for each in pod["containers"][0]["env"]}
    config = json.loads(env["STOKER_WORKER_CONFIG"])
    assert config["model_path"] == "/models/models/org-tiny-0123"
    wait_for(
        "it is planned without a Job",
        lambda: (condition(plane, key, "Planned") or {}).get("status") == "True",
    )
    assert objects(plane, namespace, "jobs", "facts") == []
    known = wait_for(
        "the model", lambda: plane.get("infer", "tiny", "-n", namespace)["status"].get("model")
    )
    assert (known["cache"], known["claim"], known["revision"]) == ("tiny", CLAIM, "0" * 40)

    plane.kubectl("delete", "mc", "tiny", "-n", namespace)
    plane.apply(service("tiny", namespace, model=model, replicas=3, **L4))
    wait_for(
        "it scales on without its cache",
        lambda: [each["spec"]["replicas"] for each in engines(plane, namespace)] == [3],
    )
    (same,) = engines(plane, namespace)
    assert same["metadata"]["uid"] == engine["metadata"]["uid"]


def test_another_content_rolls(plane: ControlPlane, namespace: str) -> None:
    make_claim(plane, namespace, CLAIM, mode="ReadWriteMany")
    make_cache(plane, namespace, "tiny", "hf://org/tiny")
    say(plane, namespace, "tiny", content(plane, namespace))
    plane.apply(service("tiny", namespace, model={"cacheRef": {"name": "tiny"}}, **L4))
    (first,) = wait_for("the engine's Deployment", lambda: engines(plane, namespace))
    say(plane, namespace, "tiny", content(plane, namespace, "org-tiny-4567"))
    wait_for(
        "another revision",
        lambda: [
            each
            for each in engines(plane, namespace)
            if each["metadata"]["name"] != first["metadata"]["name"]
            and "org-tiny-4567" in json.dumps(each)
        ],
    )


def test_services_of_one_source_share_a_cache_that_outlives_them(
    plane: ControlPlane, namespace: str
) -> None:
    model = {"uri": "hf://org/Shared-Model", "revision": "main"}
    for name in ("one", "two"):
        plane.apply(service(name, namespace, model=model))
    name = naming.implicit_cache("hf://org/Shared-Model", "main", None)
    for each in ("one", "two"):
        key = (namespace, each)
        wait_for(
            f"{each} waits for it",
            lambda key=key: (  # type: ignore[misc]
                name in (condition(plane, key, "ModelReady") or {}).get("message", "")
            ),
        )
    (made,) = plane.get("mc", "-n", namespace)["items"]
    assert made["metadata"]["name"] == name
    assert made["metadata"]["labels"][naming.LABEL_IMPLICIT] == "true"
    assert "ownerReferences" not in made["metadata"]
    assert made["spec"]["model"] == model
    plane.kubectl("delete", "infer", "one", "-n", namespace)
    plane.kubectl("delete", "infer", "two", "-n", namespace)
    wait_for(
        "the services' objects are gone",
        lambda: not objects(plane, namespace, "deployments", "frontend"),
    )
    (left,) = plane.get("mc", "-n", namespace)["items"]
    assert left["metadata"]["uid"] == made["metadata"]["uid"]
    assert "deletionTimestamp" not in left["metadata"]


def test_a_cache_that_somebody_made_is_used_and_left_as_it_is(
    plane: ControlPlane, namespace: str
) -> None:
    make_claim(plane, namespace, CLAIM, mode="ReadWriteMany")
    make_cache(plane, namespace, "mine", "hf://org/tiny", revision="v1")
    say(plane, namespace, "mine", content(plane, namespace))
    before = plane.get("mc", "mine", "-n", namespace)
    model = {"uri": "hf://org/tiny", "revision": "v1"}
    plane.apply(service("tiny", namespace, model=model, **L4))
    wait_for("the engine's Deployment", lambda: engines(plane, namespace))
    (only,) = plane.get("mc", "-n", namespace)["items"]
    assert only["metadata"]["name"] == "mine"
    assert only["spec"] == before["spec"]
    assert only["metadata"].get("labels") == before["metadata"].get("labels")


def test_an_image_is_mounted_once_a_pod_has_had_it(plane: ControlPlane, namespace: str) -> None:
    """Under the restricted standard, and with no right that the operator does not have anyway."""
    digest = f"sha256:{'a' * 64}"
    reference = f"registry.test/org/tiny@{digest}"
    cache = CacheJobs(plane, namespace)
    cache.make(
        "oci://registry.test/org/tiny:v1",
        storage={"image": {}},
        model={"secretRef": {"name": "registry"}},
    )
    key = (namespace, "tiny")
    plane.apply(service("tiny", namespace, model={"cacheRef": {"name": "tiny"}}, **L4))
    cache.resolve(revision=digest, image=reference, image_folder="models")
    pod = cache.pod("mount")["spec"]
    (volume,) = [each for each in pod["volumes"] if "image" in each]
    assert volume["image"] == {"reference": reference, "pullPolicy": "IfNotPresent"}
    assert {"name": "registry"} in pod["imagePullSecrets"]
    assert cache.condition()[:2] == ("False", "PullingImage")
    assert engines(plane, namespace) == []
    cache.end("mount", result("mount", revision=digest, digest=digest))
    cache.wait_phase("Ready")
    (engine,) = wait_for("the engine's Deployment", lambda: engines(plane, namespace))
    pod = engine["spec"]["template"]["spec"]
    (volume,) = [each for each in pod["volumes"] if each["name"] == "model"]
    assert volume["image"] == {"reference": reference, "pullPolicy": "IfNotPresent"}
    assert {"name": "registry"} in pod["imagePullSecrets"]
    wait_for(
        "it is planned without a Job",
        lambda: (condition(plane, key, "Planned") or {}).get("status") == "True",
    )
    claims = [each["metadata"]["name"] for each in plane.get("pvc", "-n", namespace)["items"]]
    assert "tiny-cache" not in claims
    plane.kubectl("delete", "mc", "tiny", "-n", namespace)
    plane.apply(service("tiny", namespace, model={"cacheRef": {"name": "tiny"}}, replicas=3, **L4))
    wait_for(
        "it scales on without its cache",
        lambda: [each["spec"]["replicas"] for each in engines(plane, namespace)] == [3],
    )
    (same,) = engines(plane, namespace)
    assert same["metadata"]["uid"] == engine["metadata"]["uid"]
