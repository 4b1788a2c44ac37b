"""How operators begin, take over and end, with real signals and a real Lease."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.integration.operator.support import (
    OPERATOR_NAMESPACE,
    OperatorProcess,
    operator_writes,
    service,
    wait_for,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.controlplane import ControlPlane


def deployments(plane: ControlPlane, namespace: str) -> int:
    return len(plane.get("deployments", "-n", namespace)["items"])


def test_a_killed_leader_is_replaced_and_a_frozen_one_wakes_harmless(
    plane: ControlPlane, tmp_path: Path, namespace: str
) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(OperatorProcess(plane, tmp_path, "first"))
        wait_for("the first leads", first.leads)
        second = stack.enter_context(OperatorProcess(plane, tmp_path, "second"))
        assert not second.leads()

        first.signal(signal.SIGKILL)
        plane.apply(service("tiny", namespace))
        wait_for("the second took over", lambda: deployments(plane, namespace) == 2)

        third = stack.enter_context(OperatorProcess(plane, tmp_path, "third"))
        second.signal(signal.SIGSTOP)
        frozen = time.monotonic()
        wait_for("the third took over", third.leads)
        plane.kubectl("delete", "service", "tiny", "-n", namespace)
        wait_for("the third heals", lambda: service_exists(plane, namespace))
        time.sleep(max(0.0, 30 - (time.monotonic() - frozen)))
        before = operator_writes(plane, namespace)
        assert second.process is not None
        second.signal(signal.SIGCONT)
        assert second.process.wait(30) == 1  # lost the Lease, ended; the kubelet starts it again
        time.sleep(1)
        assert operator_writes(plane, namespace) == before
        assert "LeadershipLost" in second.log()


def service_exists(plane: ControlPlane, namespace: str) -> bool:
    return plane.try_kubectl("get", "service", "tiny", "-n", namespace).returncode == 0


def test_a_clean_stop_gives_the_lease_back_at_once(plane: ControlPlane, tmp_path: Path) -> None:
    with (
        OperatorProcess(plane, tmp_path, "leaving") as leaving,
    ):
        wait_for("it leads", leaving.leads)
        with OperatorProcess(plane, tmp_path, "staying") as staying:
            assert leaving.stop() == 0
            # Sooner than the Lease would have run out by itself.
            wait_for("the other leads", staying.leads, 12)
            lease = plane.get("lease", "stoker-operator", "-n", OPERATOR_NAMESPACE)
            assert lease["spec"]["holderIdentity"].startswith("staying")


def test_a_hint_to_a_standby_reaches_the_leader(
    plane: ControlPlane, tmp_path: Path, namespace: str
) -> None:
    with OperatorProcess(plane, tmp_path, "leader") as leader:
        wait_for("it leads", leader.leads)
        plane.apply(service("tiny", namespace, scaling={"minReplicas": 0, "maxReplicas": 1}))
        with OperatorProcess(plane, tmp_path, "standby") as standby:
            hint = f"/notify/{namespace}/tiny"
            # Only the leader samples a service, so only it can take the hint.
            wait_for("the leader takes it", lambda: leader.fetch(hint, "POST")[0] == 202)
            wait_for("the standby passes it on", lambda: standby.fetch(hint, "POST")[0] == 202)
            assert not standby.leads()
            assert standby.fetch(f"/notify/{namespace}/other", "POST")[0] == 404


def test_nothing_waits_for_an_operator_that_is_gone(
    plane: ControlPlane, tmp_path: Path, namespace: str
) -> None:
    with OperatorProcess(plane, tmp_path, "gone") as process:
        wait_for("it leads", process.leads)
        plane.apply(service("tiny", namespace))
        wait_for("Deployments", lambda: deployments(plane, namespace) == 2)
    plane.kubectl("delete", "namespace", namespace, "--wait=true", "--timeout=60s", timeout=70)
    assert plane.try_kubectl("get", "namespace", namespace).returncode != 0


def test_kinds_that_are_missing_are_named_and_waited_for(
    plane: ControlPlane, tmp_path: Path
) -> None:
    name = "inferencepools.inference.networking.k8s.io"
    definition = plane.get("crd", name)
    plane.kubectl("delete", "crd", name, "--wait=true")
    process = OperatorProcess(plane, tmp_path, "early")
    try:
        process.spawn()
        wait_for("it says what is missing", lambda: "inferencepools" in process.log())
        assert process.fetch("/readyz")[0] == 503
        for field in ("resourceVersion", "uid"):
            definition["metadata"].pop(field)
        definition.pop("status")
        plane.kubectl("create", "-f", "-", stdin=definition)
        wait_for("it is ready", process.is_ready)
    finally:
        process.stop()


def test_a_bad_file_is_refused_with_field_and_remedy(plane: ControlPlane, tmp_path: Path) -> None:
    process = OperatorProcess(plane, tmp_path, "bad", config={"defaultAccelerator": "h100"})
    process.spawn()
    assert process.process is not None
    assert process.process.wait(20) == 2
    assert "defaultAccelerator: 'h100' is not in the accelerator catalogue" in process.log()
