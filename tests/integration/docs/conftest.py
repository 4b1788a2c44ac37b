"""One API server for the commands and objects of all pages, without controllers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.controlplane import ControlPlane

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="package")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("docs-plane")) as running:
        yield running
