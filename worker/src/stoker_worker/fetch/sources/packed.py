"""Files inside archives, as a source has them: listed by one reading, given one by one.

The first reading hashes everything: the archive against the digest that was promised, and each file
inside, so that whoever reads a file later can prove that it came out of that very archive. A job
that only looks (`resolve`) jumps from header to header where nothing is compressed.

A file of an archive without compression is a range of it. In a compressed one a file is reached
only by unpacking all before it, so readers share one reading: it serves them in the order in which
their files lie (`_Shelf`), and begins anew only for a file that it has passed.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.listing import RemoteFile
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources.blobs import PLAIN, Blob, Jumping, Unpacked
from stoker_worker.fetch.sources.http import Reader
from stoker_worker.fetch.sources.tars import Member, Walk
from stoker_worker.fetch.sources.trees import Kept, Tree

# Configurations and indices are asked for right after the list, and would cost a reading each.
_SMALL_BYTES = 2**20
_SMALL_TOTAL = 16 * 2**20


class Packed:
    """The files of one archive, or of layers that lie over one another."""

    def __init__(
        self, blobs: Sequence[Blob], reader: Reader, where: str, *, image: bool, look: bool
    ) -> None:
        self._blobs = blobs
        self._reader = reader
        self._where = where
        self._image = image
        self._look = look
        self._files: Mapping[str, Kept] = {}
        self.top = ""  # the folder in which all that was listed lies
        self._small = 0
        self._shelves = [_Shelf(blob, reader) for blob in blobs]

    def list(self) -> Iterator[RemoteFile]:
        """Read the archives through; SourceError when one is not what was promised, or unsafe."""
        tree = Tree(self._where, image=self._image)
        self._small = 0
        for number, blob in enumerate(self._blobs):
            if self._look and blob.packing == PLAIN:
                self._glance(tree, number, blob)
            else:
                self._scan(tree, number, blob)
        self._files = tree.files()
        self.top = tree.top
        for path, kept in self._files.items():
            ranges = self._blobs[kept.blob].packing == PLAIN or kept.content is not None
            yield RemoteFile(path, kept.size, kept.sha256, ranges=ranges)

    @contextmanager
    def read(self, file: RemoteFile, start: int, end: int | None) -> Iterator[Iterator[bytes]]:
        """Stream a part of a file."""
        kept = self._files[file.path]
        blob = self._blobs[kept.blob]
        end = kept.size if end is None else min(end, kept.size)
        if kept.content is not None:
            yield iter((kept.content[start:end],))
        elif blob.packing == PLAIN:
            ask = replace(blob.ask, what=f"{file.path} in {blob.ask.what}")
            first = kept.offset
            with self._reader.bytes(ask, first + start, first + end, blob.size) as pieces:
                yield pieces
        else:
            with closing(self._shelves[kept.blob].read(kept, start, end)) as pieces:
                yield pieces

    def _glance(self, tree: Tree, number: int, blob: Blob) -> None:
        walk = Walk(Jumping(blob, self._reader), blob.ask.what)
        for index, member in _members(walk):
            tree.add(member, _kept(number, index, member))

    def _scan(self, tree: Tree, number: int, blob: Blob) -> None:
        with closing(Unpacked(blob, self._reader)) as unpacked:
            walk = Walk(unpacked, blob.ask.what)
            for index, member in _members(walk):
                kept = _kept(number, index, member)
                if not (member.folder or member.odd):
                    kept = self._hashed(kept, walk.content(member))
                tree.add(member, kept)
            unpacked.finish()

    def _hashed(self, kept: Kept, pieces: Iterator[bytes]) -> Kept:
        digest = hashlib.sha256()
        keep = kept.size <= min(_SMALL_BYTES, _SMALL_TOTAL - self._small)
        content = bytearray()
        for piece in pieces:
            digest.update(piece)
            if keep:
                content += piece
        self._small += len(content)
        return replace(kept, sha256=digest.hexdigest(), content=bytes(content) if keep else None)


def _members(walk: Walk) -> Iterator[tuple[int, Member]]:
    index = 0
    while (member := walk.following()) is not None:
        yield index, member
        index += 1


def _kept(number: int, index: int, member: Member) -> Kept:
    return Kept(number, index, member.size, member.offset, odd=member.odd)


class _Shelf:
    """One reading of a compressed archive, shared by those who want its members."""

    def __init__(self, blob: Blob, reader: Reader) -> None:
        self._blob = blob
        self._reader = reader
        self._changed = threading.Condition()
        self._wanted: list[int] = []
        self._taken = False
        # Of the reading that is under way.
        self._unpacked: Unpacked | None = None
        self._walk: Walk | None = None
        self._next = 0  # index of the member that `following` gives next

    def read(self, kept: Kept, start: int, end: int) -> Generator[bytes]:
        """Stream a member when it is its turn."""
        self._wait(kept.index)
        whole = False
        try:
            walk, member = self._reach(kept)
            at = 0
            for piece in walk.content(member):
                part = piece[max(0, start - at) : max(0, end - at)]
                at += len(piece)
                if at >= member.size:
                    whole = True  # also when the last piece is never taken
                if part:
                    yield part
            whole = True
        finally:
            if not whole:
                self._drop()
            with self._changed:
                self._taken = False
                self._changed.notify_all()

    def _wait(self, index: int) -> None:
        with self._changed:
            self._wanted.append(index)
            self._changed.wait_for(lambda: not self._taken and self._turn() == index)
            self._wanted.remove(index)
            self._taken = True

    def _turn(self) -> int:
        """The nearest member ahead, or the first of all when none is."""
        ahead = [index for index in self._wanted if index >= self._next]
        return min(ahead or self._wanted)

    def _reach(self, kept: Kept) -> tuple[Walk, Member]:
        if self._walk is None or self._next > kept.index:
            self._drop()
            self._unpacked = Unpacked(self._blob, self._reader)
            self._walk = Walk(self._unpacked, self._blob.ask.what)
        member = None
        while self._next <= kept.index:
            member = self._walk.following()
            if member is None:
                break
            self._next += 1
        if member is None or (member.size, member.offset) != (kept.size, kept.offset):
            raise SourceError(
                FetchReason.DIGEST_MISMATCH,
                f"{self._blob.ask.what} has changed since it was listed",
            )
        return self._walk, member

    def _drop(self) -> None:
        if self._unpacked is not None:
            self._unpacked.close()
        self._unpacked = self._walk = None
        self._next = 0
