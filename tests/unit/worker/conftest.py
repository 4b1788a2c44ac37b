"""A small model's folder, whole and in shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.checkpoints import SMALL, SMALL_TENSORS, write_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model", SMALL, SMALL_TENSORS)


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model", SMALL, SMALL_TENSORS, shards=3)
