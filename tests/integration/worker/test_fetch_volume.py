"""Volumes that are full, shared, left behind, or full of traps."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stoker_worker.cachecontract import MODELS, STATE, VERIFY, FetchReason
from stoker_worker.fetch import transfer
from stoker_worker.fetch.chunks import CHUNK
from stoker_worker.fetch.errors import FetchError
from stoker_worker.fetch.volume import Volume
from stoker_worker.manifest import read_manifest
from tests.integration.worker.fetching import NAME, Bench, make_model
from tests.support.foldersource import REVISION, FolderSource, slowly

WEEK = 7 * 86400


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "volume").mkdir()
    return Bench(tmp_path / "volume", FolderSource(make_model(tmp_path / "source")))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 MiB, in memory."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "none", str(folder)]
    subprocess.run(mount, check=True, timeout=30)  # noqa: S603
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=30)  # noqa: S603, S607


def _size(bench: Bench) -> int:
    files = (path for path in bench.source.folder.rglob("*") if path.suffix != ".md")
    return sum(path.stat().st_size for path in files if path.is_file())


def _refused(bench: Bench, **changes: Any) -> FetchError:
    with pytest.raises(FetchError) as refused:
        bench.run(**changes)
    return refused.value


# Room.


def test_a_disk_that_is_too_small_is_known_before_the_first_byte(bench: Bench, small: Path) -> None:
    bench.volume = small
    with (small / "other").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 16 << 20)
    error = _refused(bench)
    assert error.reason == FetchReason.NOT_ENOUGH_DISK
    assert re.fullmatch(r"needs 24\.\d MiB, 1\d\.\d MiB free on the volume", error.message)
    assert bench.source.bytes_of("tokenizer.model") == 0
    assert not error.passes


def test_what_is_to_stay_free_stays_free(bench: Bench) -> None:
    error = _refused(bench, reserve_bytes=1 << 60)
    assert error.reason == FetchReason.NOT_ENOUGH_DISK
    assert "of which 1.0 EiB are to stay free" in error.message.replace("1024.0 PiB", "1.0 EiB")


def test_quarantine_makes_room_for_a_model(bench: Bench, small: Path) -> None:
    bench.volume = small
    aside = small / STATE / "quarantine" / "other" / "20260101T000000Z-model.safetensors"
    aside.parent.mkdir(parents=True)
    with aside.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 16 << 20)
    bench.run()
    bench.check()
    assert not aside.exists()


@pytest.mark.parametrize("reserves", [True, False])
def test_a_disk_that_fills_up_meanwhile_loses_nothing(
    bench: Bench,
    small: Path,
    monkeypatch: pytest.MonkeyPatch,
    reserves: bool,  # noqa: FBT001
) -> None:
    bench.volume = small
    filler = small / "other"

    def fill(path: str, at: int) -> None:
        if path == "tokenizer.model" and at >= CHUNK and not filler.exists():
            _fill(filler)

    bench.source.fault = fill
    if not reserves:
        # As on a network file system that cannot take room in advance.
        monkeypatch.setattr(transfer, "reserve_file", lambda *_: False)
        error = _refused(bench, parallel=1)
        assert error.reason == FetchReason.NOT_ENOUGH_DISK
        assert "the volume is full" in error.message
        filler.unlink()
        bench.source.fault = None
        given = bench.source.bytes_of()
        result = bench.run()
        assert given + result.fetched < result.bytes + 2 * CHUNK, "what fitted is not fetched again"
    else:
        # The model's room was taken before. Only its manifest has to wait for somebody to clean up.
        error = _refused(bench)
        assert error.reason == FetchReason.NOT_ENOUGH_DISK
        assert bench.source.bytes_of() >= _size(bench), "every byte was written"
        filler.unlink()
        bench.run()
    bench.check()


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


# Others on the volume.


def _another(bench: Bench, name: str, **changes: Any) -> Path:
    bench.run(folder=name, **{"live": [NAME, name], **changes})
    return bench.volume / MODELS / name


def test_what_nobody_wants_goes_and_everything_else_stays(bench: Bench) -> None:
    gone = _another(bench, "gone-1")
    kept = _another(bench, "kept-2", keep=True, live=["gone-1"])
    wanted = _another(bench, "wanted-3", live=["gone-1", "kept-2"])
    foreign = bench.volume / MODELS / "somebodys"
    foreign.mkdir()
    (foreign / "config.json").write_text("{}")
    left = bench.volume / STATE / "partial" / "left-4"
    left.mkdir()
    (bench.volume / STATE / "partial" / "left-4.journal").write_text("")
    bench.run(live=["wanted-3"])
    assert not gone.exists()
    assert not left.exists()
    assert all(folder.exists() for folder in (kept, wanted, foreign))
    assert list((bench.volume / STATE / "trash").iterdir()) == []
    assert not list(bench.volume.glob(".stoker/partial/*"))
    bench.check()


def test_what_is_newer_than_the_list_is_spared(bench: Bench) -> None:
    before = time.time() - 1
    newer = _another(bench, "newer-1")
    bench.run(live_at=before)
    assert newer.exists()
    bench.run(live_at=time.time() + 1)
    assert not newer.exists()


def test_what_somebody_writes_is_spared(bench: Bench) -> None:
    busy = _another(bench, "busy-1")
    script = (
        "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); "
        "print('locked', flush=True); sys.stdin.read()"
    )
    lock = bench.volume / STATE / "locks" / "busy-1"
    with subprocess.Popen(  # noqa: S603
        ["python3", "-c", script, str(lock)],  # noqa: S607
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        bench.run()
        assert busy.exists()
        holder.communicate()
    bench.run()
    assert not busy.exists()


def test_keep_is_written_down_when_it_changes(bench: Bench) -> None:
    bench.run()
    assert not read_manifest(bench.model).keep
    assert bench.run(keep=True).fetched == 0
    assert read_manifest(bench.model).keep


def test_quarantine_is_emptied_after_a_week(bench: Bench) -> None:
    bench.run()
    (bench.model / "config.json").write_text("[]")
    bench.run()
    (aside,) = bench.volume.glob(".stoker/quarantine/*/*")
    volume = Volume.open(bench.volume)
    volume.remove_quarantined(time.time() - WEEK)
    assert aside.exists()
    volume.remove_quarantined(time.time() + 1)
    assert not aside.parent.exists()


def test_a_file_that_does_not_belong_is_put_aside(bench: Bench) -> None:
    bench.run()
    (bench.model / "other.safetensors").write_text("an engine would load it")
    (bench.model / "1_Pooling" / "more").mkdir()
    (bench.model / "1_Pooling" / "more" / "x.bin").write_text("")
    result = bench.run(VERIFY)
    assert (result.fetched, result.repaired) == (0, ())
    bench.check()


# A reader keeps what it has.


def test_a_reader_keeps_its_bytes_while_a_file_is_repaired(bench: Bench) -> None:
    bench.run()
    file = bench.model / "tokenizer.json"
    file.write_text("[]")
    with file.open() as reader:
        bench.run(VERIFY)
        assert reader.read() == "[]"
    assert file.read_text() == "{}"


def test_a_published_model_is_never_half(bench: Bench) -> None:
    """While it is fetched, its folder is not there; once it is, all of it is."""
    bench.source.fault = slowly(0.01)
    over = threading.Event()
    seen: list[set[str]] = []

    def look() -> None:
        while not over.is_set():
            if bench.model.exists():
                seen.append({each.name for each in bench.model.iterdir()})
            time.sleep(0.001)

    reader = threading.Thread(target=look)
    reader.start()
    bench.run()
    over.set()
    reader.join()
    final = {each.name for each in bench.model.iterdir()}
    assert all(names == final for names in seen)


# Traps.


def test_links_lead_nowhere(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    bench.run()
    partial = bench.volume / STATE / "partial"
    (bench.model / "1_Pooling" / "config.json").unlink()
    (bench.model / "1_Pooling").rmdir()
    (bench.model / "1_Pooling").symlink_to(outside)
    (bench.model / "config.json").unlink()
    (bench.model / "config.json").symlink_to(outside / "precious")
    (partial / NAME).symlink_to(outside)
    bench.run(VERIFY)
    bench.check()
    assert {p.name: p.read_text() for p in outside.iterdir()} == {"precious": "mine"}


@pytest.mark.parametrize("trap", ["models", ".stoker", ".stoker/partial", ".stoker/locks"])
def test_a_link_in_place_of_a_folder_of_ours_is_refused(
    bench: Bench, tmp_path: Path, trap: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    link = bench.volume / trap
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    error = _refused(bench)
    assert error.reason == FetchReason.VOLUME_FAILED
    assert "is a link" in error.message
    assert list(outside.iterdir()) == []


def test_a_model_that_is_a_link_is_put_aside(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (bench.volume / MODELS).mkdir()
    bench.model.symlink_to(outside)
    bench.run()
    bench.check()
    assert not bench.model.is_symlink()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc", ".hidden", "x" * 300])
def test_a_folder_that_is_no_name_is_refused(bench: Bench, name: str) -> None:
    assert _refused(bench, folder=name).reason == FetchReason.CONFIG_INVALID
    assert list(bench.volume.iterdir()) == []


def test_a_volume_that_is_not_there_or_read_only(bench: Bench, small: Path) -> None:
    bench.volume = small / "nosuch"
    assert _refused(bench).reason == FetchReason.VOLUME_FAILED
    remount = ["mount", "-o", "remount,ro", str(small)]
    subprocess.run(remount, check=True, timeout=30)  # noqa: S603
    bench.volume = small
    error = _refused(bench)
    assert error.reason == FetchReason.VOLUME_FAILED
    assert "read-only" in error.message
    assert not error.passes


# The source.


def test_a_source_that_changed_since_it_was_looked_at(bench: Bench) -> None:
    bench.source.revision = "another"
    assert _refused(bench).reason == FetchReason.REVISION_NOT_FOUND
    bench.source.revision = REVISION
    bench.run()
    (bench.model / "config.json").unlink()
    (bench.source.folder / "config.json").write_text("{}  ")
    error = _refused(bench)
    assert error.reason == FetchReason.REVISION_NOT_FOUND
    assert "config.json" in error.message


def test_a_model_that_is_larger_than_allowed(bench: Bench) -> None:
    error = _refused(bench, max_bytes=1 << 20)
    assert error.reason == FetchReason.SOURCE_TOO_LARGE
    assert bench.source.bytes_of("tokenizer.model") == 0


@pytest.mark.parametrize("promise", ["sha256", "nothing"])
def test_a_digest_that_the_user_demands_is_the_one_that_counts(bench: Bench, promise: str) -> None:
    bench.source.promise = promise
    demanded = {"config.json": "0" * 64}
    error = _refused(bench, digests=demanded)
    assert error.reason == FetchReason.DIGEST_MISMATCH
    assert "config.json" in error.message
    assert "0" * 64 in error.message
    assert not bench.model.exists()
    bench.run()
    assert _refused(bench, digests=demanded).reason == FetchReason.DIGEST_MISMATCH
    bench.check()  # what others use stays


def test_facts_that_cannot_be_read_do_not_keep_a_model_back(bench: Bench) -> None:
    (bench.source.folder / "generation_config.json").write_text("[]")
    result = bench.run()
    bench.check()
    assert result.facts is None
    assert result.unread is not None
    assert result.unread[0] == "ModelConfigInvalid"
