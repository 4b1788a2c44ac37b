"""ModelCaches through the real control plane; the test plays what runs in their jobs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from stoker import naming
from stoker_worker.cachecontract import FetchReason
from stoker_worker.contract import Termination
from tests.integration.operator.cachejobs import (
    GIB,
    REVISION,
    CacheJobs,
    ProgressPage,
    make_volume,
    result,
)
from tests.integration.operator.support import (
    OperatorProcess,
    add_node,
    make_claim,
    operator_writes,
    wait_for,
)

if TYPE_CHECKING:
    from tests.support.controlplane import ControlPlane

pytestmark = pytest.mark.usefixtures("operator", "unlucky")

FOLDER = naming.model_folder("hf://org/tiny", REVISION)


@pytest.fixture
def namespace(bare_namespace: str) -> str:
    """Without a claim: caches make their own."""
    return bare_namespace


@pytest.fixture(scope="module")
def unlucky(plane: ControlPlane, operator: OperatorProcess) -> CacheJobs:
    """A cache whose job failed once; Kubernetes makes its next pod while other tests run."""
    del operator  # it makes the job
    cache = CacheJobs(plane, plane.namespace("unlucky", enforce="restricted"))
    cache.make()
    cache.end("resolve", Termination("SourceUnreachable", "no route to the hub"), code=2)
    return cache


def claim(plane: ControlPlane, namespace: str, name: str = "tiny-cache") -> dict[str, Any]:
    """The claim that was made; empty where there is none."""
    found = plane.try_kubectl("get", "pvc", name, "-n", namespace, "-o", "name")
    return plane.get("pvc", name, "-n", namespace) if found.returncode == 0 else {}


def storage(plane: ControlPlane) -> dict[str, Any]:
    return {"pvc": {"storageClassName": make_volume(plane)}}


def events(plane: ControlPlane, namespace: str) -> list[str]:
    found = plane.get("events.events.k8s.io", "-n", namespace)["items"]
    return [each["reason"] for each in found if each["regarding"]["kind"] == "ModelCache"]


def test_what_may_pass_has_its_reason_told_until_the_job_tries_again(unlucky: CacheJobs) -> None:
    wait_for("the word", lambda: unlucky.condition()[1] == "SourceUnreachable")


def test_a_model_comes_and_is_there(
    plane: ControlPlane, operator: OperatorProcess, namespace: str
) -> None:
    cache = CacheJobs(plane, namespace)
    cache.make(storage=storage(plane), model={"secretRef": {"name": "hub-token"}})
    cache.wait_phase("Resolving")
    assert not claim(plane, namespace)
    cache.resolve()
    assert cache.config("fetch").revision == REVISION
    made = claim(plane, namespace)
    assert made["spec"]["resources"]["requests"]["storage"] == "6Gi"
    wait_for("the claim is bound", lambda: claim(plane, namespace)["status"]["phase"] == "Bound")
    with ProgressPage() as page:
        uid = cache.run("fetch", page)
        page.page = replace(
            page.page, uid=uid, bytes=3 * GIB, done=GIB, speed=112.0 * 2**20, remaining_s=18.3
        )
        wait_for("progress", lambda: cache.status.get("progress", {}).get("percent") == 33)
        head, row = plane.kubectl("get", "mc", "tiny", "-n", namespace).strip().splitlines()
        assert head.split()[:4] == ["NAME", "PHASE", "PROGRESS", "SIZE"]
        assert row.split()[:8] == [
            "tiny", "Fetching", "33%", "3.0", "GiB", "112.0", "MiB/s", "18s",
        ]  # fmt: skip
        downloaded = f'stoker_cache_downloaded_bytes{{cache="tiny",namespace="{namespace}"}}'
        assert operator.metric(downloaded) == GIB
        # A page that speaks for another pod is not believed.
        page.page = replace(page.page, uid="another", done=2 * GIB)
        wait_for("no progress", lambda: "progress" not in cache.status)
    cache.end("fetch", result("fetch"))
    found = cache.wait_phase("Ready")
    assert (found["claim"], found["folder"]) == ("tiny-cache", FOLDER)
    assert (found["digest"], found["bytes"]) == ("d" * 64, 3 * GIB)
    assert "facts" in found
    assert cache.condition()[:2] == ("True", "Cached")
    # No finished pod holds the volume.
    wait_for("no job is left", lambda: not cache.jobs() and not cache.pods())
    assert {"Resolved", "Fetching", "Fetched"} <= set(events(plane, namespace))
    label = f'cache="tiny",namespace="{namespace}"'
    assert operator.metric(f"stoker_cache_bytes{{{label}}}") == 3 * GIB
    assert operator.metric(f'stoker_cache_phase{{{label},phase="Ready"}}') == 1
    assert operator.metric("stoker_reconcile_bugs_total") == 0


def test_a_settled_cache_is_left_alone(plane: ControlPlane, namespace: str) -> None:
    cache = CacheJobs(plane, namespace)
    cache.make(storage=storage(plane))
    cache.fill()
    wait_for("no job is left", lambda: not cache.jobs() and not cache.pods())
    before = len(operator_writes(plane, namespace))
    plane.kubectl("annotate", "mc", "tiny", "-n", namespace, "example.com/look=1")
    other = CacheJobs(plane, namespace, "other")
    other.make("hf://org/other", storage=storage(plane))
    other.wait_phase("Resolving")
    about = [uri for _, uri in operator_writes(plane, namespace)[before:] if "tiny" in uri]
    assert about == []


REASONS = sorted(
    {value for name, value in vars(FetchReason).items() if name.isupper()}
    - {"Interrupted"}  # nobody hears it: the next pod goes on
)


def test_every_reason_reaches_the_user(plane: ControlPlane, namespace: str) -> None:
    caches = {reason: CacheJobs(plane, namespace, reason.lower()) for reason in REASONS}
    for reason, cache in caches.items():
        cache.make(f"hf://org/{reason.lower()}")
    for reason, cache in caches.items():
        cache.end("resolve", Termination(reason, f"what it says of {reason}"), code=1)
    for reason, cache in caches.items():
        cache.wait_phase("Failed")
        assert cache.condition() == ("False", reason, f"what it says of {reason}")
        assert cache.status["attempt"]["attempts"] == 1
        wait_for("its job is gone", lambda cache=cache: not cache.jobs() and not cache.pods())  # type: ignore[misc]


def test_an_owner_who_has_put_it_right_need_not_wait(plane: ControlPlane, namespace: str) -> None:
    cache = CacheJobs(plane, namespace)
    cache.make(storage=storage(plane))
    cache.end("resolve", Termination("Unauthorized", "the hub wants a token"), code=1)
    cache.wait_phase("Failed")
    cache.annotate(naming.ANNOTATION_RESOLVE, "1")
    cache.fill()


def test_deletion_takes_all_along_and_waits_for_nothing(
    plane: ControlPlane, operator: OperatorProcess, namespace: str
) -> None:
    cache = CacheJobs(plane, namespace)
    cache.make(storage=storage(plane))
    cache.resolve()
    with ProgressPage() as page:
        cache.run("fetch", page)
        assert "finalizers" not in plane.get("mc", "tiny", "-n", namespace)["metadata"]
        plane.kubectl("delete", "mc", "tiny", "-n", namespace, "--timeout=20s")
        wait_for("its jobs and pods are gone", lambda: not cache.jobs() and not cache.pods())
    wait_for("its claim is gone", lambda: not claim(plane, namespace))
    kinds = "networkpolicies,serviceaccounts"
    selector = "stoker.dev/cache=tiny"
    wait_for(
        "the rest is gone",
        lambda: not plane.get(kinds, "-n", namespace, "-l", selector)["items"],
    )
    line = f'stoker_cache_phase{{cache="tiny",namespace="{namespace}",phase="Fetching"}}'
    wait_for("its series are gone", lambda: operator.metric(line) is None)


def test_what_is_retained_stays_and_is_taken_up_again(plane: ControlPlane, namespace: str) -> None:
    cache = CacheJobs(plane, namespace)
    spec: dict[str, Any] = {"storage": storage(plane), "retain": True}
    cache.make(**spec)
    cache.fill()
    kept = claim(plane, namespace)
    assert "ownerReferences" not in kept["metadata"]
    plane.kubectl("delete", "mc", "tiny", "-n", namespace, "--timeout=20s")
    wait_for("its account is gone", lambda: not plane.get(
        "serviceaccounts", "-n", namespace, "-l", "stoker.dev/cache=tiny")["items"])  # fmt: skip
    assert claim(plane, namespace)["metadata"]["uid"] == kept["metadata"]["uid"]
    cache.make(**{**spec, "retain": False})
    cache.fill()
    owned = claim(plane, namespace)
    assert owned["metadata"]["uid"] == kept["metadata"]["uid"]
    assert owned["metadata"]["ownerReferences"][0]["kind"] == "ModelCache"


def test_two_caches_on_one_claim_know_of_each_other(plane: ControlPlane, namespace: str) -> None:
    make_claim(plane, namespace, "shared", mode="ReadWriteMany")
    on_shared = {"storage": {"existingClaim": {"name": "shared"}}}
    first = CacheJobs(plane, namespace, "first")
    first.make("hf://org/first", **on_shared)
    found = first.fill()
    second = CacheJobs(plane, namespace, "second")
    second.make("hf://org/second", **on_shared)
    second.resolve()
    config = second.config("fetch")
    assert found["folder"] in config.live
    assert config.folder in config.live
    assert config.live_at > 0
    second.end("fetch", result("fetch"))
    second.wait_phase("Ready")
    # The claim is not ours.
    assert "ownerReferences" not in plane.get("pvc", "shared", "-n", namespace)["metadata"]


def test_a_claim_that_is_missing_is_waited_for(plane: ControlPlane, namespace: str) -> None:
    cache = CacheJobs(plane, namespace)
    cache.make(storage={"existingClaim": {"name": "later"}})
    cache.resolve()
    wait_for("the word", lambda: cache.condition()[1] == "ClaimNotFound")
    make_claim(plane, namespace, "later", mode="ReadWriteMany")
    cache.end("fetch", result("fetch"))
    cache.wait_phase("Ready")


def test_verification_comes_when_it_is_due_and_repairs(plane: ControlPlane, namespace: str) -> None:
    cache = CacheJobs(plane, namespace)
    cache.make(storage=storage(plane), verify={"every": "24h"})
    cache.fill()
    wait_for("no job is left", lambda: not cache.jobs())
    # As if a day had passed.
    code, _ = plane.request(
        "PATCH",
        f"/apis/stoker.dev/v1alpha1/namespaces/{namespace}/modelcaches/tiny/status",
        {"status": {"lastVerified": "2026-01-01T00:00:00Z"}},
        kind="application/merge-patch+json",
    )
    assert code == 200
    assert cache.config("verify").full
    assert cache.condition()[0] == "True"  # services use it meanwhile
    cache.end("verify", Termination("DigestMismatch", "model.safetensors"), code=1)
    cache.wait_phase("Degraded")
    assert cache.condition("Verified") == ("False", "DigestMismatch", "model.safetensors")
    assert cache.status["folder"] == FOLDER
    cache.annotate(naming.ANNOTATION_VERIFY, "1")
    cache.end("verify", result("verify", repaired=("model.safetensors",)))
    found = cache.wait_phase("Ready")
    assert found["lastVerified"] > "2026-01-01T00:00:00Z"
    assert cache.condition("Verified")[0] == "True"
    wait_for("it is told", lambda: {"Repaired", "Verified"} <= set(events(plane, namespace)))


def test_each_node_gets_a_job_of_its_own(plane: ControlPlane, namespace: str) -> None:
    pool = {"example.com/pool": namespace}
    for number in range(3):
        add_node(plane, f"{namespace}-n{number}", {**pool, "topology.kubernetes.io/zone": "a"})
    kept = make_volume(plane, "ReadWriteMany", **pool)
    cache = CacheJobs(plane, namespace)
    cache.make(
        storage={"perNode": {"storageClassName": kept}},
        preload={"nodes": {"matchLabels": pool}, "parallel": 2},
    )
    cache.resolve()
    wait_for("two jobs", lambda: len(cache.jobs("fetch")) == 2)
    assert cache.status["nodes"]["shown"] == "0/3"
    for number in range(3):
        cache.end("fetch", result("fetch"), node=f"{namespace}-n{number}")
        count = f"{number + 1}/3"
        wait_for(count, lambda count=count: cache.status["nodes"]["shown"] == count)  # type: ignore[misc]
    found = cache.wait_phase("Ready")
    assert found["folder"] == FOLDER
    label = naming.model_label(FOLDER)

    def labelled() -> bool:
        nodes = plane.get("nodes", "-l", f"{label}=true")["items"]
        return len(nodes) == 3

    wait_for("the scheduler can see it", labelled)
    for number in range(3):
        plane.kubectl("delete", "node", f"{namespace}-n{number}")


def test_a_strangers_objects_are_left_alone(plane: ControlPlane, namespace: str) -> None:
    make_claim(plane, namespace, "tiny-cache", mode="ReadWriteMany")
    before = plane.get("pvc", "tiny-cache", "-n", namespace)["metadata"]
    cache = CacheJobs(plane, namespace)
    cache.make()
    cache.resolve()
    wait_for("the word", lambda: cache.condition()[1] == "NameTaken")
    assert plane.get("pvc", "tiny-cache", "-n", namespace)["metadata"] == before
    assert not cache.jobs("fetch")


def test_what_may_pass_is_tried_again_by_the_job_first(unlucky: CacheJobs) -> None:
    # The Job has made another pod; meanwhile the word of the last one stood.
    unlucky.resolve()
    wait_for("resolved", lambda: unlucky.condition("Resolved")[0] == "True")
