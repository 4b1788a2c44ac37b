"""Chunks reach the disk as they came, past the page cache or through it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stoker_worker.fetch import buffers
from stoker_worker.fetch.buffers import Buffers, ChunkWriter
from stoker_worker.fetch.chunks import CHUNK
from stoker_worker.fetch.folder import Folder

ODD = (1 << 20) + 1234


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    opened = Folder.open(tmp_path)
    yield opened
    opened.close()


def _filled(folder: Folder, room: Buffers) -> tuple[bytes, list[bytes | None]]:
    """Write two chunks, the odd one in three pieces; return what they are and what was kept."""
    (folder.path / "file").touch()
    data = os.urandom(CHUNK + ODD)
    kept = []
    writer = ChunkWriter(folder, "file", room)
    for start in (0, CHUNK):
        chunk = memoryview(data)[start : start + CHUNK]
        for at in range(0, len(chunk), 700_000):
            writer.put(chunk[at : at + 700_000], at)
        waits = writer.write(start, len(chunk), due=False)
        kept.append(None if waits is None else bytes(waits[: len(chunk)]))
    writer.close()
    return data, kept


@pytest.mark.parametrize("direct", ["as it can", "cannot be opened", "refuses to write"])
def test_what_came_is_in_the_file_and_waits_for_its_hash(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, direct: str
) -> None:
    if direct == "cannot be opened":
        monkeypatch.setattr(buffers, "_DIRECT", 0)
    elif direct == "refuses to write":
        # As a disk whose blocks are larger than all that are known.
        monkeypatch.setattr(buffers, "_ALIGNED", 1)
    data, kept = _filled(folder, Buffers())
    assert (folder.path / "file").read_bytes() == data
    assert kept == [data[:CHUNK], data[CHUNK:]]


def test_what_may_not_wait_is_in_the_file_alone(folder: Folder) -> None:
    data, kept = _filled(folder, Buffers(early=1))
    assert (folder.path / "file").read_bytes() == data
    assert kept == [data[:CHUNK], None]


def test_who_is_due_has_room_that_early_ones_cannot_take_and_waits_for_more() -> None:
    room = Buffers(early=1, due=1)
    assert room.keep(due=False)
    assert not room.keep(due=False), "an early one waits for nobody"
    assert room.keep(due=True)
    assert not room.keep(due=True, wait_s=0.01)
    buffer = room.take()
    waiting = threading.Timer(0.05, room.release, [buffer])
    waiting.start()
    assert room.keep(due=True, wait_s=60.0)
    waiting.join()
    assert room.take() is buffer, "memory that was touched is used again"
