"""Somebody else's hand on the number: `kubectl scale`, and a HorizontalPodAutoscaler.

KEDA scales through a HorizontalPodAutoscaler of its own making, so what holds here holds for it.
"""

from __future__ import annotations

from typing import Any

import pytest

from e2e.stack import Stack

NAMESPACE = "demo"
NAME = "tiny"


def autoscaler() -> dict[str, Any]:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "stoker.dev/v1alpha1",
                "kind": "InferenceService",
                "name": NAME,
            },
            # The floor needs no metric, so this shows the whole way with what every cluster has.
            "minReplicas": 2,
            "maxReplicas": 2,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": 80},
                    },
                }
            ],
        },
    }


@pytest.mark.timeout(300)
def test_kubectl_scale_and_an_autoscaler_move_the_replicas(stack: Stack, fixed: str) -> None:
    del fixed
    stack.apply(autoscaler())
    try:

        def wanted() -> int | None:
            found = stack.get("inferenceservices.stoker.dev", NAME, NAMESPACE) or {}
            value: int | None = found.get("status", {}).get("desiredReplicas")
            return value

        stack.wait_for(lambda: wanted() == 2, "the autoscaler's floor to be obeyed", 60)
        found = stack.get("horizontalpodautoscaler", NAME, NAMESPACE) or {}
        conditions = {c["type"]: c for c in found["status"]["conditions"]}
        assert conditions["AbleToScale"]["status"] == "True", conditions
    finally:
        stack.kubectl("delete", "horizontalpodautoscaler", NAME, "-n", NAMESPACE)
    stack.kubectl("scale", "infer", NAME, "-n", NAMESPACE, "--replicas=1")
    stack.wait_ready_engines(NAME, NAMESPACE, 1)
