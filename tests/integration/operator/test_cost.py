"""What replicas cost, by a real control plane: spot and on demand, in metrics and in the status."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.operator.support import (
    OperatorProcess,
    add_node,
    least_rights,
    service,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.controlplane import ControlPlane

pytestmark = pytest.mark.timeout(300)

PRODUCT, L4 = "nvidia.com/gpu.product", "NVIDIA-L4"
DEAR, CHEAP = "cost-on-demand", "cost-spot"
PRICE, SPOT = 1.2, 0.48
CONFIG: dict[str, Any] = {
    "accelerators": {
        "cpu": {},
        "nvidia-l4": {
            "resource": "nvidia.com/gpu",
            "nodeSelector": {PRODUCT: L4},
            "hardware": {"pricePerHour": PRICE, "spotPricePerHour": SPOT},
        },
    },
    "lease": {"name": "cost"},
}
_PATCH = "application/strategic-merge-patch+json"


@pytest.fixture
def operator(plane: ControlPlane, tmp_path: Path) -> Iterator[OperatorProcess]:
    """One that has read a node on demand; the spot node joins when it has."""
    add_node(plane, DEAR, {PRODUCT: L4})
    rights = least_rights(plane)
    with OperatorProcess(plane, tmp_path, "cost", config=CONFIG, kubeconfig=rights) as process:
        wait_for("it leads", process.leads)
        spot = {PRODUCT: L4, "karpenter.sh/capacity-type": "spot"}
        add_node(plane, CHEAP, spot)
        yield process
    for name in (DEAR, CHEAP):
        plane.request("DELETE", f"/api/v1/nodes/{name}")


def test_a_spot_replica_is_cheaper_and_nothing_is_left_of_a_service_that_is_gone(
    plane: ControlPlane, namespace: str, operator: OperatorProcess
) -> None:
    wanted = service(
        "tiny",
        namespace,
        accelerator={"types": ["nvidia-l4"], "perReplica": 2},
        context={"maxModelLen": 4096},
        replicas=2,
        cost={"publicPrice": {"input": "0.15", "output": "0.60"}},
    )
    plane.apply(wanted)
    first, second = wait_for("two pods", lambda: engines(plane, namespace, 2))

    # A service without a node costs nothing, and says so.
    wait_for("a price", lambda: prices(operator, namespace) == {"on_demand": 0.0})
    assert costs(operator, namespace) == {}
    wait_for("it is told", lambda: cost(plane, namespace).get("perHour") == "0.00")

    bind(plane, namespace, first, DEAR)
    wait_for("one", lambda: prices(operator, namespace) == {"on_demand": 2 * PRICE})
    bind(plane, namespace, second, CHEAP)
    both = {"on_demand": 2 * PRICE, "spot": 2 * SPOT}
    wait_for("both", lambda: prices(operator, namespace) == both)
    told = {"perHour": "3.36", "perDay": "80.64", "currency": "USD"}
    wait_for("it is told", lambda: cost(plane, namespace) == told)

    wait_for("it costs", lambda: costs(operator, namespace).get("starting", 0) > 0)
    before = costs(operator, namespace)["starting"]
    wait_for("more and more", lambda: costs(operator, namespace)["starting"] > before)
    # The series that the comparison needs.
    text = operator.fetch("/metrics")[1]
    assert _values(text, "stoker_service_public_price_dollars", namespace, "direction") == {
        "input": 0.15,
        "output": 0.6,
    }
    assert f'stoker_service_static_price_dollars_per_hour{{namespace="{namespace}"' in text
    assert f'stoker_service_token_cost_ratio{{namespace="{namespace}"' in text

    plane.kubectl("delete", "infer", "tiny", "-n", namespace, "--wait=false")
    wait_for("nothing is left", lambda: not leaks(operator, namespace))
    assert operator.metric("stoker_reconcile_bugs_total") == 0


def engines(plane: ControlPlane, namespace: str, count: int) -> list[str]:
    found = plane.get("pods", "-n", namespace, "-l", "stoker.dev/component=engine")["items"]
    return sorted(pod["metadata"]["name"] for pod in found) if len(found) == count else []


def bind(plane: ControlPlane, namespace: str, pod: str, node: str) -> None:
    """The scheduler's part."""
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}"
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}}
    target = {"apiVersion": "v1", "kind": "Node", "name": node}
    status, answer = plane.request("POST", f"{path}/binding", {**binding, "target": target})
    assert status == 201, answer


def cost(plane: ControlPlane, namespace: str) -> dict[str, Any]:
    body = plane.get("infer", "tiny", "-n", namespace)
    return dict((body.get("status") or {}).get("cost") or {})


def prices(operator: OperatorProcess, namespace: str) -> dict[str, float]:
    text = operator.fetch("/metrics")[1]
    return _values(text, "stoker_service_price_dollars_per_hour", namespace, "capacity")


def costs(operator: OperatorProcess, namespace: str) -> dict[str, float]:
    text = operator.fetch("/metrics")[1]
    return _values(text, "stoker_service_cost_dollars_total", namespace, "share")


def leaks(operator: OperatorProcess, namespace: str) -> list[str]:
    """Lines of cost that name the namespace; the page itself must be there."""
    status, text = operator.fetch("/metrics")
    assert status == 200
    lines = (line for line in text.splitlines() if f'namespace="{namespace}"' in line)
    return [line for line in lines if "_price_" in line or "_cost_" in line]


def _values(text: str, name: str, namespace: str, label: str) -> dict[str, float]:
    found = {}
    for line in text.splitlines():
        if line.startswith(f"{name}{{") and f'namespace="{namespace}"' in line:
            value = re.search(rf'{label}="([^"]*)"', line)
            assert value is not None, line
            found[value[1]] = float(line.rsplit(" ", 1)[1])
    return found
