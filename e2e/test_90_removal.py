"""Deleting removes everything and never hangs, also while the operator is gone."""

from __future__ import annotations

import json

import pytest

from e2e.stack import OPERATOR_NAMESPACE, Stack, example

NAMESPACE = "leaving"
KINDS = (
    "deployments,services,configmaps,serviceaccounts,roles,rolebindings,poddisruptionbudgets,"
    "networkpolicies,inferencepools.inference.networking.k8s.io,pods"
)


def children(stack: Stack, service: str) -> list[str]:
    text = stack.kubectl(
        "get", KINDS, "-n", NAMESPACE, "-l", f"stoker.dev/service={service}", "-o", "name"
    )
    return text.split()


@pytest.mark.timeout(480)
def test_deletion(stack: Stack) -> None:
    stack.prepare_namespace(NAMESPACE)
    # Kubernetes looks at an ending namespace again after half of its pods' longest grace period,
    # however soon the pods have gone: a short hold keeps this test short.
    brief = {"holdTimeout": "20s"}
    stack.apply(example("going", NAMESPACE, frontend=brief))
    stack.apply(example("staying", NAMESPACE, frontend=brief, scaling=None, replicas=0))
    stack.wait_for(lambda: len(children(stack, "going")) >= 10, "the children to exist", 60)
    found = json.loads(stack.kubectl("get", "infer", "going", "-n", NAMESPACE, "-o", "json"))
    assert "finalizers" not in found["metadata"]

    stack.kubectl("delete", "infer", "going", "-n", NAMESPACE, "--timeout=20s")
    stack.wait_for(lambda: not children(stack, "going"), "the children to go", 90)

    # The namespace goes although no operator is there to help.
    stack.kubectl("scale", "deployment", "-n", OPERATOR_NAMESPACE, "--all", "--replicas=0")
    try:
        stack.wait_for(
            lambda: not stack.list("pods", OPERATOR_NAMESPACE), "the operator to be gone", 60
        )
        stack.remove_namespace(NAMESPACE, seconds=200)
    finally:
        stack.install()
