"""A source that is a folder on this machine, with the faults that real ones have."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.listing import Listing, RemoteFile
from stoker_worker.fetch.source import SourceError

REVISION = "0123456789abcdef0123456789abcdef01234567"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324 - git's own


@dataclass
class FolderSource:
    """Gives what is in a folder; counts what it gave."""

    folder: Path
    revision: str = REVISION
    promise: str = "sha256"  # or git_sha1, or nothing
    piece: int = 1 << 18
    ranges: bool = True
    # Called before each piece with the path and the piece's place; may raise.
    fault: Callable[[str, int], None] | None = None
    # Changes what is sent.
    change: Callable[[str, int, bytes], bytes] | None = None
    listings: int = 0
    given: list[tuple[str, int, int]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def list(self) -> Listing:
        self.listings += 1
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return Listing(self.revision, tuple(self._file(path) for path in paths))

    def _file(self, path: Path) -> RemoteFile:
        data = path.read_bytes()
        return RemoteFile(
            path.relative_to(self.folder).as_posix(),
            len(data),
            sha256(data) if self.promise == "sha256" else None,
            git_sha1(data) if self.promise == "git_sha1" else None,
            self.ranges,
        )

    @contextmanager
    def read(self, file: RemoteFile, start: int, end: int | None) -> Iterator[Iterator[bytes]]:
        assert self.ranges or not start, "this source reads from the start alone"
        yield self._pieces(file, start, file.size if end is None else end)

    def _pieces(self, file: RemoteFile, start: int, end: int) -> Iterator[bytes]:
        with (self.folder / file.path).open("rb") as opened:
            opened.seek(start)
            at = start
            while at < end:
                if self.fault is not None:
                    self.fault(file.path, at)
                piece = opened.read(min(self.piece, end - at))
                if not piece:
                    raise SourceError(
                        FetchReason.SOURCE_UNREACHABLE, f"{file.path} ended early", passes=True
                    )
                if self.change is not None:
                    piece = self.change(file.path, at, piece)
                with self._lock:
                    self.given.append((file.path, at, at + len(piece)))
                at += len(piece)
                yield piece

    def bytes_of(self, path: str = "") -> int:
        """Bytes that were given of one file, or of all."""
        return sum(end - at for name, at, end in self.given if path in {"", name})


def slowly(seconds: float) -> Callable[[str, int], None]:
    """Before each piece a pause."""

    def pause(path: str, at: int) -> None:
        del path, at
        time.sleep(seconds)

    return pause
