"""The model's files are read while the engine imports its code: to prove them, and ahead of it.

To prove: a file that is not as it was when its manifest was written is hashed from end to end, and
the first one that is bad ends it all. What was hashed is in the page cache too, so this is no extra
reading as long as the files fit into memory.

Ahead: the rest, for the page cache. Advice alone would not do it: the kernel cuts one call of
`POSIX_FADV_WILLNEED` to the device's largest read, some MiB at most, whatever length it names.
So the bytes are really read, by a few threads that take slices from the front of the files in the
order of their names, for that is the order in which every rank of an engine goes through them, also
where each rank reads files of its own. What is in the page cache already is skipped, and at most
half of the container's memory is filled, since the page cache counts towards it.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable, List, Optional, Sequence, Tuple

from stoker_worker.contract import Termination
from stoker_worker.model import SUFFIX
from stoker_worker.proof import corrupt

if TYPE_CHECKING:
    from stoker_worker.manifest import ManifestFile

READERS = 4  # what a disk or a network file system needs to be busy
SLICE = 32 << 20
PIECE = 4 << 20
_PAGE = 4096
# The page cache counts towards the container's memory, so leave the engine the larger half.
_SHARE = 0.5
# The engine's own threads come first.
_NICE = 5


@dataclass(frozen=True)
class Slice:
    """A part of one file, in bytes."""

    path: Path
    offset: int
    length: int


def slices(files: Sequence[Tuple[Path, int]], most: Optional[int]) -> List[Slice]:
    """Cut files of known sizes into slices, in order, until `most` bytes are full."""
    left = sum(size for _, size in files) if most is None else most
    found: List[Slice] = []
    for path, size in files:
        for offset in range(0, size, SLICE):
            length = min(SLICE, size - offset)
            if length > left:
                return found
            left -= length
            found.append(Slice(path, offset, length))
    return found


class Reading:
    """Reads what has to be proven, then what is worth having in the page cache."""

    def __init__(
        self,
        folder: Path,
        suspects: Sequence[ManifestFile],
        *,
        ahead: bool,
        memory_bytes: Optional[int],
    ) -> None:
        self._folder = folder
        self._suspects = list(reversed(suspects))
        self._ahead = ahead
        self._memory = memory_bytes
        self._lock = threading.Lock()
        self._slices: Optional[List[Slice]] = None
        self._unproven = len(suspects)
        self._stop = threading.Event()
        self._judge: Callable[[Optional[Termination]], None] = lambda _: None
        self.fault: Optional[Termination] = None

    @property
    def unproven(self) -> bool:
        """Whether files are still to be hashed; a fault leaves it so."""
        return self._unproven > 0

    def start(self) -> None:
        """Begin; all of it happens in threads of its own."""
        for number in range(READERS):
            threading.Thread(target=self._run, name=f"reader-{number}", daemon=True).start()

    def tell(self, judge: Callable[[Optional[Termination]], None]) -> None:
        """Have the verdict told once: a fault, or None when every file is good."""
        with self._lock:
            self._judge = judge
            known = self.fault is not None
        if known:
            judge(self.fault)

    def _run(self) -> None:
        with suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while self.fault is None:
            suspect = self._next_suspect()
            if suspect is None:
                break
            self._take(self._hash(suspect))
        while self._ahead and self.fault is None:
            part = self._next_slice()
            if part is None:
                break
            with suppress(OSError):  # only a hint: the engine will say what is wrong
                _read(part)

    def _next_suspect(self) -> Optional[ManifestFile]:
        with self._lock:
            return self._suspects.pop() if self._suspects else None

    def _hash(self, suspect: ManifestFile) -> str:
        from stoker_worker.manifest import full_check  # noqa: PLC0415 - most starts hash nothing

        (checked,) = full_check(self._folder, [suspect], 1, stop=self._stop)
        return f"{suspect.path} {checked.fault}" if checked.fault else ""

    def _take(self, bad: str) -> None:
        with self._lock:
            if self.fault is not None:
                return
            if bad:
                self.fault = corrupt(bad)
                self._stop.set()
            else:
                self._unproven -= 1
            done = self.fault is not None or not self._unproven
            judge = self._judge
        if done:
            judge(self.fault)

    def _next_slice(self) -> Optional[Slice]:
        with self._lock:
            if self._slices is None:
                self._slices = list(reversed(self._worthwhile()))
            return self._slices.pop() if self._slices else None

    def _worthwhile(self) -> List[Slice]:
        try:
            files = [
                (file, file.stat().st_size) for file in sorted(self._folder.glob(f"*{SUFFIX}"))
            ]
        except OSError:
            return []
        return slices(files, None if self._memory is None else int(self._memory * _SHARE))


def _read(part: Slice) -> None:
    descriptor = os.open(part.path, os.O_RDONLY)
    try:
        if _is_cached(descriptor, part):
            return
        buffer = memoryview(bytearray(PIECE))
        offset, end = part.offset, part.offset + part.length
        while offset < end:
            count = os.preadv(descriptor, [buffer[: end - offset]], offset)
            if not count:
                return
            offset += count
    finally:
        os.close(descriptor)


def _is_cached(descriptor: int, part: Slice) -> bool:
    """Whether the slice is in the page cache, judged by its first and its last page."""
    page = bytearray(_PAGE)
    last = part.offset + max(0, part.length - _PAGE)
    try:
        return all(os.preadv(descriptor, [page], at, os.RWF_NOWAIT) for at in {part.offset, last})
    except OSError:  # not there, or a file system that cannot tell
        return False
