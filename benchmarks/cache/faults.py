"""What a cache does when things go wrong, many times each.

After each fault an engine's start looks at the folder as the worker does: the quick check, and all
bytes of what looks touched. A folder that it lets pass and whose bytes are not the source's is a
corrupt load. Then a job repairs, and the bytes that it fetched again are counted at the source.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import shutil
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.cache import jobs
from stoker_worker.cachecontract import MANIFEST, VERIFY, FetchConfig
from stoker_worker.manifest import ManifestError, full_check, quick_check, read_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.hub import Hub

REPO = "tests/faults"
SHARDS, SHARD_BYTES = 4, 24 << 20
# EXT4_IOC_SHUTDOWN and EXT4_GOING_FLAGS_NOLOGFLUSH of the kernel's headers.
_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, 2


@dataclass
class Tally:
    """One fault, many times."""

    name: str
    times: int = 0
    corrupt: int = 0
    """Folders that were let pass although they are not what the source has."""
    unusable: int = 0
    """Ends at which the model was not whole again."""
    refused: int = 0
    """Times that an engine would have been kept from starting until the repair."""
    again: int = 0
    """Bytes fetched again, in all."""
    bad: int = 0
    """Bytes of the files that were bad or not there, in all: what had to be fetched again."""


class Faults:
    """Does things to a cache of a small model.

    Parameters
    ----------
    hub
        Where the model is; it has the repository `REPO`.
    original
        The folder that the repository was made of.
    work
        An empty folder for volumes.
    """

    def __init__(self, hub: Hub, original: Path, work: Path, times: int, seed: int = 1) -> None:
        self._hub, self._original, self._work, self._times = hub, original, work, times
        self._random = random.Random(seed)
        self._bytes = sum(path.stat().st_size for path in original.iterdir())
        self._config = jobs.config_of(hub, REPO)

    def run(self) -> list[Tally]:
        """All of them."""
        cases: dict[str, Callable[[Tally, Path], None]] = {
            "bit flip": self._flip,
            "bit rot that no time tells of": self._rot,
            "bit flip on the way": self._flip_on_the_way,
            "truncation": self._truncate,
            "missing shard": self._remove,
            "volume too small": self._too_small,
            "volume full midway": self._fills_up,
            "fetch killed at random": self._kill,
            "node lost at random": self._node_lost,
            "two writers at once": self._two_writers,
            "hub down": self._hub_down,
        }
        tallies = []
        for name, case in cases.items():
            tally = Tally(name)
            for number in range(self._times):
                volume = self._work / f"{name.replace(' ', '-')}-{number}"
                volume.mkdir()
                case(tally, volume)
                tally.times += 1
                shutil.rmtree(volume)
            tallies.append(tally)
        return tallies

    # -- faults of a published model -----------------------------------------------------------

    def _flip(self, tally: Tally, volume: Path) -> None:
        shard = self._published(volume)
        self._flip_in(shard)
        self._mended(tally, volume, [shard])

    def _rot(self, tally: Tally, volume: Path) -> None:
        """A disk tells nobody; the schedule's job reads every byte."""
        shard = self._published(volume)
        self._flip_in(shard)
        folder = jobs.model_folder(self._config, volume)
        found = read_manifest(folder)
        files = tuple(file.of((folder / file.path).stat()) for file in found.files)
        (folder / MANIFEST).write_text(replace(found, files=files).to_json())
        assert not quick_check(folder, read_manifest(folder))
        self._mended(tally, volume, [shard], seen=False)

    def _flip_on_the_way(self, tally: Tally, volume: Path) -> None:
        before = self._hub.cdn.sent()
        at = self._random.randrange(SHARD_BYTES)
        fault = self._hub.cdn.fail(method="GET", flip_at=at)
        jobs.run(self._config, volume)
        assert fault.met == 1
        tally.again += self._hub.cdn.sent() - before - self._weights()
        tally.bad += SHARD_BYTES
        self._judge(tally, volume)

    def _flip_in(self, shard: Path) -> None:
        with shard.open("r+b") as file:
            at = self._random.randrange(SHARD_BYTES)
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << self._random.randrange(8)]))

    def _truncate(self, tally: Tally, volume: Path) -> None:
        shard = self._published(volume)
        with shard.open("r+b") as file:
            file.truncate(self._random.randrange(SHARD_BYTES))
        self._mended(tally, volume, [shard])

    def _remove(self, tally: Tally, volume: Path) -> None:
        shard = self._published(volume)
        shard.unlink()
        self._mended(tally, volume, [shard])

    def _hub_down(self, tally: Tally, volume: Path) -> None:
        self._published(volume)
        self._hub.stop()
        try:
            before = self._hub.sent()
            self._look(tally, volume)
            jobs.run(self._config, volume)  # nothing is bad, so nobody is asked
            tally.again += self._hub.sent() - before
            self._judge(tally, volume)
        finally:
            self._hub.start()

    # -- faults on the way ---------------------------------------------------------------------

    def _too_small(self, tally: Tally, volume: Path) -> None:
        before = self._hub.cdn.sent()
        with _small(volume, self._bytes * 3 // 4):
            tally.unusable += self._apart(volume)  # it said that it is done
            tally.again += self._hub.cdn.sent() - before
            self._look(tally, volume)
            remount = f"remount,size={self._bytes * 2}"
            subprocess.run(["mount", "-o", remount, volume], check=True)
            self._apart(volume)
            self._judge(tally, volume)

    def _apart(self, volume: Path, *, later: bool = False) -> bool:
        """Run a job in a process of its own; whether it ended well."""
        process = jobs.spawn(self._config, volume, later=later)
        _, said = process.communicate()
        if process.returncode:
            sys.stderr.write(f"{volume.name}: {said.decode().strip().rpartition(chr(10))[2]}\n")
        return process.returncode == 0

    def _fills_up(self, tally: Tally, volume: Path) -> None:
        """Somebody else takes the room while a job fetches that could not take it in advance."""
        before = self._hub.cdn.sent()
        with _small(volume, self._bytes * 5 // 4):
            process = jobs.spawn(self._slow(), volume, thin=True)
            self._wait_for_some(process, before)
            _fill(volume / "other")
            process.communicate()
            tally.unusable += process.returncode == 0  # it said that it is done
            self._look(tally, volume)
            (volume / "other").unlink()
            tally.unusable += not self._apart(volume)
            tally.again += max(0, self._hub.cdn.sent() - before - self._weights())
            self._judge(tally, volume)

    def _slow(self) -> FetchConfig:
        """So slow that a fault hits where it is meant to."""
        return FetchConfig(**{**vars(self._config), "bandwidth": self._bytes})

    def _wait_for_some(self, process: subprocess.Popen[bytes], before: int) -> None:
        until = before + self._random.random() * self._weights()
        while self._hub.cdn.sent() < until and process.poll() is None:
            time.sleep(0.005)

    def _node_lost(self, tally: Tally, volume: Path) -> None:
        """The machine goes down: what no sync has seen is lost, and another kernel runs then."""
        before = self._hub.cdn.sent()
        disk, later = volume.with_suffix(".disk"), volume.with_suffix(".later")
        with disk.open("wb") as file:
            file.truncate(self._bytes * 2 + (64 << 20))
        subprocess.run(["mkfs.ext4", "-q", "-F", disk], check=True)
        with _mounted(disk, volume) as crash:
            process = jobs.spawn(self._slow(), volume)
            self._wait_for_some(process, before)
            crash()
            process.kill()
            process.communicate()
        # A copy: as long as anybody here has the first mount, the same image is that stopped one.
        subprocess.run(["cp", "--sparse=always", disk, later], check=True)
        with _mounted(later, volume):
            self._look(tally, volume)
            tally.unusable += not self._apart(volume, later=True)
            tally.again += max(0, self._hub.cdn.sent() - before - self._weights())
            self._judge(tally, volume)
        disk.unlink()
        later.unlink()

    def _kill(self, tally: Tally, volume: Path) -> None:
        before = self._hub.cdn.sent()
        process = jobs.spawn(self._slow(), volume)
        self._wait_for_some(process, before)
        process.kill()
        process.communicate()
        self._look(tally, volume)
        jobs.run(self._config, volume)
        tally.again += max(0, self._hub.cdn.sent() - before - self._weights())
        self._judge(tally, volume)

    def _two_writers(self, tally: Tally, volume: Path) -> None:
        before = self._hub.cdn.sent()
        both = [jobs.spawn(self._config, volume) for _ in range(2)]
        for process in both:
            process.communicate()
            tally.unusable += process.returncode != 0
        tally.again += self._hub.cdn.sent() - before - self._weights()
        self._judge(tally, volume)

    # -- shared --------------------------------------------------------------------------------

    def _weights(self) -> int:
        return sum(path.stat().st_size for path in self._original.glob("*.safetensors"))

    def _published(self, volume: Path) -> Path:
        """Fill a volume; return one of the shards."""
        jobs.run(self._config, volume)
        folder = jobs.model_folder(self._config, volume)
        return self._random.choice(sorted(folder.glob("*.safetensors")))

    def _mended(self, tally: Tally, volume: Path, bad: list[Path], *, seen: bool = True) -> None:
        if seen:
            self._look(tally, volume)
        before = self._hub.cdn.sent()
        task = FetchConfig(**{**vars(self._config), "task": VERIFY, "full": not seen})
        jobs.run(task, volume)
        tally.again += self._hub.cdn.sent() - before
        tally.bad += len(bad) * SHARD_BYTES
        self._judge(tally, volume)

    def _look(self, tally: Tally, volume: Path) -> None:
        """Do as an engine's start does; where it would go on, the bytes must be right."""
        folder = jobs.model_folder(self._config, volume)
        if not passes(folder):
            tally.refused += 1
        elif not self._same(folder):
            tally.corrupt += 1

    def _judge(self, tally: Tally, volume: Path) -> None:
        folder = jobs.model_folder(self._config, volume)
        whole = passes(folder)
        tally.corrupt += whole and not self._same(folder)
        tally.unusable += not whole

    def _same(self, folder: Path) -> bool:
        return all(
            (folder / path.name).read_bytes() == path.read_bytes()
            for path in self._original.iterdir()
        )


def passes(folder: Path) -> bool:
    """Whether an engine would be let loose on a folder."""
    try:
        manifest = read_manifest(folder)
    except ManifestError:
        return False
    suspects = quick_check(folder, manifest)
    if any(each.certain for each in suspects):
        return False
    names = {each.path for each in suspects}
    checked = full_check(folder, [file for file in manifest.files if file.path in names])
    return not any(each.fault for each in checked)


@contextlib.contextmanager
def _small(folder: Path, size: int) -> Iterator[None]:
    """A file system of so many bytes."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "cache", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def _fill(file: Path) -> None:
    """Take all the room that there is."""
    with file.open("wb", buffering=0) as opened, contextlib.suppress(OSError):
        while True:
            opened.write(bytes(1 << 20))


@contextlib.contextmanager
def _mounted(image: Path, folder: Path) -> Iterator[Callable[[], None]]:
    """Mount an ext4; what it gives stops it at once.

    It is stopped as a power cut would: nothing that the kernel still has in memory gets there, and
    the file system's log is not written out.
    """
    subprocess.run(["mount", "-o", "loop", image, folder], check=True)

    def crash() -> None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    try:
        yield crash
    finally:
        subprocess.run(["umount", folder], check=True)
