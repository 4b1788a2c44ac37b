"""Stories of a cache that keeps nothing: an image is mounted, or copied where it cannot be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from stoker.api.modelcache import ModelCacheSpec
from stoker.model.observed import ContainerFailure
from stoker_worker import modelfacts
from stoker_worker.cachecontract import SOURCE_DIR, FetchReason, FetchResult
from tests.unit.caching.worlds import GIB, World, fetched, pod_spec
from tests.unit.plan.worlds import FACTS

DIGEST = f"sha256:{'a' * 64}"
IMAGE = f"registry.test/org/llama@{DIGEST}"
URI = "oci://registry.test/org/llama:v1"
CANNOT = ContainerFailure("cache", "CreateContainerError", "no such file or directory")
NO_PULL = ContainerFailure("cache", "ImagePullBackOff", "401 Unauthorized")


def world(fallback: str = "none", **model: Any) -> World:
    found = World({"model": {"uri": URI, **model}, "storage": {"image": {"fallback": fallback}}})
    found.image_volumes = True
    return found


def looked(**fields: Any) -> FetchResult:
    """What the job says that looked at the registry."""
    told = {"image": IMAGE, "image_folder": "models/llama", **fields}
    return FetchResult("resolve", DIGEST, 15 * GIB, 4, **told)


def resolve(cache: World, **fields: Any) -> None:
    cache.turn()
    cache.end("resolve", looked(**fields))
    cache.turn()


def stuck(cache: World, *failures: ContainerFailure) -> None:
    """A pod on a node does not start, and it is past all patience."""
    cache.turn()
    unix = cache.now.unix
    cache.start("mount", phase="Pending", ready=False, failures=failures, scheduled_at=unix)
    cache.at += 150.0
    cache.turn()


def test_a_pod_mounts_it_once_and_services_get_the_image() -> None:
    cache = world()
    resolve(cache)
    assert cache.claim is None
    spec = pod_spec(cache.job("mount"))
    (volume,) = [each for each in spec["volumes"] if "image" in each]
    assert volume["image"] == {"reference": IMAGE, "pullPolicy": "IfNotPresent"}
    (mount,) = [e for e in spec["containers"][0]["volumeMounts"] if e["name"] == volume["name"]]
    assert mount == {"name": volume["name"], "mountPath": SOURCE_DIR, "readOnly": True}
    config = cache.config("mount")
    assert (config.revision, config.folder) == (DIGEST, "models/llama")
    assert cache.condition("Ready")[:2] == ("False", "PullingImage")
    cache.end("mount", fetched("mount", revision=DIGEST, digest=DIGEST))
    cache.settle()
    assert cache.status["phase"] == "Ready"
    told = {name: cache.status.get(name) for name in ("image", "folder", "digest", "claim")}
    assert told == {"image": IMAGE, "folder": "models/llama", "digest": DIGEST, "claim": None}
    assert modelfacts.from_json(cache.status["facts"]) == FACTS
    assert IMAGE in cache.condition("Ready")[2]
    assert cache.claim is None
    assert cache.jobs() == []


def test_a_settled_one_sleeps_although_everything_is_verified_on_a_schedule() -> None:
    cache = world()
    cache.caches = replace(cache.caches, verify_every_s=3600.0)
    resolve(cache)
    cache.end("mount", fetched("mount"))
    assert cache.settle().wake_at is None


def test_the_pull_secret_is_the_kubelets_and_nobody_elses() -> None:
    cache = world(secretRef={"name": "registry"})
    resolve(cache)
    spec = pod_spec(cache.job("mount"))
    assert {"name": "registry"} in spec["imagePullSecrets"]
    assert not [each for each in spec["volumes"] if "secret" in each]


def test_its_owner_has_it_looked_at_again() -> None:
    cache = world()
    resolve(cache)
    cache.end("mount", fetched("mount"))
    cache.settle()
    cache.annotations["stoker.dev/verify-again"] = "now"
    cache.turn()
    cache.end("mount", fetched("mount"))
    cache.settle()
    assert cache.status["verified"] == "now"


@pytest.mark.parametrize("fallback", ["none", "copy"])
def test_an_api_server_that_does_not_take_such_volumes(fallback: str) -> None:
    cache = world(fallback)
    cache.image_volumes = False
    resolve(cache)
    assert not cache.has_job("mount")
    if fallback == "none":
        assert cache.condition("Ready")[:2] == ("False", "ImageVolumesNotSupported")
        assert "fallback: copy" in cache.condition("Ready")[2]
        cache.image_volumes = True  # switched on meanwhile
        cache.turn()
        assert cache.has_job("mount")
    else:
        cache.turn()
        assert cache.claim is not None
        cache.bind()
        cache.image_volumes = True  # a service is not moved because a cluster was upgraded
        cache.turn()
        cache.fetch()
        cache.settle()
        assert cache.status["claim"] == "llama-cache"
        assert "image" not in cache.status
        assert cache.status["resolved"]["unmountable"]["reason"] == "ImageVolumesNotSupported"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(CANNOT, "ImageVolumesNotSupported"), (NO_PULL, "ImageNotPulled")],
)
def test_a_node_that_cannot_is_found_by_the_job_and_not_by_an_engine(
    failure: ContainerFailure, reason: str
) -> None:
    cache = world()
    resolve(cache)
    stuck(cache, failure)
    assert cache.condition("Ready")[:2] == ("False", reason)
    assert "n1" in cache.condition("Ready")[2]
    cache.settle()
    assert cache.jobs() == []  # no pod is left that cannot start
    cache.at += 400.0
    cache.turn()
    assert cache.has_job("mount"), "asked again after a while"


@pytest.mark.parametrize("failure", [CANNOT, NO_PULL])
def test_a_node_that_cannot_has_it_copied_where_that_is_allowed(
    failure: ContainerFailure,
) -> None:
    cache = world("copy")
    resolve(cache)
    stuck(cache, failure)
    cache.turn()
    assert not cache.has_job("mount")
    assert cache.claim is not None
    assert cache.has_job("fetch")


def test_a_pull_takes_its_time() -> None:
    cache = world("copy")
    resolve(cache)
    stuck(cache)
    assert cache.has_job("mount")
    assert cache.condition("Ready")[:2] == ("False", "PullingImage")
    cache.at += cache.caches.patience_s
    cache.turn()
    cache.turn()
    assert cache.has_job("fetch")


def test_a_kubelet_that_mounts_an_empty_folder() -> None:
    cache = world("copy")
    resolve(cache)
    cache.turn()
    cache.fail("mount", FetchReason.IMAGE_NOT_MOUNTED, "nothing is there")
    cache.turn()
    cache.turn()
    assert cache.has_job("fetch")


def test_artifacts_are_no_images() -> None:
    cache = world()
    resolve(cache, image="", image_folder="", unmountable="registry.test/org/llama is an artifact")
    assert cache.condition("Ready")[:2] == ("False", "ImageNotMountable")
    assert "artifact" in cache.condition("Ready")[2]
    cache.settle()
    assert cache.jobs() == []


def test_what_is_mounted_stays_in_use_while_another_revision_comes() -> None:
    cache = world()
    resolve(cache)
    cache.end("mount", fetched("mount"))
    cache.settle()
    other = f"sha256:{'b' * 64}"
    cache.annotations["stoker.dev/resolve-again"] = "1"
    cache.turn()
    cache.end("resolve", replace(looked(image=f"registry.test/org/llama@{other}"), revision=other))
    cache.turn()
    stuck(cache, NO_PULL)
    assert cache.status["phase"] == "Degraded"
    assert cache.status["image"] == IMAGE


def test_a_cache_on_a_claim_moves_to_the_image_only_once_it_was_mounted() -> None:
    cache = World({"model": {"uri": URI}})
    cache.turn()
    cache.end("resolve", FetchResult("resolve", DIGEST, GIB, 4))  # of a worker that tells less
    cache.turn()
    cache.bind()
    cache.turn()
    cache.fetch()
    cache.settle()
    cache.spec["storage"] = {"image": {}}
    cache.image_volumes = True
    resolve(cache)
    assert cache.status["claim"] == "llama-cache"
    cache.end("mount", fetched("mount"))
    cache.settle()
    assert cache.status["image"] == IMAGE
    assert "claim" not in cache.status


def test_only_registries_have_images() -> None:
    with pytest.raises(ValidationError, match=r"storage\.image is for oci://"):
        ModelCacheSpec.model_validate({"model": {"uri": "hf://a/b"}, "storage": {"image": {}}})
