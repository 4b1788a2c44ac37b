"""Zip archives of a source: the directory at the end says what there is, one reading proves it.

`zipfile` reads the directory, through ranges. Then the archive is read once from its start, against
its digest, and each file inside gets a digest of its own; members that lie over one another, as
bombs have them, have no place in that. Later a file is a range of the archive, unpacked or not.
"""

from __future__ import annotations

import hashlib
import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.listing import RemoteFile
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources.blobs import BOMB_BYTES, BOMB_RATIO, STEP_BYTES, Blob, Unpacked
from stoker_worker.fetch.sources.http import Reader
from stoker_worker.fetch.sources.tars import MAX_MEMBERS, Member
from stoker_worker.fetch.sources.trees import Kept, Tree

if TYPE_CHECKING:
    from typing_extensions import Buffer

_WINDOW_BYTES = 2**20
_MAX_DIRECTORY_BYTES = 64 * 2**20
_LOCAL = struct.Struct("<4x22xHH")  # of a member's own header: the lengths of its name and extras
_MARK = b"PK\x03\x04"
_ENCRYPTED = 0x1
_UNREADABLE = (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, struct.error)


@dataclass(frozen=True, slots=True)
class _Place:
    header: int  # offset of the member's own header
    packed: int  # bytes in the archive
    deflated: bool
    data: int = 0  # offset of its bytes, once known


