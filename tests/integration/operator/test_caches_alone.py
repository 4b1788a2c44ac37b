"""Operators that come and go while a cache is filled: what is on its way goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integration.operator.cachejobs import CacheJobs, ProgressPage, make_volume, result
from tests.integration.operator.support import OperatorProcess, least_rights, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.controlplane import ControlPlane


def test_a_restart_at_any_point_costs_nothing(
    plane: ControlPlane, tmp_path: Path, namespace: str
) -> None:
    user = least_rights(plane)
    cache = CacheJobs(plane, namespace)
    with OperatorProcess(plane, tmp_path, name="one", kubeconfig=user):
        cache.make(storage={"pvc": {"storageClassName": make_volume(plane)}})
        pod = cache.pod("resolve")["metadata"]["uid"]
    # The job ends while nobody looks.
    assert cache.pod("resolve")["metadata"]["uid"] == pod
    cache.resolve()
    with OperatorProcess(plane, tmp_path, name="two", kubeconfig=user), ProgressPage() as page:
        running = cache.run("fetch", page)
    with OperatorProcess(plane, tmp_path, name="three", kubeconfig=user) as process:
        wait_for("it leads", process.leads)
        # The same job, and the same pod.
        assert cache.pod("fetch")["metadata"]["uid"] == running
        cache.end("fetch", result("fetch"))
        cache.wait_phase("Ready")
        wait_for("no job is left", lambda: not cache.jobs() and not cache.pods())
        assert process.metric("stoker_reconcile_bugs_total") == 0
    with OperatorProcess(plane, tmp_path, name="four", kubeconfig=user) as process:
        wait_for("it leads", process.leads)
        assert cache.status["phase"] == "Ready"
        assert not cache.jobs()
