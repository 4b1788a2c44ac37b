"""Stories of services whose model comes from a ModelCache."""

from dataclasses import replace
from typing import Any

import pytest

from stoker import naming
from stoker.model import reasons
from stoker.model.location import Location, UsedCache
from stoker.model.plan import Verdict
from stoker_worker import modelfacts
from tests.unit.plan import worlds
from tests.unit.plan.worlds import World

FETCHING = Verdict("Fetching", "6.6 of 15.9 GiB from huggingface.co. (42%)")
FULL = Verdict("NotEnoughDisk", "needs 15.9 GiB, 3.2 GiB free on claim llama-cache.")
REVISION = "5206a32e" * 5
CONTENT = Location(
    claim="llama-cache",
    folder="models/org-llama-0123456789abcdef",
    cache="llama",
    claim_uid="uid-llama-cache",
    revision=REVISION,
    facts=modelfacts.to_json(worlds.FACTS),
)
EMPTY = UsedCache("llama", exists=True, progressing=True, problem=FETCHING)
READY = UsedCache("llama", exists=True, content=CONTENT)


def world(cache: UsedCache = EMPTY, **fields: Any) -> World:
    wanted = {"model": {"cacheRef": {"name": "llama"}}, "replicas": 2, **fields}
    found = World(worlds.spec(**wanted), worlds.PLANNING)
    found.cache = cache
    found.claims = {"engine-packages": "Bound"}
    if cache.content is not None:
        found.claims["llama-cache"] = "Bound"
    return found


def arrive(found: World, cache: UsedCache = READY) -> None:
    found.cache = cache
    found.claims["llama-cache"] = "Bound"


def pod_of(found: World) -> dict[str, Any]:
    (revision,) = found.replicas()
    pod: dict[str, Any] = found.deployment(
        naming.engine_deployment(worlds.KEY.name, revision)
    ).body["spec"]["template"]["spec"]
    return pod


def test_a_service_waits_for_its_cache_and_holds_requests_meanwhile() -> None:
    found = world()
    found.settle()
    assert found.replicas() == {}
    assert not [name for kind, name in found.objects if kind == "Job"]
    assert ("Deployment", naming.frontend("llama")) in found.objects
    for kind in ("ModelReady", "Ready"):
        told = found.condition(kind)
        assert (told["status"], told["reason"]) == ("False", "Fetching")
        assert told["message"] == f"ModelCache llama: Fetching: {FETCHING.message}"
    assert found.condition("Progressing")["status"] == "True"
    assert found.condition("Planned")["status"] == "Unknown"


def test_a_cache_that_cannot_go_on_says_why() -> None:
    found = world(replace(EMPTY, progressing=False, problem=FULL))
    found.settle()
    told = found.condition("Progressing")
    assert (told["status"], told["reason"]) == ("False", "NotEnoughDisk")
    assert "3.2 GiB free" in found.condition("ModelReady")["message"]


IMAGE = f"registry.test/org/llama@sha256:{'a' * 64}"
MOUNTED = UsedCache(
    "llama",
    exists=True,
    content=replace(
        CONTENT, claim="", claim_uid=None, folder="llama", image=IMAGE, pull_secret="registry"
    ),
)


def test_a_model_in_an_image_is_mounted_by_its_digest_and_outlives_its_cache() -> None:
    found = world()
    found.settle()
    found.cache = MOUNTED
    found.settle()
    pod = pod_of(found)
    (volume,) = [each for each in pod["volumes"] if each["name"] == "model"]
    assert volume["image"] == {"reference": IMAGE, "pullPolicy": "IfNotPresent"}
    assert {"name": "registry"} in pod["imagePullSecrets"]
    assert not [name for kind, name in found.objects if kind == "Job"]
    assert found.status["model"]["source"] == f"{IMAGE}/llama"
    assert "claim" not in found.status["model"]
    before = found.replicas()
    found.cache = UsedCache("llama", exists=False, problem=Verdict(reasons.CACHE_NOT_FOUND, "gone"))
    found.settle()
    assert found.replicas() == before, "the image is still there"
    other = replace(MOUNTED.content or CONTENT, image=IMAGE.replace("a" * 64, "b" * 64))
    found.cache = replace(MOUNTED, content=other)
    found.settle()
    assert found.replicas() != before


def test_a_long_reference_is_told_by_its_hash() -> None:
    found = world()
    found.settle()
    image = f"registry.test/{'org/' * 30}llama@sha256:{'a' * 64}"
    found.cache = replace(MOUNTED, content=replace(MOUNTED.content or CONTENT, image=image))
    found.settle()
    assert found.status["model"]["source"].startswith("image:")
    (volume,) = [each for each in pod_of(found)["volumes"] if each["name"] == "model"]
    assert volume["image"]["reference"] == image


def test_once_the_model_is_there_the_service_starts_without_reading_it_again() -> None:
    found = world()
    found.settle()
    arrive(found)
    found.settle()
    assert found.ready() == 2
    assert not [name for kind, name in found.objects if kind == "Job"]
    model = next(each for each in pod_of(found)["volumes"] if each["name"] == "model")
    assert model["persistentVolumeClaim"] == {"claimName": "llama-cache", "readOnly": True}
    assert CONTENT.folder in str(pod_of(found)["containers"][0]["env"])
    assert found.condition("Planned")["status"] == "True"
    told = found.status["model"]
    assert (told["cache"], told["claim"]) == ("llama", "llama-cache")
    assert told["revision"] == REVISION
    assert told["source"] == f"uid-llama-cache/{CONTENT.folder}"


