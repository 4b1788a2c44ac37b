"""Operators that come and go while a cache is filled: what is on its way goes on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.integration.operator.cachejobs import CacheJobs, ProgressPage, make_volume, result
from tests.integration.operator.support import (
    OperatorProcess,
    add_node,
    least_rights,
    service,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.controlplane import ControlPlane
    from tests.support.nursery import Nursery


@pytest.fixture
def namespace(bare_namespace: str) -> str:
    """Without a claim: caches make their own."""
    return bare_namespace


@pytest.fixture
def start(plane: ControlPlane, nursery: Nursery, tmp_path: Path) -> Callable[..., OperatorProcess]:
    """An operator, once its block is entered."""
    rights = least_rights(plane)
    return partial(OperatorProcess, plane, tmp_path, kubeconfig=rights, nursery=nursery)


def test_a_restart_at_any_point_costs_nothing(
    plane: ControlPlane, start: Callable[..., OperatorProcess], namespace: str
) -> None:
    cache = CacheJobs(plane, namespace)
    with start(name="one"):
        cache.make(storage={"pvc": {"storageClassName": make_volume(plane)}})
        pod = cache.pod("resolve")["metadata"]["uid"]
    # The job ends while nobody looks.
    assert cache.pod("resolve")["metadata"]["uid"] == pod
    cache.resolve()
    with start(name="two"), ProgressPage() as page:
        running = cache.run("fetch", page)
    with start(name="three") as process:
        wait_for("it leads", process.leads)
        # The same job, and the same pod.
        assert cache.pod("fetch")["metadata"]["uid"] == running
        cache.end("fetch", result("fetch"))
        cache.wait_phase("Ready")
        wait_for("no job is left", lambda: not cache.jobs() and not cache.pods())
        assert process.metric("stoker_reconcile_bugs_total") == 0
    with start(name="four") as process:
        wait_for("it leads", process.leads)
        assert cache.status["phase"] == "Ready"
        assert not cache.jobs()


def test_a_lost_node_takes_its_copy_along_and_comes_back_empty(
    plane: ControlPlane, start: Callable[..., OperatorProcess], namespace: str
) -> None:
    pool = {"example.com/pool": namespace}
    lost, other = f"{namespace}-lost", f"{namespace}-other"
    for node in (lost, other):
        add_node(plane, node, pool)
    cache = CacheJobs(plane, namespace)

    def ready(shown: str) -> bool:
        return cache.condition()[0] == "True" and cache.status["nodes"]["shown"] == shown

    # Nodes are listed once a minute, and at once by an operator that starts.
    with start(name="one"):
        kept = make_volume(plane, "ReadWriteMany", **pool)
        storage = {"perNode": {"storageClassName": kept}}
        cache.make(storage=storage, preload={"nodes": {"matchLabels": pool}})
        cache.resolve()
        for node in (lost, other):
            cache.end("fetch", result("fetch"), node=node)
        wait_for("both nodes have it", lambda: ready("2/2"))
        held = cache.status
    plane.kubectl("delete", "node", lost)
    with start(name="two"):
        wait_for("the lost one is not waited for", lambda: ready("1/1"))
        assert cache.wait_phase("Ready")["digest"] == held["digest"]
        assert [each["name"] for each in cache.status["nodes"]["list"]] == [other]
        assert not cache.jobs(), "the other node's copy is left as it is"
    add_node(plane, lost, pool)  # a new machine under the old name: nothing is on it
    with start(name="three"):
        cache.pod("fetch", lost)
        assert [
            job["metadata"]["annotations"]["stoker.dev/node"] for job in cache.jobs("fetch")
        ] == [lost]
        wait_for("services use the other node's meanwhile", lambda: ready("1/2"))
        cache.end("fetch", result("fetch"), node=lost)
        wait_for("both nodes have it again", lambda: ready("2/2"))
    for node in (lost, other):
        plane.kubectl("delete", "node", node)


def test_lists_are_read_by_nobody_where_the_administrator_says_so(
    plane: ControlPlane, start: Callable[..., OperatorProcess], namespace: str
) -> None:
    plane.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "models",
                "namespace": namespace,
                "labels": {"stoker.dev/preload": "true"},
            },
            "data": {"preload-models": "- {name: listed, uri: hf://org/listed}\n"},
        }
    )

    def caches() -> dict[str, str]:
        items = plane.get("mc", "-n", namespace)["items"]
        return {item["metadata"]["name"]: item["spec"]["model"]["uri"] for item in items}

    off = {"models": {"preload": False}}
    with start(name="off", config=off) as process:
        wait_for("it leads", process.leads)
        plane.apply(service("chat", namespace, model={"uri": "hf://org/tiny"}))
        # A service's own model comes as ever.
        wait_for("its cache", lambda: list(caches().values()) == ["hf://org/tiny"])
        (own,) = caches()
        job = CacheJobs(plane, namespace, own)
        job.resolve()
        wait_for("it goes on", lambda: job.condition("Resolved")[0] == "True")
        assert set(caches()) == {own}
    with start(name="on"):
        wait_for("the list is read", lambda: set(caches()) == {own, "listed"})
