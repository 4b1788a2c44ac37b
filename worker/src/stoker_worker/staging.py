"""The weights are copied into memory before the engine starts, and proven there.

For volumes whose files are slow to map: the engine asks for pages here and there, and each is a
question to a server. Read in order by a few threads, the same bytes come at the server's own speed,
and what is mapped is memory. An init container does it, so nobody's probe counts the time, and an
engine that starts again finds the weights there.

    /models/NAME                 as it is mounted
    /staged/NAME/*.safetensors   copies; hashed where the model has a manifest
    /staged/NAME/*               links to everything else
"""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import List, Optional, Tuple

from stoker_worker.cachecontract import MANIFEST
from stoker_worker.contract import Termination, TerminationReason
from stoker_worker.lastwords import say
from stoker_worker.manifest import ManifestError, full_check, read_manifest
from stoker_worker.model import SUFFIX
from stoker_worker.proof import corrupt
from stoker_worker.reading import PIECE, READERS, Slice, slices

_MIB = 1 << 20


def stage(model: Path, target: Path) -> Optional[Termination]:
    """Copy the weights of a model's folder; None once they are there and good."""
    began = time.monotonic()
    try:
        weights = sorted(path for path in model.iterdir() if _is_weights(path))
        files = [(path, path.stat().st_size) for path in weights]
        # What an init container that was ended left is not believed.
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        _link(model, target)
        _copy(target, files)
    except OSError as error:
        return _failed(model, error)
    fault = _prove(model, target, [path.name for path in weights])
    if fault is not None:
        return fault
    size = sum(length for _, length in files)
    took = time.monotonic() - began
    say(f"{len(files)} files, {size / _MIB:.0f} MiB, are in memory after {took:.1f} s")
    return None


def _is_weights(path: Path) -> bool:
    return path.name.endswith(SUFFIX) and path.is_file()


def _link(model: Path, target: Path) -> None:
    """Not the manifest: it tells of other files than these, which were proven already."""
    for path in model.iterdir():
        if not _is_weights(path) and path.name != MANIFEST:
            (target / path.name).symlink_to(path)


def _copy(target: Path, files: List[Tuple[Path, int]]) -> None:
    for path, size in files:
        with (target / path.name).open("wb") as made:
            if size:
                os.posix_fallocate(made.fileno(), 0, size)  # room, or no first byte
    with ThreadPoolExecutor(READERS, "stage") as pool:
        list(pool.map(lambda part: _copy_slice(target, part), slices(files, None)))


def _copy_slice(target: Path, part: Slice) -> None:
    source = os.open(part.path, os.O_RDONLY)
    sink = os.open(target / part.path.name, os.O_WRONLY)
    try:
        buffer = memoryview(bytearray(PIECE))
        offset, end = part.offset, part.offset + part.length
        while offset < end:
            count = os.preadv(source, [buffer[: end - offset]], offset)
            if not count:
                raise OSError(5, f"{part.path.name} ends at byte {offset}")
            written = 0
            while written < count:
                written += os.pwrite(sink, buffer[written:count], offset + written)
            offset += count
        # The copy is what is read from here on; the page cache need not hold both.
        os.posix_fadvise(source, part.offset, part.length, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(sink)
        os.close(source)


def _prove(model: Path, target: Path, names: List[str]) -> Optional[Termination]:
    if not (model / MANIFEST).exists():
        return None  # the user's own folder
    try:
        known = {file.path: file for file in read_manifest(model).files}
    except ManifestError as error:
        return corrupt(str(error))
    foreign = [name for name in names if name not in known]
    if foreign:
        return corrupt(f"{foreign[0]} is not in the manifest")
    threads = max(1, min(READERS, len(os.sched_getaffinity(0))))
    for checked in full_check(target, [known[name] for name in names], threads):
        if checked.fault:
            return corrupt(f"{checked.file.path} {checked.fault}")
    return None


def _failed(model: Path, error: OSError) -> Termination:
    return Termination(
        TerminationReason.MODEL_INVALID,
        f"the weights of {model} cannot be copied into memory: {error.strerror or error}; check "
        "the folder, and leave optimization.staging out where memory is short",
    )
