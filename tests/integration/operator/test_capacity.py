"""Nodes that do not come, by a real control plane, through restarts of the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.operator.scheduler import PRODUCT, SAID, Scheduler
from tests.integration.operator.support import (
    OperatorProcess,
    add_node,
    condition,
    least_rights,
    service,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.controlplane import ControlPlane

pytestmark = pytest.mark.timeout(300)  # operators start, wait and end

L4, A100 = "NVIDIA-L4", "NVIDIA-A100-SXM4-80GB"
CONFIG: dict[str, Any] = {
    "accelerators": {
        "cpu": {},
        "nvidia-l4": {"resource": "nvidia.com/gpu", "nodeSelector": {PRODUCT: L4}},
        "nvidia-a100-80gb": {"resource": "nvidia.com/gpu", "nodeSelector": {PRODUCT: A100}},
    },
    "nodes": {"waitSeconds": 6, "retrySeconds": 6},
}


@pytest.fixture(autouse=True)
def nodes(plane: ControlPlane) -> Iterator[None]:
    """A node of each type; whether it has room, only the scheduler knows."""
    for product in (L4, A100):
        add_node(plane, product.lower(), {PRODUCT: product})
    yield
    for product in (L4, A100):
        plane.request("DELETE", f"/api/v1/nodes/{product.lower()}")


def running(plane: ControlPlane, folder: Path, name: str) -> OperatorProcess:
    config = {**CONFIG, "lease": {"name": f"capacity-{name}"}}
    return OperatorProcess(plane, folder, name, config=config, kubeconfig=least_rights(plane))


def wanted(namespace: str, *types: str, replicas: int = 1) -> dict[str, Any]:
    return service(
        "tiny",
        namespace,
        accelerator={"types": list(types), "perReplica": 1},
        context={"maxModelLen": 4096},
        replicas=replicas,
    )


def status(plane: ControlPlane, namespace: str) -> dict[str, Any]:
    body = plane.get("infer", "tiny", "-n", namespace)
    return dict(body.get("status") or {})


def attempts(plane: ControlPlane, namespace: str) -> int:
    """Attempts of the one type that brought no node; 0 where the status names none."""
    known = status(plane, namespace).get("capacity") or [{"attempts": 0}]
    return int(known[0]["attempts"])


def test_the_next_type_the_first_again_and_operators_that_come_and_go(
    plane: ControlPlane, tmp_path: Path, namespace: str
) -> None:
    with Scheduler(plane, namespace, {L4: 1}) as scheduler:
        with running(plane, tmp_path, "first"):
            plane.apply(wanted(namespace, "nvidia-a100-80gb", "nvidia-l4"))
            wait_for("a pod waits", lambda: scheduler.products(bound=False) == [A100])
        with running(plane, tmp_path, "second") as second:
            wait_for("the next type answers", lambda: scheduler.products(bound=True) == [L4])
            wait_for(
                "the status says so",
                lambda: status(plane, namespace)["plan"]["accelerator"] == "nvidia-l4",
            )
            assert attempts(plane, namespace) == 1
            wait_for(
                "it is said",
                lambda: (
                    (condition(plane, (namespace, "tiny"), "Schedulable") or {}).get("reason")
                    == "OnOtherAccelerator"
                ),
            )
            events = plane.get("events", "-n", namespace)["items"]
            (event,) = [each for each in events if each["reason"] == "NoNodeCame"]
            assert event["type"] == "Warning"
            assert "No node came for nvidia-a100-80gb" in event["message"]
            assert event["message"].endswith(f"The scheduler said: {SAID}")
            wait_for("it is tried again", lambda: scheduler.products(bound=False) == [A100])
            assert scheduler.products(bound=True) == [L4]
            scheduler.least = 1
            scheduler.room[A100] = 1
            wait_for("it is had at last", lambda: scheduler.products(bound=True) == [A100])
            wait_for("and forgotten", lambda: "capacity" not in status(plane, namespace))
            assert scheduler.least == 1  # somebody answered all the time
            assert status(plane, namespace)["plan"]["accelerator"] == "nvidia-a100-80gb"
            assert second.metric("stoker_reconcile_bugs_total") == 0


def test_replicas_beyond_what_there_is_are_withdrawn_and_asked_for_again(
    plane: ControlPlane, tmp_path: Path, namespace: str
) -> None:
    with (
        Scheduler(plane, namespace, {L4: 1}) as scheduler,
        running(plane, tmp_path, "more") as operator,
    ):
        plane.apply(wanted(namespace, "nvidia-l4", replicas=3))
        wait_for("all are asked for", lambda: scheduler.products(bound=False) == [L4, L4])
        wait_for("what waits in vain is withdrawn", lambda: not scheduler.products(bound=False))
        assert scheduler.products(bound=True) == [L4]
        wait_for("it is said", lambda: attempts(plane, namespace) == 1)
        told = status(plane, namespace)
        assert (told["desiredReplicas"], told["revisions"][0]["wanted"]) == (3, 1)
        (entry,) = told["capacity"]
        assert (entry["accelerator"], entry["granted"], entry["attempts"]) == ("nvidia-l4", 1, 1)
        for kind in ("Schedulable", "Progressing"):
            found = condition(plane, (namespace, "tiny"), kind)
            assert found is not None
            assert (found["status"], found["reason"]) == ("False", "NoNodeCame"), kind
            assert entry["retryAt"] in found["message"]
            assert SAID in found["message"]
        ready = condition(plane, (namespace, "tiny"), "Ready")
        assert ready is None or ready["reason"] in {"SomeReplicasReady", "FrontendNotReady"}
        wait_for("they are asked for again", lambda: scheduler.products(bound=False) == [L4, L4])
        scheduler.room[L4] = 3
        wait_for("they come", lambda: scheduler.products(bound=True) == [L4, L4, L4])
        wait_for("nothing is left of it", lambda: "capacity" not in status(plane, namespace))
        assert operator.metric("stoker_reconcile_bugs_total") == 0
