"""Model caches on a real kubelet, volume and packet filter, before a hub that really serves.

The hub runs beside the cluster, as hubs do, and writes down every request. So "one download" and
"no call at pod start" are counts of its own, and a policy on top shuts the pods off.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from e2e.caches import (
    KIND,
    REPO,
    SECONDS,
    Caches,
    ClusterRegistry,
    prepared,
    remove_services,
)
from e2e.cluster.settings import REGISTRY
from e2e.cluster.volumes import free_volume
from e2e.models import TINY
from e2e.stack import Stack, is_ready

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.prometheus import Prometheus

NAMESPACE = "caches"
WEIGHTS = "model.safetensors"
SLOW = 150_000
CACHE, SERVICE, SECOND = "tiny", "cached", "shared"


@pytest.fixture(scope="module")
def caches(stack: Stack) -> Iterator[Caches]:
    """A hub with one model, the operator told of it, and two volumes: one is far too small."""
    if stack.cluster.mode != "local":
        pytest.skip("the hub and the volumes are on this machine")
    with prepared(stack, NAMESPACE) as found:
        yield found


def replace_pod(caches: Caches, service: str) -> None:
    """Delete the engine's pod and wait for its successor."""
    old = caches.stack.engine_pods(service, NAMESPACE)[0]["metadata"]
    caches.stack.kubectl("delete", "pod", old["name"], "-n", NAMESPACE, "--wait=true")
    caches.settle(service)


def test_a_cache_becomes_ready_and_holds_the_sources_bytes(caches: Caches) -> None:
    # Slow enough that there is a way to see: the dashboards show how far downloads are.
    caches.hub.cdn.fail(bytes_per_second=SLOW)
    caches.stack.apply(caches.cache(CACHE, storage={"pvc": {"size": "100Mi"}}))
    caches.wait_ready()
    status = caches.status()
    source = caches.stack.models / TINY.name
    for path in source.iterdir():
        assert (caches.model() / path.name).read_bytes() == path.read_bytes()
    assert status["revision"] == caches.hub.repositories[REPO].branches["main"]
    assert status["bytes"] == sum(path.stat().st_size for path in source.iterdir())
    assert len(status["digest"].removeprefix("sha256:")) == 64
    assert caches.downloads() == 1
    shown = caches.stack.kubectl("get", "mc", "-n", NAMESPACE)
    assert CACHE in shown
    assert "Ready" in shown
    caches.stack.wait_for(
        lambda: not caches.stack.list("pods", NAMESPACE),
        "finished jobs to let go of the volume",
        60,
    )


def test_a_service_runs_from_it(caches: Caches) -> None:
    caches.hub.forget()
    compiling = {"compile": "on"}
    named = {"cacheRef": {"name": CACHE}}
    caches.stack.apply(caches.service(SERVICE, named, optimization=compiling))
    caches.settle(SERVICE)
    assert caches.answers(SERVICE)
    assert not caches.hub.hub.seen
    assert not caches.state(SERVICE)["compiled"]["restored"]
    caches.stack.wait_for(lambda: bool(caches.compiled()), "what it compiled to be kept", 120)


def test_without_a_hub_it_starts_again(caches: Caches) -> None:
    """Shut off from the hub by a policy that bites, and then there is no hub at all."""
    with caches.shut_off():
        caches.hub.stop()
        caches.hub.forget()
        try:
            replace_pod(caches, SERVICE)
            assert caches.answers(SERVICE)
        finally:
            caches.hub.start()
    assert not caches.hub.hub.seen
    told = caches.state(SERVICE)
    assert told["compiled"]["restored"] in {each.name for each in caches.compiled()}
    # The volume is mounted to be written, and yet no file of the model looks touched.
    assert told["model"]["hashed"] == 0


def test_a_second_service_of_the_same_source_shares_it(caches: Caches) -> None:
    caches.hub.forget()
    caches.stack.apply(caches.service(SECOND, {"uri": f"hf://{REPO}"}))
    caches.settle(SECOND)
    assert caches.answers(SECOND)
    assert caches.downloads() == 0
    assert len(caches.stack.list(KIND, NAMESPACE)) == 1
    caches.stack.kubectl("delete", "infer", SECOND, "-n", NAMESPACE, "--wait=true")
    assert caches.condition("Ready")["status"] == "True", "the cache outlives its services"


