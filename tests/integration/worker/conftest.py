"""Fixtures: a model, and workers that end with their test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from e2e.models import ensure_model
from tests.integration.worker.support import STALL, Worker, start_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def model() -> Path:
    return ensure_model()


@pytest.fixture(scope="module")
def pair(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Worker]]:
    """Two workers that started side by side: a start keeps one core busy, a machine has two."""
    workers = [start_worker(tmp_path_factory.mktemp("pair"), model, **STALL) for _ in range(2)]
    try:
        for worker in workers:
            worker.wait_ready()
        yield workers
    finally:
        for worker in workers:
            worker.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Start workers that end with the test."""
    workers: list[Worker] = []

    def start_one(model: Path, folder: Path = tmp_path, **changes: Any) -> Worker:
        worker = start_worker(folder, model, **changes)
        workers.append(worker)
        return worker

    yield start_one
    for worker in workers:
        worker.stop()
