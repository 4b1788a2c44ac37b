"""Kernels that an engine compiled, kept on the model's volume for the next replica.

    volume   /compiled/KEY-SHA256.tar        one snapshot, named by what is in it
    pod      CACHE_DIR/{vllm, triton, …}     what the engine itself reads and writes

The engine works on a folder of its pod alone: before it starts, the newest snapshot is unpacked
there; once it answers, what it compiled is packed and published by one rename. So no engine waits
for another's lock, none reads half of what another writes, and nothing compiles on a network file
system. KEY says for whom a snapshot is good: engine image, accelerators, processor and place in the
group. Inside, the engines' own keys (model, flags, versions) hold as they do on any disk.

It is only ever a gain: whatever is wrong with a snapshot or the volume, the engine starts without,
and a start that fails with a snapshot takes it away before the next try. Standard library only,
Python 3.9.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Iterator, List, Optional, Sequence, Tuple

# Below CACHE_DIR, which is the engine's HOME too.
KEPT = ("vllm", "torchinductor", "triton", ".triton", ".cache/flashinfer", ".deep_gemm", ".nv")
# A file under one of these names is being written, or means something to its own process alone.
_PASSING = re.compile(r".*(\.lock|\.tmp|\.pid)|\.?tmp.*")
_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{64})\.tar")
_HIDDEN = ".new-"  # a snapshot on its way
_STALE_S = 3600.0  # such a one is left by a pod that was killed
_CHUNK = 2**20
_FILES = 100_000
_DRIVER = Path("/proc/driver/nvidia")
_CORES = Path("/proc/cpuinfo")
_AMD = Path("/sys/class/kfd/kfd/topology/nodes")


@dataclass(frozen=True)
class Restored:
    """What a start began with."""

    name: str = ""  # of the snapshot; empty: there was none that would do
    files: int = 0
    size: int = 0  # bytes
    seconds: float = 0.0
    fault: str = ""  # why a snapshot was not taken, in words


class Compiled:
    """The snapshots of one model, for pods like this one."""

    def __init__(self, folder: Path, local: Path, key: str, limit: int) -> None:
        self._folder = folder
        self._local = local
        self._key = key
        self._limit = limit  # bytes of a snapshot
        self._known: Tuple[Tuple[str, int], ...] = ()
        self._restored = ""

    @property
    def restored(self) -> bool:
        """Whether this start began with a snapshot."""
        return bool(self._restored)

    def restore(self) -> Restored:
        """Unpack the newest snapshot; whatever fails is said and left out."""
        began = time.monotonic()
        if any((self._local / name).exists() for name in KEPT):
            return Restored()  # the container started again: its own are newer
        found, fault = self._newest()
        if found is None:
            return Restored(fault=fault)
        try:
            size = self._unpack(found)
        except (OSError, ValueError, tarfile.TarError, EOFError) as error:
            self._clear()
            if not isinstance(error, OSError):  # it will not get better
                with suppress(OSError):
                    found.unlink()
            return Restored(name=found.name, fault=f"{found.name} was left out: {error}")
        self._restored = found.name
        self._known = tuple(self._files())
        return Restored(found.name, len(self._known), size, time.monotonic() - began)

    def save(self) -> str:
        """Publish what the engine has compiled, if it is new; what became of it, in words."""
        files = tuple(self._files())
        if not files or files == self._known:
            return ""
        size = sum(each for _, each in files)
        if size > self._limit:
            return f"compiled kernels are not kept: {size:,} bytes, {self._limit:,} are allowed"
        hidden = self._folder / f"{_HIDDEN}{self._key}-{os.urandom(8).hex()}"
        try:
            name = self._pack(hidden, [path for path, _ in files])
            hidden.rename(self._folder / name)
        except OSError as error:
            with suppress(OSError):
                hidden.unlink()
            return f"compiled kernels are not kept: {error.strerror} ({self._folder})"
        self._sweep(name)
        self._known, self._restored = files, name
        return f"compiled kernels are kept for the next start: {len(files)} files, {size:,} bytes"

    def discard(self) -> str:
        """Take the snapshot of a start that failed out of the way, and what it unpacked."""
        name, self._restored = self._restored, ""
        self._clear()
        if not name:
            return ""
        with suppress(OSError):
            (self._folder / name).unlink()
        return f"the start failed with compiled kernels from {name}: the next one goes without"

    def _newest(self) -> Tuple[Optional[Path], str]:
        try:
            mine = [
                entry
                for entry in self._folder.iterdir()
                if entry.name.startswith(self._key) and _NAME.fullmatch(entry.name)
            ]
            return max(mine, key=lambda entry: entry.lstat().st_mtime, default=None), ""
        except FileNotFoundError as error:
            # Removed between the two looks, or no folder yet.
            return None, "" if self._folder.is_dir() else f"{error.strerror} ({self._folder})"
        except OSError as error:
            return None, f"{error.strerror} ({self._folder})"

    def _unpack(self, snapshot: Path) -> int:
        """Return its bytes. ValueError when it is not what its name says, or leads elsewhere."""
        match = _NAME.fullmatch(snapshot.name)
        promised = "" if match is None else match.group(2)
        descriptor = os.open(snapshot, os.O_RDONLY | os.O_NOFOLLOW)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            size = os.fstat(descriptor).st_size
            if size > 2 * self._limit:
                raise ValueError(f"it has {size:,} bytes")
            # Read twice, the second time from memory: nothing of a bad one is ever unpacked.
            if _digest(file) != promised:
                raise ValueError("it is not what was written")
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for number, member in enumerate(archive):
                    if number > _FILES:
                        raise ValueError("it has too many files")
                    self._put(archive, member)
        return size

    def _put(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        if not member.isreg() or not _belongs(member.name):
            raise ValueError(f"{member.name!r:.120} does not belong there")
        source = archive.extractfile(member)
        if source is None:
            raise ValueError(f"{member.name!r:.120} cannot be read")
        target = self._local / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with source, target.open("xb") as file:
            shutil.copyfileobj(source, file, _CHUNK)
        target.chmod(0o755 if member.mode & 0o100 else 0o644)

    def _pack(self, hidden: Path, paths: Sequence[str]) -> str:
        with hidden.open("x+b") as file:
            with tarfile.open(fileobj=file, mode="w:", format=tarfile.PAX_FORMAT) as archive:
                for path in paths:
                    with suppress(FileNotFoundError):  # it was passing after all
                        archive.add(self._local / path, path, recursive=False)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            return f"{self._key}-{_digest(file)}.tar"

    def _sweep(self, kept: str) -> None:
        """Remove what this one replaces, and what killed pods left."""
        with suppress(OSError):
            for entry in self._folder.iterdir():
                mine = entry.name.startswith(self._key) and _NAME.fullmatch(entry.name)
                left = entry.name.startswith(_HIDDEN) and (
                    time.time() - entry.lstat().st_mtime > _STALE_S
                )
                if (mine and entry.name != kept) or left:
                    with suppress(OSError):
                        entry.unlink()

    def _files(self) -> Iterator[Tuple[str, int]]:
        """Path and size of each file worth keeping, in order."""
        for name in KEPT:
            for parent, folders, files in os.walk(self._local / name):
                folders.sort()
                for file in sorted(files):
                    path = Path(parent, file)
                    if _PASSING.fullmatch(file) or not path.is_file() or path.is_symlink():
                        continue
                    with suppress(OSError):
                        yield str(path.relative_to(self._local)), path.stat().st_size

    def _clear(self) -> None:
        for name in KEPT:
            shutil.rmtree(self._local / name, ignore_errors=True)


def key_of(*given: str) -> str:
    """Name the pods that a snapshot is good for: what the operator says, and this node's hardware.

    Kernels for processors use whatever this one has, so its model and its abilities count.
    """
    text = json.dumps([*given, *_accelerators(), _processor(_read(_CORES))])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _belongs(path: str) -> bool:
    kept = any(path.startswith(f"{name}/") for name in KEPT)
    return kept and not {"", ".", ".."} & set(path.split("/"))


def _accelerators() -> List[str]:
    """Return the products and the drivers, as far as the pod can see them."""
    found = [_line(_read(path), "Model") for path in sorted(_DRIVER.glob("gpus/*/information"))]
    found += [_read(_DRIVER / "version").partition("\n")[0]]
    amd = [_read(path) for path in sorted(_AMD.glob("*/properties"))]
    return found + [word for text in amd for word in re.findall(r"gfx_target_version \d+", text)]


def _processor(text: str) -> List[str]:
    return [_line(text, "model name"), _line(text, "flags") or _line(text, "Features")]


def _line(text: str, name: str) -> str:
    match = re.search(rf"^{name}\s*:\s*(.*)$", text, re.MULTILINE)
    return match.group(1).strip() if match else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while True:
        chunk = file.read(_CHUNK)
        if not chunk:
            return digest.hexdigest()
        digest.update(chunk)
