"""NetworkPolicies, each shown to bite: the peer gets through without the policy, then no more.

A test that only sees a refusal would also pass where nothing listens.
"""

from __future__ import annotations

from typing import Any

import pytest

from e2e.stack import Stack, is_ready

NAMESPACE = "demo"
NAME = "tiny"
PROBE = "policy-probe"


READER = "policy-reader"


def probe_pod(
    image: str, name: str = PROBE, labels: dict[str, str] | None = None
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels or {}},
        "spec": {
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "probe",
                    "image": image,
                    "command": ["sleep", "3600"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }


@pytest.fixture(scope="module")
def probe(stack: Stack, tiny: str) -> Any:
    del tiny
    stack.apply(probe_pod(stack.cluster.images["engine-base"]))
    stack.wait_for(
        lambda: is_ready(stack.get("pod", PROBE, NAMESPACE) or {"metadata": {}}), "probe pod", 60
    )
    yield PROBE
    stack.kubectl("delete", "pod", PROBE, "-n", NAMESPACE, "--grace-period=1")


@pytest.fixture
def reader(stack: Stack, tiny: str) -> Any:
    """A pod that policies take for one that reads the model; those themselves end too soon."""
    del tiny
    labels = {"stoker.dev/service": NAME, "stoker.dev/component": "facts"}
    stack.apply(probe_pod(stack.cluster.images["engine-base"], READER, labels))
    stack.wait_for(
        lambda: is_ready(stack.get("pod", READER, NAMESPACE) or {"metadata": {}}), "reader", 60
    )
    yield READER
    stack.kubectl("delete", "pod", READER, "-n", NAMESPACE, "--grace-period=1")


def connects(stack: Stack, ip: str, port: int, *, pod: str = PROBE) -> bool:
    """Whether a TCP connection from a pod is accepted within two seconds."""
    program = (
        "import socket; s = socket.socket(); s.settimeout(2); "
        f"print('yes' if s.connect_ex(({ip!r}, {port})) == 0 else 'no')"
    )
    out = stack.kubectl("exec", "-n", NAMESPACE, pod, "--", "python3", "-c", program)
    return out.strip().endswith("yes")


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("component", "port"), [("engine", 8000), ("engine", 8001), ("frontend", 9090)]
)
def test_policy_bites(stack: Stack, probe: str, component: str, port: int) -> None:
    del probe
    policy = f"{NAME}-{component}"
    pods = (
        stack.engine_pods(NAME, NAMESPACE)
        if component == "engine"
        else stack.frontend_pods(NAME, NAMESPACE)
    )
    ip = next(pod["status"]["podIP"] for pod in pods if is_ready(pod))
    # The operator heals its own policies, so what lets the probe through is a policy beside them.
    stack.apply(opening(component))
    stack.wait_for(lambda: connects(stack, ip, port), f"{ip}:{port} to open without a policy", 40)
    stack.kubectl("delete", "networkpolicy", "open-for-test", "-n", NAMESPACE)
    stack.wait_for(lambda: not connects(stack, ip, port), f"{policy} to refuse {ip}:{port}", 40)


def opening(component: str) -> dict[str, Any]:
    """Allow everything to reach a component: policies add up, so this undoes ours for a while."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "open-for-test", "namespace": NAMESPACE},
        "spec": {
            "podSelector": {
                "matchLabels": {"stoker.dev/service": NAME, "stoker.dev/component": component}
            },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{}],
            "egress": [{}],
        },
    }


@pytest.mark.timeout(120)
def test_clients_reach_the_frontend(stack: Stack, probe: str) -> None:
    del probe
    service = stack.get("service", NAME, NAMESPACE)
    assert service is not None
    assert connects(stack, service["spec"]["clusterIP"], 80)


@pytest.mark.timeout(240)
def test_a_reader_of_models_reaches_nobody(stack: Stack, reader: str) -> None:
    """What every other pod of the cluster reaches: the service's own address."""
    service = stack.get("service", NAME, NAMESPACE)
    assert service is not None
    ip = service["spec"]["clusterIP"]
    stack.apply(opening("facts"))
    stack.wait_for(
        lambda: connects(stack, ip, 80, pod=reader), f"{ip}:80 to open without a policy", 40
    )
    stack.kubectl("delete", "networkpolicy", "open-for-test", "-n", NAMESPACE)
    stack.wait_for(
        lambda: not connects(stack, ip, 80, pod=reader), f"{NAME}-facts to refuse {ip}:80", 40
    )
