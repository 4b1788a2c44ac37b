"""One file of a transfer: what is wanted, what is there, and its hash as far as it has been read.

Not locked: the board changes it while it holds its own lock, but for `hasher` and what is taken out
of `kept`, which belong to the one thread that hashes the file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from stoker_worker.fetch.chunks import CHUNK, Chunks
from stoker_worker.fetch.journal import Recorded
from stoker_worker.fetch.listing import RemoteFile


class Hasher:
    """sha256 of a file and, where that is all that a source promises, git's digest of it."""

    def __init__(self, size: int, *, git: bool) -> None:
        self._sha256 = hashlib.sha256()
        self._git = hashlib.sha1(usedforsecurity=False) if git else None
        if self._git is not None:
            self._git.update(b"blob %d\0" % size)

    def update(self, piece: memoryview) -> None:
        """Go on."""
        self._sha256.update(piece)
        if self._git is not None:
            self._git.update(piece)

    def copy(self) -> Hasher:
        """Return one that goes on from here by itself."""
        other = Hasher(0, git=False)
        other._sha256 = self._sha256.copy()
        other._git = None if self._git is None else self._git.copy()
        return other

    @property
    def sha256(self) -> str:
        """Of what was read so far."""
        return self._sha256.hexdigest()

    @property
    def git_sha1(self) -> str:
        """Of what was read so far, or nothing."""
        return "" if self._git is None else self._git.hexdigest()


# Of a file; a journal lies on a volume that others write, and must not fill the memory.
_MOST_CHUNKS = 1_000_000


def _absurd(recorded: Recorded) -> bool:
    return recorded.size // recorded.chunk > _MOST_CHUNKS


@dataclass(slots=True, eq=False)
class FileWork:
    """A file on its way."""

    number: int  # its place in the journal
    remote: RemoteFile
    chunks: Chunks
    hasher: Hasher
    recorded: dict[int, str] = field(default_factory=dict)  # digests that an earlier job saw
    resumed: bool = False  # some of it is an earlier job's
    connections: int = 0
    hashed: int = 0  # chunks
    hashing: bool = False
    spoiled: str = ""  # what is wrong with it; it begins again once nobody writes to it any more
    mismatches: int = 0
    verified: bool = False  # the bytes are what was promised
    dirty: bool = False  # written since it was last synced
    kept: dict[int, memoryview] = field(default_factory=dict)  # chunks that wait for their hash

    @staticmethod
    def of(number: int, remote: RemoteFile, recorded: Recorded | None) -> FileWork:
        """Begin, or go on with what an earlier job recorded."""
        git = remote.sha256 is None and remote.git_sha1 is not None
        hasher = Hasher(remote.size, git=git)
        if recorded is None or recorded.size != remote.size or _absurd(recorded):
            return FileWork(number, remote, Chunks(remote.size, CHUNK), hasher)
        chunks = Chunks(remote.size, recorded.chunk)
        for index in recorded.done:
            if 0 <= index < chunks.count:
                chunks.finish(index)
        digests = {i: d for i, d in recorded.digests.items() if i in recorded.done}
        resumed = chunks.done_bytes() > 0
        return FileWork(number, remote, chunks, hasher, digests, resumed)

    def begin_again(self) -> None:
        """Forget every byte."""
        self.chunks = Chunks(self.remote.size, self.chunks.chunk)
        self.hasher = Hasher(self.remote.size, git=bool(self.hasher.git_sha1))
        self.recorded = {}
        self.resumed = False
        self.hashed = 0
        self.spoiled = ""

    def can_hash(self) -> bool:
        """Whether the next chunk in order is there, or all are hashed and nobody judged yet."""
        if self.hashing or self.verified or self.spoiled:
            return False
        return self.hashed == self.chunks.count or self.chunks.is_done(self.hashed)

    def record(self) -> Recorded:
        """What the journal should say of it."""
        done = {index for index in range(self.chunks.count) if self.chunks.is_done(index)}
        return Recorded(self.chunks.size, self.chunks.chunk, done, dict(self.recorded))

    def fault(self) -> str:
        """Say how its digest, now that all is read, differs from what was promised; or nothing."""
        promised, got = self.remote.sha256, self.hasher.sha256
        if promised is not None:
            return "" if got == promised else f"expected sha256 {promised}, got {got}"
        promised, got = self.remote.git_sha1, self.hasher.git_sha1
        if promised is not None:
            return "" if got == promised else f"expected the git digest {promised}, got {got}"
        return ""
