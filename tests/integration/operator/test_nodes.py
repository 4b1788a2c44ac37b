"""Nodes of a real API server order the choices of plans, and nothing else follows from them."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from stoker.clock import SystemClock
from stoker.cluster.claims import Claim, Claims
from stoker.cluster.client import connect
from stoker.cluster.nodes import PAGE, Nodes
from stoker.model.platform import AcceleratorPlatform
from stoker.model.topology import Requirement, Topology
from tests.integration.operator.support import (
    OperatorProcess,
    add_node,
    condition,
    least_rights,
    make_claim,
    operator_writes,
    service,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.controlplane import ControlPlane

PRODUCT = "nvidia.com/gpu.product"
ZONE = "topology.kubernetes.io/zone"
L4, A100 = "NVIDIA-L4", "NVIDIA-A100-SXM4-80GB"
TYPES = ["nvidia-l4", "nvidia-a100-80gb"]
CONFIG: dict[str, Any] = {
    "accelerators": {
        "cpu": {},
        "nvidia-l4": {"resource": "nvidia.com/gpu", "nodeSelector": {PRODUCT: L4}},
        "nvidia-a100-80gb": {"resource": "nvidia.com/gpu", "nodeSelector": {PRODUCT: A100}},
    }
}


@pytest.fixture
def make_node(plane: ControlPlane) -> Iterator[Callable[..., None]]:
    """Makes Nodes that say what a kubelet and its device plugin would; they go with the test."""
    made: list[str] = []

    def make(name: str, product: str, zone: str = "z1", gpus: int = 8, **labels: str) -> None:
        add_node(plane, name, {PRODUCT: product, ZONE: zone, **labels}, gpus)
        made.append(name)

    yield make
    for name in made:
        plane.request("DELETE", f"/api/v1/nodes/{name}")


def wanted(namespace: str, *types: str) -> dict[str, Any]:
    return service(
        "tiny",
        namespace,
        accelerator={"types": list(types or TYPES), "perReplica": 1},
        context={"maxModelLen": 4096},
    )


def running(
    plane: ControlPlane, folder: Path, name: str, kubeconfig: Path | None = None
) -> OperatorProcess:
    config = {**CONFIG, "lease": {"name": name}}
    rights = kubeconfig or least_rights(plane)
    return OperatorProcess(plane, folder, name, config=config, kubeconfig=rights)


def engine(plane: ControlPlane, namespace: str) -> dict[str, Any] | None:
    selector = "stoker.dev/component=engine,stoker.dev/service=tiny"
    found = plane.get("deployments", "-n", namespace, "-l", selector)["items"]
    return dict(found[0]) if found else None


def planned(plane: ControlPlane, namespace: str, name: str = "tiny") -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        body = plane.get("infer", name, "-n", namespace)
        found: dict[str, Any] | None = body.get("status", {}).get("plan")
        return found

    return wait_for("its plan", look)


def test_the_order_follows_the_nodes_and_a_plan_outlives_them(
    plane: ControlPlane, tmp_path: Path, namespace: str, make_node: Callable[..., None]
) -> None:
    make_node("a100-1", A100, **{"nvidia.com/cuda.driver.major": "470"})
    with running(plane, tmp_path, "first") as first:
        plane.apply(wanted(namespace))
        plan = planned(plane, namespace)
        assert plan["accelerator"] == "nvidia-a100-80gb"
        assert json.loads(plan["inputs"]["nodes"]) == {"nvidia-l4": 0, "nvidia-a100-80gb": 8}
        old = wait_for("its Deployment", lambda: engine(plane, namespace))
        spec = old["spec"]["template"]["spec"]
        assert spec["nodeSelector"] == {PRODUCT: A100}
        told = condition(plane, (namespace, "tiny"), "NodesUnsuitable")
        assert told is not None
        assert told["reason"] == "DriverTooOld"
        assert "have NVIDIA driver 470" in told["message"]
        assert first.metric("stoker_reconcile_bugs_total") == 0
    plane.request("DELETE", "/api/v1/nodes/a100-1")
    make_node("l4-1", L4)
    with running(plane, tmp_path, "second") as second:
        wait_for("it leads", second.leads)
        wait_for("nothing moves", lambda: quiet(plane, namespace))
        after = planned(plane, namespace)
        assert {**after, "residual": None} == {**plan, "residual": None}
        kept = engine(plane, namespace)
        assert kept is not None
        assert kept["metadata"]["generation"] == old["metadata"]["generation"]
        # What is asked anew is planned with what there is now.
        changed = wanted(namespace)
        changed["spec"]["context"]["maxModelLen"] = 2048
        plane.apply(changed)
        wait_for(
            "the new plan", lambda: planned(plane, namespace)["accelerator"] == "nvidia-l4" or None
        )


def test_a_type_without_a_node_gets_its_deployment(
    plane: ControlPlane, tmp_path: Path, namespace: str, make_node: Callable[..., None]
) -> None:
    make_node("a100-2", A100)
    with running(plane, tmp_path, "empty"):
        plane.apply(wanted(namespace, "nvidia-l4"))
        found = wait_for("its Deployment", lambda: engine(plane, namespace))
        assert found["spec"]["template"]["spec"]["nodeSelector"] == {PRODUCT: L4}
        assert found["spec"]["replicas"] == 1
        assert json.loads(planned(plane, namespace)["inputs"]["nodes"]) == {"nvidia-l4": 0}
        assert condition(plane, (namespace, "tiny"), "NodesUnsuitable") is None


def test_where_the_volume_is_decides_among_nodes_and_is_told(
    plane: ControlPlane, tmp_path: Path, make_node: Callable[..., None]
) -> None:
    make_node("l4-z2", L4, "z2")
    make_node("a100-z1", A100, "z1")
    for name, claim in (("bound", make_bound), ("waiting", make_waiting), ("alone", make_bound)):
        claim(plane, plane.namespace(f"volume-{name}", enforce="restricted"))
    with running(plane, tmp_path, "places"):
        for namespace in ("volume-bound", "volume-waiting"):
            plane.apply(wanted(namespace))
            plan = planned(plane, namespace)
            assert plan["accelerator"] == "nvidia-a100-80gb", namespace
            assert json.loads(plan["inputs"]["nodes"])["nvidia-l4"] == -1
            assert condition(plane, (namespace, "tiny"), "NodesUnsuitable") is None
        plane.apply(wanted("volume-alone", "nvidia-l4"))
        wait_for("its Deployment", lambda: engine(plane, "volume-alone"))
        told = wait_for(
            "the volume is named",
            lambda: condition(plane, ("volume-alone", "tiny"), "NodesUnsuitable"),
        )
        assert (told["status"], told["reason"]) == ("True", "VolumeNotOnNodes")
        assert "claim models can be reached from zone z1" in told["message"]
        events = plane.get("events", "-n", "volume-alone")["items"]
        assert [each["type"] for each in events if each["reason"] == "VolumeNotOnNodes"] == [
            "Warning"
        ]


def test_a_volume_of_one_node_at_a_time_is_where_pods_have_it(
    plane: ControlPlane, tmp_path: Path, make_node: Callable[..., None]
) -> None:
    make_node("a100-4", A100)
    make_node("l4-4", L4)
    namespace = plane.namespace("one-node", enforce="restricted")
    make_claim(plane, namespace, mode="ReadWriteOnce")
    selector = "stoker.dev/component=engine,stoker.dev/service=tiny"
    with running(plane, tmp_path, "one-node"):
        plane.apply(wanted(namespace, "nvidia-l4"))
        pods = wait_for(
            "its engine's pod",
            lambda: plane.get("pods", "-n", namespace, "-l", selector)["items"],
        )
        pod = pods[0]["metadata"]["name"]
        # The scheduler's part.
        status, answer = plane.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/pods/{pod}/binding",
            {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": pod},
                "target": {"apiVersion": "v1", "kind": "Node", "name": "l4-4"},
            },
        )
        assert status == 201, answer
        wait_for(
            "the operator knows where it is",
            lambda: (
                (condition(plane, (namespace, "tiny"), "Schedulable") or {}).get("reason")
                == "Scheduled"
            ),
        )
        other = wanted(namespace, "nvidia-a100-80gb", "nvidia-l4")
        other["metadata"]["name"] = "other"
        plane.apply(other)
        plan = planned(plane, namespace, "other")
        assert plan["accelerator"] == "nvidia-l4"
        assert json.loads(plan["inputs"]["nodes"]) == {"nvidia-a100-80gb": -1, "nvidia-l4": 8}


def make_bound(plane: ControlPlane, namespace: str) -> None:
    make_claim(plane, namespace, zone="z1")


def make_waiting(plane: ControlPlane, namespace: str) -> None:
    """A claim whose volume is made in z1 when its first pod has a node."""
    allowed = [{"matchLabelExpressions": [{"key": ZONE, "values": ["z1"]}]}]
    plane.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "zonal"},
            "provisioner": "example.com/none",
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowedTopologies": allowed,
        }
    )
    plane.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "models", "namespace": namespace},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "zonal",
                "resources": {"requests": {"storage": "1Mi"}},
            },
        }
    )


def test_without_the_right_everything_is_as_before_and_the_log_says_it_once(
    plane: ControlPlane, tmp_path: Path, namespace: str, make_node: Callable[..., None]
) -> None:
    make_node("a100-3", A100)
    make_bound(plane, plane.namespace("refused", enforce="restricted"))
    rights = least_rights(plane, nodes=False)
    with running(plane, tmp_path, "refused", rights) as process:
        for each in (namespace, "refused"):
            plane.apply(wanted(each))
            plan = planned(plane, each)
            assert plan["accelerator"] == "nvidia-l4"
            assert "nodes" not in plan["inputs"]
        said = [each["reason"] for each in process.entries() if "not read" in each["message"]]
        # Caches that other tests left have classes of claims, which are not read either.
        assert "NodesNotRead" in said
        assert len(said) == len(set(said))
        assert process.metric("stoker_reconcile_bugs_total") == 0


async def test_a_claim_made_anew_is_read_at_once_by_who_means_the_new_one(
    plane: ControlPlane, namespace: str
) -> None:
    client = await connect(plane.kubeconfig, lambda *_: None)
    claims = Claims(client, SystemClock())

    def bound() -> str | None:
        body = plane.get("pvc", "models", "-n", namespace)
        return body["metadata"]["uid"] if body["status"]["phase"] == "Bound" else None

    try:
        make_claim(plane, namespace)
        first = wait_for("it is bound", bound)
        assert (await claims.claim(namespace, "models")).uid == first
        plane.kubectl("delete", "pvc", "models", "-n", namespace)
        plane.kubectl("delete", "pv", f"{namespace}-models")
        make_claim(plane, namespace)
        second = wait_for("the new one is bound", bound)
        assert first != second
        assert (await claims.claim(namespace, "models")).uid == first, "asked for once a minute"
        assert (await claims.claim(namespace, "models", first)).uid == first
        assert (await claims.claim(namespace, "models", second)).uid == second
        assert (await claims.claim(namespace, "models")).uid == second
    finally:
        await client.close()


async def test_volumes_that_are_refused_are_everywhere_and_not_asked_for_again(
    plane: ControlPlane, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []
    rights = least_rights(plane, nodes=False)
    client = await connect(rights, lambda verb, code, _: asked.append(f"{verb} {code}"))
    claims = Claims(client, SystemClock())
    try:
        with caplog.at_level("INFO"):
            claim = await claims.claim(namespace, "models")
            assert claim.volume is not None
            for _ in range(3):
                assert await claims.place("models", claim) is None
            waiting = Claim("Pending", "uid", storage_class="zonal")
            assert await claims.place("models", waiting) is None
        assert asked == ["GET 200", "GET 403", "GET 403"]
        assert [record.reason for record in caplog.records] == ["VolumesNotRead"] * 2  # type: ignore[attr-defined]
    finally:
        await client.close()


async def test_lists_come_in_pages_and_only_news_are_news(
    plane: ControlPlane, make_node: Callable[..., None]
) -> None:
    types = {
        "nvidia-l4": AcceleratorPlatform("nvidia-l4", "nvidia.com/gpu", {PRODUCT: L4}),
        "nvidia-a100": AcceleratorPlatform("nvidia-a100", "nvidia.com/gpu", {PRODUCT: A100}),
    }
    for number in range(PAGE + 5):
        make_node(f"many-{number}", L4, rack=f"r{number % 3}")
    asked: list[str] = []
    client = await connect(plane.kubeconfig, lambda verb, code, _: asked.append(f"{verb} {code}"))
    nodes = Nodes(client, types)
    try:
        assert await nodes.inventory(None) is None
        assert await nodes.refresh()
        assert asked == ["GET 200", "GET 200"]
        found = await nodes.inventory(None)
        assert found is not None
        assert found.stock("nvidia-l4").nodes == PAGE + 5
        assert nodes.pause_s == 60

        heartbeat = [{"type": "Ready", "status": "True", "lastHeartbeatTime": now()}]
        patch = {"status": {"conditions": heartbeat, "images": [{"names": ["x:1"]}]}}
        status, _ = plane.request(
            "PATCH",
            "/api/v1/nodes/many-0/status",
            patch,
            kind="application/strategic-merge-patch+json",
        )
        assert status == 200
        assert not await nodes.refresh()
        assert await nodes.inventory(None) is found  # not even counted anew
        make_node("many-more", L4)
        assert not await nodes.refresh()
        make_node("another", A100)
        assert await nodes.refresh()
        after = await nodes.inventory(None)
        assert after is not None
        assert after.stock("nvidia-a100").nodes == 1

        # A label that volumes are rarely bound by is kept from the first time that one is.
        rack = Topology(((Requirement("rack", "In", ("r1",)),),), "models")
        here = await nodes.inventory(rack)
        assert here is not None
        assert here.stock("nvidia-l4").nodes == (PAGE + 5) // 3
        asked.clear()
        assert await nodes.inventory(rack) is here
        assert asked == []
    finally:
        await client.close()


async def test_who_asks_while_a_list_is_on_its_way_hears_of_the_same_labels(
    plane: ControlPlane, make_node: Callable[..., None]
) -> None:
    make_node("labelled", L4, rack="r1")
    asked: list[str] = []
    client = await connect(plane.kubeconfig, lambda verb, code, _: asked.append(f"{verb} {code}"))
    nodes = Nodes(client, {})
    try:
        await nodes.refresh()
        asked.clear()
        rack = frozenset({"rack"})
        found = await asyncio.gather(*(nodes.reaching(None, rack) for _ in range(3)))
        for seen in found:
            assert seen is not None
            assert [node.labels["rack"] for node in seen if node.name == "labelled"] == ["r1"]
        assert asked == ["GET 200"], "one list serves all of them"
        make_node("late", L4)
        asked.clear()
        late = await asyncio.gather(*(nodes.named("late") for _ in range(3)))
        assert [node.name for node in late if node is not None] == ["late"] * 3
        assert asked == ["GET 200"]
    finally:
        await client.close()


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def quiet(plane: ControlPlane, namespace: str) -> bool:
    before = operator_writes(plane, namespace)
    time.sleep(3)
    return operator_writes(plane, namespace) == before
