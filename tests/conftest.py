"""Fixtures that several folders of tests share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.integration.operator.support import CRDS
from tests.support.controlplane import ControlPlane

if TYPE_CHECKING:
    from collections.abc import Iterator

# What fails fast comes first; an engine's start is the dearest thing there is.
_ORDER = (
    "unit",
    "integration/render",
    "integration/chart",
    "integration/api",
    "integration/operator",
    "integration/external",
    "integration/frontend",
    "integration/flags",
    "integration/worker",
)
# On by default in later versions.
GATES = ("ImageVolume",)
_TESTS = Path(__file__).parent

# A busy machine is no reason to fail, and what fails in CI has to fail again when it is looked at.
settings.register_profile(
    "stoker",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("stoker")


@pytest.fixture(scope="package")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The version that the cluster of the end-to-end tests runs, with its controllers and audit."""
    folder = tmp_path_factory.mktemp("control-plane")
    with ControlPlane(folder, controllers=True, audit=True, gates=GATES, definitions=CRDS) as plane:
        yield plane


@pytest.fixture(scope="package")
def bare_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The same version without controllers: nobody collects objects of owners that are made up."""
    with ControlPlane(tmp_path_factory.mktemp("bare-plane")) as plane:
        yield plane


@pytest.fixture(scope="package", params=["oldest", "newest"])
def api_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """The oldest and the newest supported API server, one after the other, without controllers."""
    folder = tmp_path_factory.mktemp(f"api-server-{request.param}")
    with ControlPlane(folder, apiserver=f"kube-apiserver-{request.param}") as plane:
        yield plane


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort folders by what they cost; a folder that is not listed comes before the dear ones."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    if not item.path.is_relative_to(_TESTS):
        return len(_ORDER)  # tests on the cluster
    path = item.path.relative_to(_TESTS).as_posix()
    return next((n for n, folder in enumerate(_ORDER) if path.startswith(f"{folder}/")), 0)
