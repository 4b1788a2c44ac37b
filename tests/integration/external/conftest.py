"""A control plane with a front proxy, and an operator that tells others what it samples."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from e2e.cluster.host import run
from tests.integration.operator.readers import Readers
from tests.integration.operator.support import (
    OperatorProcess,
    install,
    least_rights,
    make_claim,
    wait_for,
)
from tests.support.controlplane import ControlPlane, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT = Path(__file__).parents[3] / "docs/external-scalers.md"
SERVICE_NAME = "stoker-metrics"  # as the certificate of the document says
_NUMBERS = itertools.count(1)


def documented(kind: str) -> dict[str, Any]:
    """The example of that kind that users are shown."""
    blocks = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    found = [
        b for b in map(yaml.safe_load, blocks) if isinstance(b, dict) and b.get("kind") == kind
    ]
    assert len(found) == 1, f"{DOCUMENT} has {len(found)} examples of a {kind}"
    example: dict[str, Any] = found[0]
    return example


@dataclass(frozen=True)
class Telling:
    """An operator process, and where it tells what."""

    process: OperatorProcess
    keda: str
    hpa_port: int
    certificates: Path


def telling(plane: ControlPlane, folder: Path, name: str) -> Telling:
    """An operator that serves both, not yet started."""
    certificates = folder / "certificates"
    certificates.mkdir()
    [commands] = re.findall(r"```bash\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    run("bash", "-euc", commands, cwd=certificates)
    keda, hpa = free_port(), free_port()
    served = {
        "keda": {"enabled": True, "port": keda},
        "hpa": {"enabled": True, "port": hpa, "certificate": str(certificates)},
    }
    process = OperatorProcess(
        plane,
        folder,
        name=name,
        config={"externalScalers": served},
        kubeconfig=least_rights(plane),
    )
    return Telling(process, f"127.0.0.1:{keda}", hpa, certificates)


@pytest.fixture(scope="package")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    folder = tmp_path_factory.mktemp("aggregation")
    with ControlPlane(folder, controllers=True, aggregation=True) as running, Readers(running):
        install(running)
        trust_front_proxy(running)
        yield running


def trust_front_proxy(plane: ControlPlane) -> None:
    """The right that the chart gives where external metrics are switched on."""
    plane.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "operator-under-test", "namespace": "kube-system"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": "extension-apiserver-authentication-reader",
            },
            "subjects": [
                {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "operator"}
            ],
        }
    )


@pytest.fixture(scope="package")
def operator(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Telling]:
    running = telling(plane, tmp_path_factory.mktemp("operator"), "operator-a")
    with running.process as process:
        wait_for("the operator leads", process.leads)
        yield running


@pytest.fixture
def namespace(plane: ControlPlane) -> str:
    """A namespace of the test's own, with the model's claim bound."""
    name = plane.namespace(f"others-{next(_NUMBERS)}", enforce="restricted")
    make_claim(plane, name)
    return name
