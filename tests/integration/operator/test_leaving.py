"""Who goes when there are to be fewer, and what is said of another hand on the number."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from stoker import naming
from stoker.cluster.apply import Applier
from stoker.cluster.client import connect_as_user
from stoker.cluster.store import Store
from stoker.model.observed import Key, ObservedService
from stoker.model.plan import DeletionCost
from stoker.naming import Component
from tests.integration.operator.pods import Engine, Frontend, make_pod_ready, make_ready
from tests.integration.operator.support import (
    condition,
    least_rights,
    operator_writes,
    service,
    wait_for,
)

if TYPE_CHECKING:
    from tests.integration.operator.support import OperatorProcess
    from tests.support.controlplane import ControlPlane

pytestmark = pytest.mark.usefixtures("operator")

ENGINES = "stoker.dev/component=engine,stoker.dev/service=tiny"


def engines(plane: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    """Engine pods that stay, by name."""
    found = plane.get("pods", "-n", namespace, "-l", ENGINES)["items"]
    return [each for each in found if "deletionTimestamp" not in each["metadata"]]


def deployment(plane: ControlPlane, namespace: str) -> dict[str, Any]:
    (found,) = plane.get("deployments", "-n", namespace, "-l", ENGINES)["items"]
    return dict(found)


def replicas(plane: ControlPlane, namespace: str) -> int:
    return int(deployment(plane, namespace)["spec"]["replicas"])


def names(pods: list[dict[str, Any]]) -> list[str]:
    return [each["metadata"]["name"] for each in pods]


def test_the_busy_replica_stays_and_costs_are_there_before_the_lower_number(
    plane: ControlPlane, operator: OperatorProcess, namespace: str
) -> None:
    scaling = {"minReplicas": 3, "maxReplicas": 3}
    with ExitStack() as pages:
        frontend = pages.enter_context(Frontend())
        plane.apply(service("tiny", namespace, scaling=scaling))
        make_ready(plane, namespace, "tiny", Component.FRONTEND, frontend)
        wait_for("three engine pods", lambda: len(engines(plane, namespace)) == 3)
        busy = dict(zip(names(engines(plane, namespace)), (1, 7, 2), strict=True))
        replicas = []
        for name, running in busy.items():
            engine = pages.enter_context(Engine())
            engine.running = running
            replicas.append(engine)
            make_pod_ready(plane, namespace, name, engine.address)

        def followed() -> bool:
            found = plane.get("infer", "tiny", "-n", namespace)["status"]
            entry = condition(plane, (namespace, "tiny"), "ScalingActive") or {}
            return bool(found.get("readyReplicas") == 3 and entry["reason"] == "FollowsQueue")

        wait_for("the load is followed", followed)
        wait_for("a look at all of them", lambda: min(each.asked for each in replicas) > 2)
        before = len(operator_writes(plane, namespace))
        assert not [uri for _, uri in operator_writes(plane, namespace) if "/pods/" in uri]
        plane.apply(service("tiny", namespace, scaling={"minReplicas": 1, "maxReplicas": 1}))
        wait_for("one replica is left", lambda: len(engines(plane, namespace)) == 1)
        (left,) = engines(plane, namespace)
        (most,) = [name for name, running in busy.items() if running == 7]
        assert left["metadata"]["name"] == most
        assert left["metadata"]["annotations"][naming.ANNOTATION_DELETION_COST] == "3"

        written = [uri for _, uri in operator_writes(plane, namespace)[before:]]
        pods = [place for place, uri in enumerate(written) if "/pods/" in uri]
        lowered = next(
            place
            for place, uri in enumerate(written)
            if "-engine-" in uri and "/deployments/" in uri
        )
        assert len(pods) == 3
        assert max(pods) < lowered
        assert operator.metric("stoker_reconcile_bugs_total") == 0


async def test_a_pod_that_cannot_be_written_keeps_nobody_from_anything(
    plane: ControlPlane, namespace: str
) -> None:
    plane.apply(service("tiny", namespace, replicas=1))
    (pod,) = wait_for("an engine pod", lambda: engines(plane, namespace))
    name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
    owner = ObservedService(Key(namespace, "tiny"), "u", 1, "1", None, None, {}, {}, deleting=False)
    for rights, costs, written in (
        (
            least_rights(plane),
            [DeletionCost("gone", uid, 1), DeletionCost(name, "successor", 2)],
            0,
        ),
        (plane.user("nobody"), [DeletionCost(name, uid, 3)], 0),
        (least_rights(plane), [DeletionCost("gone", uid, 1), DeletionCost(name, uid, 4)], 1),
    ):
        client, _ = await connect_as_user(rights, None)
        try:
            assert await Applier(client, Store()).price(owner, costs) == written
        finally:
            await client.close()
        (now,) = engines(plane, namespace)
        before = pod["metadata"].get("annotations", {})
        cost = {naming.ANNOTATION_DELETION_COST: "4"} if written else {}
        assert now["metadata"].get("annotations", {}) == {**before, **cost}
        assert now["metadata"]["labels"] == pod["metadata"]["labels"]
        assert now["spec"] == pod["spec"]


def test_another_hand_on_the_number_is_put_back_and_told(
    plane: ControlPlane, namespace: str
) -> None:
    plane.apply(service("tiny", namespace, scaling={"minReplicas": 2, "maxReplicas": 4}))
    wait_for("two engine pods", lambda: len(engines(plane, namespace)) == 2)
    name = deployment(plane, namespace)["metadata"]["name"]

    def events() -> list[dict[str, Any]]:
        found = plane.get("events", "-n", namespace)["items"]
        return [each for each in found if each["reason"] == "ScaledByOthers"]

    def fights() -> dict[str, Any] | None:
        return condition(plane, (namespace, "tiny"), "ScaledByOthers")

    def scale(number: int) -> None:
        plane.kubectl("scale", "deployment", name, "-n", namespace, f"--replicas={number}")
        wait_for("it is put back", lambda: replicas(plane, namespace) == 2)

    scale(5)
    (event,) = wait_for("the Event", events)
    assert event["type"] == "Warning"
    assert f"Deployment {name} were changed from 2 to 5 by kubectl" in event["message"]
    assert "remove spec.scaling" in event["message"]
    assert fights() is None
    scale(1)
    wait_for("another Event", lambda: len(events()) == 2)
    scale(5)
    found = wait_for("the condition", fights)
    assert found["status"] == "True"
    assert name in found["message"]
    assert "by kubectl" in found["message"]


def test_an_autoscaler_of_the_deployment_is_called_one(plane: ControlPlane, namespace: str) -> None:
    plane.apply(service("tiny", namespace, scaling={"minReplicas": 1, "maxReplicas": 4}))
    wait_for("an engine pod", lambda: len(engines(plane, namespace)) == 1)
    resource = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    plane.apply(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "other", "namespace": namespace},
            "spec": {
                "scaleTargetRef": {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": deployment(plane, namespace)["metadata"]["name"],
                },
                # Its floor needs no metric.
                "minReplicas": 3,
                "maxReplicas": 3,
                "metrics": [{"type": "Resource", "resource": resource}],
            },
        }
    )

    def said() -> list[str]:
        found = plane.get("events", "-n", namespace)["items"]
        return [each["message"] for each in found if each["reason"] == "ScaledByOthers"]

    messages = wait_for("the Event", said)
    plane.kubectl("delete", "horizontalpodautoscaler", "other", "-n", namespace)
    assert "from 1 to 3 by a HorizontalPodAutoscaler (kube-controller-manager)" in messages[0]
