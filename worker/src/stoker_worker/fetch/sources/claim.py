"""pvc://CLAIM/FOLDER: files of another claim, which is mounted read-only beside the volume.

Others may write there while we read. A link leads within the claim or nowhere, and every folder on
the way is opened without following links, so that no file of the job's own pod can be read by
exchanging a folder for a link at the right moment.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stoker_worker.cachecontract import FetchConfig, FetchReason
from stoker_worker.fetch.listing import Listing, RemoteFile
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources.paths import checked, shown, wrong_with

_PIECE_BYTES = 2**20
_CLAIM = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")


@dataclass(frozen=True, slots=True)
class _Found:
    real: Path
    """Where the file is, without links; absolute."""
    state: tuple[int, int, int, int]
    """Device, inode, size and time of change."""


class ClaimSource:
    """A folder of a claim."""

    def __init__(self, config: FetchConfig, source_dir: Path) -> None:
        self._uri = config.uri
        self._root = source_dir.resolve()
        self._folder = _folder(config.uri)
        self._revision = config.revision
        self._found: dict[str, _Found] = {}

    def list(self) -> Listing:
        """Walk the folder. The revision is a digest over paths, sizes and times."""
        top = self._root / self._folder
        if not self._inside(top) or not top.is_dir():
            raise SourceError(
                FetchReason.SOURCE_NOT_FOUND, f"{self._uri}: the claim has no such folder"
            )
        found = {path.relative_to(top).as_posix(): self._look(path) for path in sorted(_walk(top))}
        files = [RemoteFile(path, entry.state[2]) for path, entry in found.items()]
        told = "\n".join(f"{path}\0{e.state[2]}\0{e.state[3]}" for path, e in found.items())
        revision = f"listing:{hashlib.sha256(told.encode(errors='surrogateescape')).hexdigest()}"
        if self._revision not in {"", revision}:
            raise SourceError(
                FetchReason.REVISION_NOT_FOUND,
                f"{self._uri} has changed since it was pinned: leave the revision out to take what "
                "is there now",
            )
        self._found = found
        return checked(revision, files, self._uri)

    @contextmanager
    def read(self, file: RemoteFile, start: int, end: int | None) -> Iterator[Iterator[bytes]]:
        """Stream a part of a file; SourceError when it is no longer the file that was listed."""
        found = self._found[file.path]
        end = file.size if end is None else end
        handle = self._open(found, file.path)
        try:
            yield self._pieces(handle, found, file.path, start, end)
        finally:
            os.close(handle)

    def _pieces(
        self, handle: int, found: _Found, path: str, start: int, end: int
    ) -> Iterator[bytes]:
        self._check(handle, found, path)
        while start < end:
            try:
                piece = os.pread(handle, min(_PIECE_BYTES, end - start), start)
            except OSError as error:
                raise self._unreadable(path, error) from None
            if not piece:
                break
            start += len(piece)
            yield piece
        self._check(handle, found, path)

    def _open(self, found: _Found, path: str) -> int:
        """Open a file folder by folder, following no link."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        *folders, name = found.real.relative_to(self._root).parts
        steps = [*((folder, os.O_DIRECTORY) for folder in folders), (name, os.O_NONBLOCK)]
        try:
            handle = os.open(self._root, flags | os.O_DIRECTORY)
            for step, more in steps:
                above = handle
                try:
                    handle = os.open(step, flags | more, dir_fd=above)
                finally:
                    os.close(above)
        except OSError as error:
            raise self._unreadable(path, error) from None
        return handle

    def _unreadable(self, path: str, error: OSError) -> SourceError:
        return SourceError(
            FetchReason.SOURCE_UNREACHABLE,
            f"{self._uri}: {shown(path)} cannot be read ({error.strerror})",
        )

    def _check(self, handle: int, found: _Found, path: str) -> None:
        if _state(os.fstat(handle)) != found.state:
            raise SourceError(
                FetchReason.DIGEST_MISMATCH, f"{self._uri}: {shown(path)} changes while it is read"
            )

    def _look(self, path: Path) -> _Found:
        try:
            real = path.resolve(strict=True)
            entry = real.stat()
        except (OSError, RuntimeError):
            raise self._forbidden(path, "is a link that leads nowhere") from None
        if not real.is_relative_to(self._root):
            raise self._forbidden(path, "is a link that leads out of the claim")
        if not stat.S_ISREG(entry.st_mode):
            raise self._forbidden(path, "is no ordinary file")
        return _Found(real, _state(entry))

    def _inside(self, path: Path) -> bool:
        try:
            return path.resolve(strict=True).is_relative_to(self._root)
        except (OSError, RuntimeError):
            return False

    def _forbidden(self, path: Path, what: str) -> SourceError:
        inside = path.relative_to(self._root).as_posix()
        return SourceError(FetchReason.SOURCE_FORBIDDEN, f"{self._uri}: {shown(inside)} {what}")


def _state(entry: os.stat_result) -> tuple[int, int, int, int]:
    return (entry.st_dev, entry.st_ino, entry.st_size, entry.st_mtime_ns)


def _walk(top: Path) -> Iterator[Path]:
    """Give everything but folders; a link to a folder counts as a file, and is refused as one."""
    for folder, names, files in os.walk(top):
        links = [name for name in names if (Path(folder) / name).is_symlink()]
        yield from (Path(folder) / name for name in [*files, *links])


def _folder(uri: str) -> str:
    claim, _, folder = uri.removeprefix("pvc://").partition("/")
    folder = folder.rstrip("/")
    if not _CLAIM.match(claim) or (folder and wrong_with(folder)):
        raise SourceError(
            FetchReason.SOURCE_INVALID,
            f"{uri[:100]!r}: write pvc://CLAIM/FOLDER, where FOLDER is relative and has no '..'",
        )
    return folder
