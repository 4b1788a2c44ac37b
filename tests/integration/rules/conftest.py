"""promtool, from the same place as the programs of the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.cluster import programs
from tests.support.promtool import Promtool

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def promtool_program() -> Path:
    return programs.ensure(["promtool"])["promtool"]


@pytest.fixture
def promtool(promtool_program: Path, tmp_path: Path) -> Promtool:
    return Promtool(promtool_program, tmp_path)