class Zipped:
    """The files of one archive. The same interface as `packed.Packed`."""

    def __init__(self, blob: Blob, reader: Reader, where: str, *, look: bool) -> None:
        self._blob = blob
        self._reader = reader
        self._where = where
        self._look = look
        self._files: Mapping[str, Kept] = {}
        self._places: list[_Place] = []

    def list(self) -> Iterator[RemoteFile]:
        """Read the directory and prove it; SourceError when it lies."""
        tree = Tree(self._where, image=False)
        members = self._directory()
        self._places = [place for _, place in members]
        digests = {} if self._look else self._prove([member for member, _ in members])
        for index, (member, place) in enumerate(members):
            sha256 = digests.get(index)
            kept = Kept(0, index, member.size, place.header, sha256, odd=member.odd)
            tree.add(member, kept)
        self._files = tree.files()
        for path, kept in self._files.items():
            deflated = self._places[kept.index].deflated
            yield RemoteFile(path, kept.size, kept.sha256, ranges=not deflated)

    @contextmanager
    def read(self, file: RemoteFile, start: int, end: int | None) -> Iterator[Iterator[bytes]]:
        """Stream a part of a file."""
        kept = self._files[file.path]
        place = self._found(kept.index)
        end = kept.size if end is None else min(end, kept.size)
        ask = replace(self._blob.ask, what=f"{file.path} in {self._where}")
        first, last = place.data, place.data + place.packed
        if not place.deflated:
            first, last = first + start, first + end
        with self._reader.bytes(ask, first, last, self._blob.size) as pieces:
            if place.deflated:
                yield _part(self._inflated(pieces, kept.size), start, end)
            else:
                yield pieces

    def _directory(self) -> Sequence[tuple[Member, _Place]]:
        try:
            with (
                _Window(self._blob, self._reader) as window,
                zipfile.ZipFile(window) as archive,
            ):
                infos = archive.infolist()
        except _UNREADABLE as error:
            raise self._unsafe(f"has no directory that can be read ({error})") from None
        if len(infos) > MAX_MEMBERS:
            raise self._unsafe(f"has more than {MAX_MEMBERS} members")
        if sum(info.file_size for info in infos) > max(BOMB_BYTES, BOMB_RATIO * self._blob.size):
            raise self._unsafe("unpacks to far more than it is: a bomb")
        return [self._member(info) for info in sorted(infos, key=lambda info: info.header_offset)]

    def _member(self, info: zipfile.ZipInfo) -> tuple[Member, _Place]:
        if info.flag_bits & _ENCRYPTED:
            raise self._unsafe("is encrypted: pack it without a password")
        if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise self._unsafe("is packed with a method other than deflate")
        mode = info.external_attr >> 16
        odd = "a link" if stat.S_ISLNK(mode) else ""
        deflated = info.compress_type == zipfile.ZIP_DEFLATED
        if not deflated and info.compress_size != info.file_size:
            raise self._unsafe("has a member with two sizes")
        name = info.orig_filename.removeprefix("./")
        member = Member(name.rstrip("/") or name, info.file_size, 0, folder=info.is_dir(), odd=odd)
        return member, _Place(info.header_offset, info.compress_size, deflated)

    def _prove(self, members: Sequence[Member]) -> dict[int, str]:
        """Read the archive once; return each member's digest."""
        digests: dict[int, str] = {}
        with closing(Unpacked(self._blob, self._reader)) as archive:
            at = 0
            for index, place in enumerate(self._places):
                if place.header < at:
                    raise self._unsafe("has members that lie over one another: a bomb")
                archive.skip(place.header - at)
                name, extra = self._local(archive.take(_LOCAL.size))
                archive.skip(name + extra)
                data = place.header + _LOCAL.size + name + extra
                digest = hashlib.sha256()
                pieces = archive.pieces(place.packed)
                size = members[index].size
                for piece in self._inflated(pieces, size) if place.deflated else pieces:
                    digest.update(piece)
                at = data + place.packed
                self._places[index] = replace(place, data=data)
                digests[index] = digest.hexdigest()
            archive.finish()
        return digests

    def _found(self, index: int) -> _Place:
        """Return where a member's bytes are; its own header knows."""
        place = self._places[index]
        if not place.data:
            end = min(place.header + _LOCAL.size, self._blob.size)
            ask = self._blob.ask
            with self._reader.bytes(ask, place.header, end, self._blob.size) as pieces:
                name, extra = self._local(b"".join(pieces))
            place = replace(place, data=place.header + _LOCAL.size + name + extra)
            self._places[index] = place
        return place

    def _local(self, raw: bytes) -> tuple[int, int]:
        if len(raw) < _LOCAL.size or not raw.startswith(_MARK):
            raise self._unsafe("has a directory that names what is not there")
        name, extra = _LOCAL.unpack(raw)
        return name, extra

    def _inflated(self, pieces: Iterator[bytes], size: int) -> Generator[bytes]:
        """Unpack a member of exactly `size` bytes."""
        inner, left = zlib.decompressobj(wbits=-15), size
        try:
            for data in pieces:
                piece = inner.decompress(data, STEP_BYTES)
                while piece:
                    left -= len(piece)
                    if left < 0:
                        raise self._unsafe("has a member that is larger than it says")
                    yield piece
                    piece = inner.decompress(inner.unconsumed_tail, STEP_BYTES)
        except zlib.error:
            raise self._unsafe("has a member that cannot be unpacked") from None
        if left or not inner.eof:
            raise self._unsafe("has a member that is smaller than it says")

    def _unsafe(self, how: str) -> SourceError:
        return SourceError(FetchReason.ARCHIVE_UNSAFE, f"{self._where} {how}")


class _Window(io.RawIOBase):
    """The blob as a file that can be sought in, for its directory: a window, moved by ranges."""

    def __init__(self, blob: Blob, reader: Reader) -> None:
        self._blob = blob
        self._reader = reader
        self._at = 0
        self._start = 0
        self._bytes = b""
        self._fetched = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._blob.size}[whence]
        if base + offset < 0:
            raise OSError("a place before the start")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)
        count = min(len(view), self._blob.size - self._at)
        if count <= 0:
            return 0
        end = self._start + len(self._bytes)
        if not self._start <= self._at < end:
            self._move()
        piece = self._bytes[self._at - self._start :][:count]
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _move(self) -> None:
        end = min(self._at + _WINDOW_BYTES, self._blob.size)
        self._fetched += end - self._at
        if self._fetched > _MAX_DIRECTORY_BYTES:
            raise OSError("too large")
        with self._reader.bytes(self._blob.ask, self._at, end, self._blob.size) as pieces:
            self._start, self._bytes = self._at, b"".join(pieces)


def _part(pieces: Generator[bytes], start: int, end: int) -> Iterator[bytes]:
    at = 0
    for piece in pieces:
        part = piece[max(0, start - at) : max(0, end - at)]
        at += len(piece)
        if part:
            yield part