@pytest.mark.parametrize(
    "later",
    [
        replace(READY, problem=FULL),
        UsedCache("llama", exists=False, problem=Verdict(reasons.CACHE_NOT_FOUND, "none there.")),
    ],
)
def test_whatever_becomes_of_the_cache_what_runs_scales_on(later: UsedCache) -> None:
    found = world(READY)
    found.settle()
    before = found.replicas()
    found.cache = later
    found.settle()
    assert found.replicas() == before
    assert found.condition("Ready")["status"] == "True"
    told = found.condition("ModelReady")
    assert told["status"] == "True"
    assert later.problem is not None
    assert later.problem.message in told["message"]
    found.change(worlds.spec(model={"cacheRef": {"name": "llama"}}, replicas=4))
    found.settle()
    assert found.ready() == 4
    assert list(found.replicas()) == list(before)
    assert found.condition("Planned")["status"] == "True"


def test_a_claim_that_was_made_anew_is_not_the_one_that_had_the_model() -> None:
    found = world(READY)
    found.settle()
    before = found.replicas()
    found.cache = replace(EMPTY, problem=None)
    found.status = {
        **found.status,
        "model": {**found.status["model"], "source": f"uid-of-before/{CONTENT.folder}"},
    }
    found.settle()
    assert found.replicas() == before, "the old revision serves on"
    assert found.condition("Ready")["reason"] == reasons.OLD_REVISION_SERVES
    assert found.condition("ModelReady")["reason"] == reasons.CACHE_PENDING


def test_another_content_is_another_revision_that_rolls() -> None:
    found = world(READY)
    found.settle()
    (before,) = found.replicas()
    newer = replace(CONTENT, folder="models/org-llama-fedcba9876543210", revision="f" * 40)
    found.cache = replace(READY, content=newer)
    found.look()
    assert len(found.replicas()) == 2
    found.settle()
    (after,) = found.replicas()
    assert after != before
    assert found.ready() == 2


def test_a_model_that_cannot_be_read_is_told_in_the_caches_words() -> None:
    unread = replace(CONTENT, facts=None, unread=Verdict("StructureUnknown", "no such layers"))
    found = world(replace(READY, content=unread))
    found.settle()
    told = found.condition("Planned")
    assert (told["status"], told["reason"]) == ("False", "StructureUnknown")
    assert "no such layers" in found.condition("ModelReady")["message"]


def test_another_cache_that_has_nothing_yet_lets_the_old_one_serve() -> None:
    found = world(READY)
    found.settle()
    before = found.replicas()
    found.change(worlds.spec(model={"cacheRef": {"name": "other"}}, replicas=2))
    found.cache = replace(EMPTY, name="other")
    found.settle()
    assert found.replicas() == before
    assert found.condition("ModelReady")["status"] == "False"
    assert found.condition("Progressing")["status"] == "True"


def test_a_source_without_a_cache_gets_one_that_outlives_the_service() -> None:
    model = {"uri": "hf://org/Llama-3.1-8B", "revision": "main", "secretRef": {"name": "hub"}}
    name = naming.implicit_cache("hf://org/Llama-3.1-8B", "main", "hub")
    found = world(UsedCache(name, exists=False, implicit=True), model=model)
    made = found.look().cache
    assert made is not None
    assert made["metadata"] == {
        "name": name,
        "namespace": "chat",
        "labels": {naming.LABEL_IMPLICIT: "true", naming.LABEL_MANAGED_BY: naming.MANAGED_BY},
    }
    assert made["spec"] == {"model": model}
    assert found.condition("ModelReady")["reason"] == reasons.CACHE_PENDING
    found.cache = UsedCache(name, exists=True, implicit=True)
    assert found.look().cache is None


def test_a_spec_that_is_refused_makes_no_cache() -> None:
    found = world(
        UsedCache("x", exists=False, implicit=True),
        model={"uri": "hf://org/x"},
        engine={"args": {"port": "1"}},
    )
    assert found.look().cache is None


def test_a_cache_per_node_prefers_nodes_that_have_it_and_waits_on_others() -> None:
    label = "model.stoker.dev/0123456789abcdef"
    found = world(replace(READY, content=replace(CONTENT, node_label=label)))
    found.settle()
    pod = pod_of(found)
    (preferred,) = pod["affinity"]["nodeAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert preferred["preference"]["matchExpressions"] == [{"key": label, "operator": "Exists"}]
    waits = next(each for each in pod["initContainers"] if each["name"] == "await-model")
    assert waits["command"][-1] == f"/models/{CONTENT.folder}"
    (name,) = [name for name in found.pods if "engine" in name][:1]
    for each in list(found.pods):
        if "engine" in each:
            found.pods[each] = replace(found.pods[each], ready=False, awaits_model=True)
    found.look()
    told = found.condition("Ready")
    assert told["reason"] == reasons.WAITING_FOR_MODEL
    assert f"Pod {name} waits until ModelCache llama has filled node node-1" in told["message"]
    assert waits["volumeMounts"] == [{"name": "model", "mountPath": "/models", "readOnly": True}]
