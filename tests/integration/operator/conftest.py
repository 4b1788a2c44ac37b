"""One operator for the tests that leave it alone; tests that kill operators start their own."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.integration.operator.kubelet import Kubelet
from tests.integration.operator.readers import Readers
from tests.integration.operator.support import (
    OperatorProcess,
    install,
    least_rights,
    make_claim,
    wait_for,
)
from tests.support.nursery import Nursery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.controlplane import ControlPlane

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="package")
def readers(control_plane: ControlPlane) -> Iterator[Readers]:
    with Readers(control_plane) as running:
        yield running


@pytest.fixture(scope="package")
def plane(control_plane: ControlPlane, readers: Readers) -> ControlPlane:
    del readers  # models are read as on any cluster
    install(control_plane)
    return control_plane


@pytest.fixture(scope="module", autouse=True)
def nodes_of_a_file(plane: ControlPlane) -> None:
    """A file of tests begins without nodes, whichever files came before it."""
    plane.kubectl("delete", "nodes", "--all", "--wait=true")


@pytest.fixture(scope="module")
def kubelet(
    plane: ControlPlane, nodes_of_a_file: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kubelet]:
    """Logs and ports of pods, behind the real API server."""
    del nodes_of_a_file  # first the nodes of others go
    with Kubelet(tmp_path_factory.mktemp("kubelet")) as running:
        running.register(plane)
        yield running


@pytest.fixture(scope="package")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Where operators start at once."""
    with Nursery(tmp_path_factory.mktemp("nursery")) as running:
        yield running


@pytest.fixture(scope="module")
def operator(
    plane: ControlPlane, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    folder, rights = tmp_path_factory.mktemp("operator"), least_rights(plane)
    with OperatorProcess(plane, folder, kubeconfig=rights, nursery=nursery) as process:
        wait_for("the operator leads", process.leads)
        yield process


@pytest.fixture
def bare_namespace(plane: ControlPlane) -> str:
    """A namespace of the test's own."""
    return plane.namespace(f"case-{next(_NUMBERS)}", enforce="restricted")


@pytest.fixture
def namespace(plane: ControlPlane, bare_namespace: str) -> str:
    """The same with the model's claim, bound."""
    make_claim(plane, bare_namespace)
    return bare_namespace
