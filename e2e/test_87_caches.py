"""Model caches on a real kubelet, volume and packet filter, before a hub that really serves.

The hub runs beside the cluster, as hubs do, and writes down every request. So "one download" and
"no call at pod start" are counts of its own, and a policy on top shuts the pods off.
"""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING

import pytest

from e2e.caches import KIND, PULL, REPO, SECONDS, Caches, prepared, remove_caches_and_services
from e2e.models import TINY
from e2e.stack import Stack, is_ready

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.prometheus import Prometheus

NAMESPACE = "caches"
WEIGHTS = "model.safetensors"
SLOW = 30_000  # bytes/s: minutes for the weights, and only until that is seen
SEEN = f'count_over_time(stoker_cache_download_ratio{{namespace="{NAMESPACE}"}}[5m]) >= 4'
CACHE, SERVICE, SECOND, IMAGE = "tiny", "cached", "shared", "imaged"


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


def test_a_cache_becomes_ready_and_holds_the_sources_bytes(
    caches: Caches, prometheus: Prometheus
) -> None:
    slow = caches.hub.cdn.fail(bytes_per_second=SLOW)
    caches.stack.apply(caches.cache(CACHE, storage={"pvc": {"size": "100Mi"}}))
    # The dashboards show how far downloads are, so one is held until it has been scraped.
    caches.stack.wait_for(lambda: prometheus.now(SEEN), "Prometheus to see the download", SECONDS)
    assert caches.condition("Ready").get("status") != "True"
    slow.bytes_per_second = math.inf
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


def test_an_image_is_mounted_and_copied_nowhere(caches: Caches) -> None:
    """From a registry that asks who pulls: the worker's job, and the kubelet for each pod."""
    stack, registry = caches.stack, caches.registry
    digest = registry.push_image("tests/tiny", "v1", stack.models / TINY.name)
    address = f"{registry.netloc}/tests/tiny"
    model = {"uri": f"oci://{address}", "revision": "v1", "secretRef": {"name": PULL}}
    stack.apply(caches.cache(IMAGE, model=model, storage={"image": {}}))
    caches.wait_ready(IMAGE)
    status = caches.status(IMAGE)
    assert status["revision"] == digest
    assert status["image"] == f"{address}@{digest}"
    assert "claim" not in status


def test_services_run_from_both(caches: Caches) -> None:
    stack = caches.stack
    caches.hub.forget()
    stack.apply([
        caches.service(SERVICE, {"cacheRef": {"name": CACHE}}),
        caches.service(IMAGE, {"cacheRef": {"name": IMAGE}}),
    ])  # fmt: skip
    (pod,) = caches.settle(IMAGE)
    caches.settle(SERVICE)
    assert caches.answers(SERVICE)
    assert caches.answers(IMAGE)
    assert not caches.hub.hub.seen
    (volume,) = [each for each in pod["spec"]["volumes"] if "image" in each]
    assert volume["image"]["reference"] == caches.status(IMAGE)["image"]
    stack.kubectl("delete", "infer", IMAGE, "-n", NAMESPACE, "--wait=true")
    assert not caches.state(SERVICE)["compiled"]["restored"]
    stack.wait_for(lambda: bool(caches.compiled()), "what the engine found out to be kept", 120)


def test_without_a_hub_services_start(caches: Caches) -> None:
    """Shut off from the hub by a policy that bites, and then there is no hub at all.

    One service starts again with what its first engine kept, and a second one of the same source
    shares the cache.
    """
    stack = caches.stack
    with caches.shut_off():
        caches.hub.stop()
        caches.hub.forget()
        try:
            stack.apply(caches.service(SECOND, {"uri": f"hf://{REPO}"}))
            replace_pod(caches, SERVICE)
            caches.settle(SECOND)
            assert caches.answers(SERVICE)
            assert caches.answers(SECOND)
        finally:
            caches.hub.start()
    assert not caches.hub.hub.seen
    assert caches.downloads() == 0
    told = caches.state(SERVICE)
    assert told["compiled"]["restored"] in {each.name for each in caches.compiled()}
    # The volume is mounted to be written, and yet no file of the model looks touched.
    assert told["model"]["hashed"] == 0
    made = {each["metadata"]["name"] for each in stack.list(KIND, NAMESPACE)}
    assert made == {CACHE, IMAGE}, "nobody made one for the second service"
    stack.kubectl("delete", "infer", SECOND, "-n", NAMESPACE, "--wait=true")
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


def test_deleting_everything_hangs_nothing(caches: Caches) -> None:
    stack = caches.stack
    began = time.monotonic()
    stack.kubectl("delete", "mc", "--all", "-n", NAMESPACE, "--wait=true", "--timeout=60s")
    assert json.loads(stack.kubectl("get", "mc", "-n", NAMESPACE, "-o", "json"))["items"] == []
    remove_caches_and_services(stack, NAMESPACE)
    stack.remove_namespace(NAMESPACE, seconds=120)
    assert time.monotonic() - began < 240, "nothing waits for a finalizer"
