"""What a service is made of, and that it stays that way, against a real API server."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.operator.support import (
    OperatorProcess,
    condition,
    make_claim,
    operator_writes,
    service,
    wait_for,
)

if TYPE_CHECKING:
    from tests.support.controlplane import ControlPlane

pytestmark = pytest.mark.usefixtures("operator")

KINDS = (
    "deployments,services,configmaps,serviceaccounts,roles,rolebindings,"
    "poddisruptionbudgets,networkpolicies,inferencepools"
)
# Kind and number of objects that one service has.
PARTS = {
    "ConfigMap": 1,
    "Deployment": 2,
    "InferencePool": 1,
    "NetworkPolicy": 3,
    "PodDisruptionBudget": 2,
    "Role": 1,
    "RoleBinding": 1,
    "Service": 1,
    "ServiceAccount": 2,
}


def ours(plane: ControlPlane, namespace: str, name: str) -> list[dict[str, Any]]:
    selector = f"stoker.dev/service={name}"
    return list(plane.get(KINDS, "-n", namespace, "-l", selector)["items"])


def parts(plane: ControlPlane, namespace: str, name: str) -> dict[str, int]:
    counted: dict[str, int] = {}
    for item in ours(plane, namespace, name):
        counted[item["kind"]] = counted.get(item["kind"], 0) + 1
    return counted


def make(plane: ControlPlane, namespace: str, name: str = "tiny", **spec: Any) -> None:
    plane.apply(service(name, namespace, **spec))
    wait_for("all parts", lambda: parts(plane, namespace, name) == PARTS)
    # The controllers' share of it, which is told in status: a busy machine takes its time.
    selector = f"stoker.dev/service={name}"
    wait_for("pods", lambda: len(plane.get("pods", "-n", namespace, "-l", selector)["items"]) == 2)


def settle(plane: ControlPlane, namespace: str, seconds: float = 3) -> list[tuple[str, str]]:
    """Wait until nothing was written for a while; the writes so far."""
    seen: list[tuple[str, str]] | None = None
    since = time.monotonic()
    while time.monotonic() - since < seconds:
        writes = operator_writes(plane, namespace)
        if writes != seen:
            seen, since = writes, time.monotonic()
        time.sleep(0.2)
    assert seen is not None
    return seen


def test_a_service_has_all_its_parts_and_owns_them(
    plane: ControlPlane, operator: OperatorProcess, namespace: str
) -> None:
    make(plane, namespace)
    body = plane.get("infer", "tiny", "-n", namespace)
    assert "finalizers" not in body["metadata"]
    for item in ours(plane, namespace, "tiny"):
        (owner,) = item["metadata"]["ownerReferences"]
        assert owner["uid"] == body["metadata"]["uid"]
        assert owner["controller"] is True
    assert not [a for a in body["metadata"].get("annotations", {}) if "kopf" in a]
    assert operator.metric('stoker_services{condition="Ready",status="False"}')


def test_a_settled_service_costs_no_write(
    plane: ControlPlane, operator: OperatorProcess, namespace: str
) -> None:
    make(plane, namespace)
    before = settle(plane, namespace)
    # A change that is none: the watches bring it, the pass finds nothing to do.
    plane.kubectl("annotate", "infer", "tiny", "-n", namespace, "example.com/note=1")
    time.sleep(5)
    assert operator_writes(plane, namespace) == before
    assert operator.metric("stoker_reconcile_bugs_total") == 0


def test_drift_is_healed(plane: ControlPlane, namespace: str) -> None:
    make(plane, namespace)
    settle(plane, namespace, 1)
    plane.kubectl("delete", "service", "tiny", "-n", namespace)
    plane.kubectl(
        *("patch", "role", "tiny-frontend", "-n", namespace, "--type=json"),
        *("-p", '[{"op":"replace","path":"/rules","value":[]}]'),
    )

    def healed() -> bool:
        found = {(i["kind"], i["metadata"]["name"]): i for i in ours(plane, namespace, "tiny")}
        role = found.get(("Role", "tiny-frontend"), {})
        return ("Service", "tiny") in found and bool(role.get("rules"))

    wait_for("the Service is back and the Role has its rules", healed)


def test_a_strangers_object_is_left_alone_until_it_goes(
    plane: ControlPlane, namespace: str
) -> None:
    stranger = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "tiny", "namespace": namespace},
        "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]},
    }
    plane.apply(stranger)
    before = plane.get("service", "tiny", "-n", namespace)
    plane.apply(service("tiny", namespace))

    def taken() -> bool:
        entry = condition(plane, (namespace, "tiny"), "NameTaken")
        return entry is not None and entry["status"] == "True" and "tiny" in entry["message"]

    wait_for("NameTaken", taken)
    assert plane.get("service", "tiny", "-n", namespace) == before
    plane.kubectl("delete", "service", "tiny", "-n", namespace)
    wait_for("all parts", lambda: parts(plane, namespace, "tiny") == PARTS)
    wait_for("NameTaken goes", lambda: not taken())


def test_deletion_removes_everything(plane: ControlPlane, namespace: str) -> None:
    make(plane, namespace)
    plane.kubectl("delete", "infer", "tiny", "-n", namespace, "--wait=true", timeout=20)
    wait_for("nothing is left", lambda: not ours(plane, namespace, "tiny"))
    settle(plane, namespace, 2)
    assert not ours(plane, namespace, "tiny")


def test_a_service_made_anew_under_its_old_name_comes_up(
    plane: ControlPlane, namespace: str
) -> None:
    make(plane, namespace)
    plane.kubectl("delete", "infer", "tiny", "-n", namespace)
    plane.apply(service("tiny", namespace))

    def anew() -> bool:
        uid = plane.get("infer", "tiny", "-n", namespace)["metadata"]["uid"]
        items = ours(plane, namespace, "tiny")
        owners = {item["metadata"]["ownerReferences"][0]["uid"] for item in items}
        return owners == {uid} and parts(plane, namespace, "tiny") == PARTS

    wait_for("all parts belong to the new service", anew)


def test_a_claim_that_comes_later_unblocks_the_service(plane: ControlPlane, namespace: str) -> None:
    plane.apply(service("tiny", namespace, model={"uri": "pvc://later/tiny"}))

    def reason() -> str | None:
        found = plane.get("infer", "tiny", "-n", namespace).get("status", {})
        return next(
            (c["reason"] for c in found.get("conditions", ()) if "Claim" in c["reason"]), None
        )

    wait_for("ClaimNotFound", lambda: reason() == "ClaimNotFound")
    make_claim(plane, namespace, "later")
    wait_for("the claim is found", lambda: reason() is None)


def test_pods_speak_through_conditions(plane: ControlPlane, namespace: str) -> None:
    make(plane, namespace)

    def pods(component: str) -> list[str]:
        selector = f"stoker.dev/component={component},stoker.dev/service=tiny"
        found = plane.get("pods", "-n", namespace, "-l", selector)["items"]
        return [item["metadata"]["name"] for item in found]

    def report(pod: str, **status: Any) -> None:
        patch = json.dumps({"status": status})
        plane.kubectl(
            *("patch", "pod", pod, "-n", namespace, "--subresource=status"),
            *("--type=merge", "-p", patch),
        )

    def ready_reason() -> str:
        return str((condition(plane, (namespace, "tiny"), "Ready") or {}).get("reason"))

    wait_for("pods", lambda: pods("engine") and pods("frontend"))
    (engine,), (frontend,) = pods("engine"), pods("frontend")
    report(frontend, phase="Running", conditions=[{"type": "Ready", "status": "True"}])
    waiting = {"reason": "ImagePullBackOff", "message": "no such image reg/vllm:1"}
    report(
        engine,
        phase="Pending",
        containerStatuses=[
            {
                "name": "engine",
                "image": "reg/vllm:1",
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "state": {"waiting": waiting},
            }
        ],
    )
    wait_for("ImagePullFailed", lambda: ready_reason() == "ImagePullFailed")
    events = plane.get("events", "-n", namespace)["items"]
    assert [e for e in events if e["reason"] == "ImagePullFailed"]
    report(
        engine,
        phase="Running",
        conditions=[{"type": "Ready", "status": "True"}],
        containerStatuses=[
            {
                "name": "engine",
                "image": "reg/vllm:1",
                "imageID": "",
                "ready": True,
                "restartCount": 0,
                "state": {"running": {}},
            }
        ],
    )

    def is_ready() -> bool:
        return (condition(plane, (namespace, "tiny"), "Ready") or {}).get("status") == "True"

    wait_for("Ready", is_ready)


def test_an_object_older_than_its_schema_is_judged_not_feared(
    plane: ControlPlane, namespace: str
) -> None:
    name = "inferenceservices.stoker.dev"
    definition = plane.get("crd", name)
    loose = json.loads(json.dumps(definition))
    version = loose["spec"]["versions"][0]
    version["schema"]["openAPIV3Schema"]["properties"]["spec"] = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
    }
    try:
        plane.kubectl("replace", "-f", "-", stdin=loose)
        stored = service("old", namespace, replicas=5000)
        wait_for(
            "the loose schema holds",
            lambda: (
                plane.try_kubectl("apply", "--server-side", "-f", "-", stdin=stored).returncode == 0
            ),
        )
    finally:
        definition["metadata"].pop("resourceVersion")
        plane.kubectl("replace", "-f", "-", stdin=definition)

    def told() -> bool:
        entry = condition(plane, (namespace, "old"), "Ready")
        return entry is not None and entry["reason"] == "InvalidSpec"

    wait_for("InvalidSpec", told)
    assert not ours(plane, namespace, "old")
    plane.kubectl("delete", "infer", "old", "-n", namespace)


def test_the_log_is_json_with_key_and_reason(operator: OperatorProcess) -> None:
    entries = list(operator.entries())
    assert {"time", "level", "message"} <= set(entries[0])
    assert any("key" in entry and "reason" in entry for entry in entries)
    ours = [entry for entry in entries if entry["logger"].startswith("stoker")]
    assert not [entry for entry in ours if entry["level"] == "error"]