def test_a_flipped_bit_never_answers_and_one_file_comes_again(caches: Caches) -> None:
    stack, path = caches.stack, caches.model() / WEIGHTS
    truth = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(len(truth) // 2)
        file.write(bytes([truth[len(truth) // 2] ^ 1]))
    caches.hub.forget()
    old = stack.engine_pods(SERVICE, NAMESPACE)[0]["metadata"]
    stack.kubectl("delete", "pod", old["name"], "-n", NAMESPACE, "--wait=true")
    bad_and_ready = False

    def mended() -> bool:
        nonlocal bad_and_ready
        whole = path.exists() and path.read_bytes() == truth
        pods = stack.engine_pods(SERVICE, NAMESPACE)
        bad_and_ready |= not whole and any(is_ready(pod) for pod in pods)
        return whole and any(is_ready(pod) for pod in pods)

    stack.wait_for(mended, "the file to be good again and an engine with it", SECONDS)
    assert not bad_and_ready
    assert caches.answers(SERVICE)
    assert caches.downloads() == 1
    assert not caches.hub.hub.requests("*resolve*tokenizer.json*", "GET"), "only what was bad"


def test_an_alert_tells_of_the_flipped_bit(caches: Caches, prometheus: Prometheus) -> None:
    del caches
    prometheus.wait_fired("StokerCacheCorrupt", namespace=NAMESPACE, cache=CACHE)


def test_a_volume_that_is_too_small_is_said_to_be(caches: Caches) -> None:
    caches.hub.forget()
    storage = {"existingClaim": {"name": "small"}}
    caches.stack.apply(caches.cache("large", storage=storage))
    caches.stack.wait_for(
        lambda: caches.condition("Ready", "large").get("reason") == "NotEnoughDisk",
        "NotEnoughDisk",
        SECONDS,
    )
    said = caches.condition("Ready", "large")["message"]
    assert "needs 3." in said, said
    assert "NotEnoughDisk" in caches.stack.kubectl("get", "mc", "large", "-n", NAMESPACE)
    assert caches.downloads() == 0, "known before the first byte"


def test_an_image_is_mounted_where_the_runtime_can_and_copied_elsewhere(caches: Caches) -> None:
    """Debian's containerd cannot (1.6); a newer one that comes first in PATH can."""
    stack, name = caches.stack, "imaged"
    digest = ClusterRegistry().push_image("tests/tiny", "v1", stack.models / TINY.name)
    folder = caches.folder.parent / "copied"
    folder.mkdir()
    # Only now: the claim of the first cache has its volume.
    stack.apply(free_volume("caches-copied", folder, size="10Gi"))
    image = {"uri": f"oci://{REGISTRY}/tests/tiny", "revision": "v1"}
    stack.apply(caches.cache(name, model=image, storage={"image": {"fallback": "copy"}}))
    caches.wait_ready(name)
    status = caches.status(name)
    assert status["revision"] == digest
    (node,) = stack.list("nodes", "default")
    if mounts_images(node["status"]["nodeInfo"]["containerRuntimeVersion"]):
        assert status["image"] == f"{REGISTRY}/tests/tiny@{digest}"
        assert "claim" not in status
        stack.apply(caches.service("imaged", {"cacheRef": {"name": name}}))
        caches.settle("imaged")
        assert caches.answers("imaged")
        (pod,) = stack.engine_pods("imaged", NAMESPACE)
        (volume,) = [each for each in pod["spec"]["volumes"] if "image" in each]
        assert volume["image"]["reference"] == status["image"]
    else:
        assert status["resolved"]["unmountable"]["reason"] == "ImageVolumesNotSupported"
        for path in (stack.models / TINY.name).iterdir():
            copied = folder / "models" / status["folder"] / path.name
            assert copied.read_bytes() == path.read_bytes()
    stack.kubectl("delete", "persistentvolume", "caches-copied", "--wait=false")


def mounts_images(runtime: str) -> bool:
    """Whether containerd://1.6.20 does."""
    name, _, version = runtime.partition("://")
    major, minor = version.split(".")[:2]
    return name == "containerd" and (int(major), int(minor)) >= (2, 1)


def test_deleting_everything_hangs_nothing(caches: Caches) -> None:
    stack = caches.stack
    began = time.monotonic()
    stack.kubectl("delete", "mc", "--all", "-n", NAMESPACE, "--wait=true", "--timeout=60s")
    assert json.loads(stack.kubectl("get", "mc", "-n", NAMESPACE, "-o", "json"))["items"] == []
    remove_services(stack, NAMESPACE)
    stack.remove_namespace(NAMESPACE, seconds=120)
    assert time.monotonic() - began < 240, "nothing waits for a finalizer"
