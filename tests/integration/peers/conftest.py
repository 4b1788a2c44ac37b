"""A tiny model's folder: real configuration, and weights that are noise."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.support.checkpoints import SMALL, SMALL_TENSORS, write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two shards with an index, a configuration, and a file in a folder."""
    folder = write_model(tmp_path / "small", SMALL, SMALL_TENSORS, shards=2)
    noise = random.Random(1)  # noqa: S311
    for shard in folder.glob("*.safetensors"):
        size = shard.stat().st_size
        with shard.open("r+b") as opened:
            start = 8 + int.from_bytes(opened.read(8), "little")
            opened.seek(start)
            opened.write(noise.randbytes(size - start))
    (folder / "extra").mkdir()
    (folder / "extra" / "notes.json").write_text(json.dumps({"a": 1}))
    return folder
