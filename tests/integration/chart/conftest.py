"""Helm, and a control plane of its own: an installed chart owns names that other tests use too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from e2e.cluster import programs
from e2e.cluster.host import run
from tests.support.controlplane import ControlPlane

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts" / "stoker"
NAMESPACE = "stoker-system"
Manifest = dict[str, Any]


@dataclass(frozen=True)
class Helm:
    """Helm with folders of its own, so that nothing of the machine's shows."""

    program: Path
    folder: Path
    kubeconfig: Path | None = None

    def attempt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run helm and return its outcome, good or bad."""
        env = {
            name: str(self.folder / name)
            for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")
        }
        env["KUBECONFIG"] = str(self.kubeconfig or "/nonexistent")
        return run(self.program, *arguments, check=False, env=env, timeout=110)

    def __call__(self, *arguments: str) -> str:
        """Run helm and return what it printed."""
        done = self.attempt(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def render(self, *arguments: str) -> list[Manifest]:
        """Objects of `helm template`."""
        text = self("template", "stoker", str(CHART), "-n", NAMESPACE, *arguments)
        return [item for item in yaml.safe_load_all(text) if item]


@pytest.fixture(scope="session")
def helm_program() -> Path:
    """The helm of the catalogue."""
    return programs.ensure(["helm"])["helm"]


@pytest.fixture(scope="session")
def helm(helm_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without a cluster."""
    return Helm(helm_program, tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="package")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane that only the chart's tests touch."""
    folder = tmp_path_factory.mktemp("chart-plane")
    with ControlPlane(folder, controllers=True) as running:
        running.namespace(NAMESPACE, enforce="restricted")
        running.namespace("team")
        yield running


@pytest.fixture(scope="package")
def administrator(
    plane: ControlPlane, helm_program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Helm:
    """Helm with every right."""
    return Helm(helm_program, tmp_path_factory.mktemp("helm-admin"), plane.kubeconfig)
