"""Weights are copied into memory by a process of their own, and proven there."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from stoker_worker.cachecontract import MANIFEST
from stoker_worker.model import check_model
from stoker_worker.proof import prove
from stoker_worker.staging import stage
from tests.integration.worker.fetching import Bench, make_model
from tests.support.foldersource import FolderSource

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A model as a cache has it, with a manifest."""
    (tmp_path / "volume").mkdir()
    bench = Bench(tmp_path / "volume", FolderSource(make_model(tmp_path / "source")))
    bench.run()
    return bench.model


def weights(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def test_weights_are_copied_and_the_rest_is_linked(published: Path, tmp_path: Path) -> None:
    target = tmp_path / "staged/tiny"
    assert stage(published, target) is None
    assert weights(target) == weights(published)
    assert weights(target)
    for path in target.iterdir():
        assert path.is_symlink() == (path.suffix != ".safetensors")
    assert (target / "1_Pooling/config.json").exists()
    # It was proven here, so the engine's worker takes it as it is.
    assert not (target / MANIFEST).exists()
    assert prove(target) is None
    assert check_model(target) is None
    (target / "left.safetensors").write_text("of an earlier one")
    assert stage(published, target) is None
    assert weights(target) == weights(published)


def test_a_bad_byte_never_reaches_the_engine(published: Path, tmp_path: Path) -> None:
    path = min(published.glob("*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    fault = stage(published, tmp_path / "staged")
    assert fault is not None
    assert fault.reason == "ModelCorrupt"
    assert path.name in fault.message


def test_without_a_manifest_it_is_as_it_is(tmp_path: Path) -> None:
    model = make_model(tmp_path / "own")
    assert stage(model, tmp_path / "staged") is None
    assert weights(tmp_path / "staged") == weights(model)


def test_memory_that_is_short_is_known_before_the_first_byte(tmp_path: Path) -> None:
    model = make_model(tmp_path / "own")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "staged", small], check=True)  # noqa: S603, S607
    try:
        fault = stage(model, small / "tiny")
    finally:
        subprocess.run(["umount", small], check=True)  # noqa: S603, S607
    assert fault is not None
    assert "cannot be copied into memory: No space left" in fault.message


def test_the_command(published: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "stoker_worker", "stage", str(published)]
    done = subprocess.run([*words, str(tmp_path / "staged")], check=False, capture_output=True)  # noqa: S603
    assert done.returncode == 0, done.stderr
    assert weights(tmp_path / "staged") == weights(published)
    log = tmp_path / "log"
    log.touch()  # as the kubelet does
    env = {"STOKER_TERMINATION_LOG": str(log), "PATH": "/usr/bin:/bin"}
    gone = [*words[:-1], str(tmp_path / "nothing"), str(tmp_path / "staged")]
    done = subprocess.run(gone, check=False, capture_output=True, env=env)  # noqa: S603
    assert done.returncode == 1
    assert json.loads(log.read_text())["reason"] == "ModelInvalid"
