"""One packed file of a source: its bytes, hashed and unpacked while they come.

A blob is known by its sha256. Whoever reads it to the end knows whether it is that blob; whoever
reads a part of it knows nothing, so what is inside gets digests of its own on the first reading.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from backports import zstd

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources.http import Ask, Reader

PLAIN = ""
GZIP = "gzip"
ZSTD = "zstd"

STEP_BYTES = 2**20
# Weights hardly shrink. What grows so much, and so large, is made to fill a disk or to waste time.
BOMB_BYTES = 2**30
BOMB_RATIO = 200
_WINDOW_LOG = 27  # 128 MiB, what zstd allows itself without being asked for more


@dataclass(frozen=True, slots=True)
class Blob:
    """Where a packed file is, and what it must be."""

    ask: Ask
    size: int  # bytes
    sha256: str
    packing: str  # PLAIN, GZIP or ZSTD


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def unpack(self, data: bytes) -> bytes: ...


class Unpacked:
    """A blob's bytes without their compression, once, from the start. Satisfies `tars.Bytes`."""

    def __init__(self, blob: Blob, reader: Reader) -> None:
        self.blob = blob
        self._stack = ExitStack()
        raw = self._stack.enter_context(reader.bytes(blob.ask, 0, None, blob.size))
        self._hash = hashlib.sha256()
        self._buffer = b""
        self._used = 0  # of the buffer
        self._pieces = _limited(_unpacked(_hashed(raw, self._hash), blob), blob)

    def close(self) -> None:
        """End the connection."""
        self._stack.close()

    def __del__(self) -> None:
        self.close()

    def take(self, count: int) -> bytes:
        """Return exactly so many bytes, or fewer at the end."""
        parts = []
        while count and (piece := self._some(count)):
            parts.append(piece)
            count -= len(piece)
        return b"".join(parts)

    def pieces(self, count: int) -> Iterator[bytes]:
        """Stream exactly so many bytes; SourceError when they end before."""
        while count:
            piece = self._some(count)
            if not piece:
                raise _unsafe(self.blob, "is cut off")
            count -= len(piece)
            yield piece

    def skip(self, count: int) -> None:
        """Pass over so many bytes."""
        for _ in self.pieces(count):
            pass

    def finish(self) -> None:
        """Read to the end, and see that it was the blob that was promised."""
        while self._some(STEP_BYTES):
            pass
        if self._hash.hexdigest() != self.blob.sha256:
            raise SourceError(
                FetchReason.DIGEST_MISMATCH,
                f"{self.blob.ask.what}: the source sends sha256 {self._hash.hexdigest()}",
            )

    def _some(self, most: int) -> bytes:
        if self._used == len(self._buffer):
            self._buffer, self._used = next(self._pieces, b""), 0
            if len(self._buffer) <= most:
                self._used = len(self._buffer)
                return self._buffer
        piece = self._buffer[self._used : self._used + most]
        self._used += len(piece)
        return piece


class Jumping:
    """The bytes of a blob without compression, fetched where they are looked at.

    For a first look at what is inside: headers are read and contents jumped over.
    """

    def __init__(self, blob: Blob, reader: Reader) -> None:
        self._blob = blob
        self._reader = reader
        self._at = 0

    def take(self, count: int) -> bytes:
        """Return exactly so many bytes, or fewer at the end."""
        return b"".join(self._range(count))

    def pieces(self, count: int) -> Iterator[bytes]:
        """Stream exactly so many bytes; SourceError when they end before."""
        if self._at + count > self._blob.size:
            raise _unsafe(self._blob, "is cut off")
        yield from self._range(count)

    def skip(self, count: int) -> None:
        """Jump; SourceError beyond the end."""
        if self._at + count > self._blob.size:
            raise _unsafe(self._blob, "is cut off")
        self._at += count

    def _range(self, count: int) -> Iterator[bytes]:
        end = min(self._at + count, self._blob.size)
        with self._reader.bytes(self._blob.ask, self._at, end, self._blob.size) as pieces:
            for piece in pieces:
                self._at += len(piece)
                yield piece


# Not methods: who forgets a reading closes its connection, which a cycle would put off.


def _hashed(raw: Iterator[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for piece in raw:
        digest.update(piece)
        yield piece


def _limited(pieces: Iterator[bytes], blob: Blob) -> Iterator[bytes]:
    given, most = 0, max(BOMB_BYTES, BOMB_RATIO * blob.size)
    for piece in pieces:
        given += len(piece)
        if given > most:
            raise _unsafe(blob, f"unpacks to more than {most} bytes: a bomb")
        if piece:
            yield piece


def _unpacked(raw: Iterator[bytes], blob: Blob) -> Iterator[bytes]:
    if blob.packing == PLAIN:
        yield from raw
        return
    make: Callable[[], _Unpacker] = _Gzip if blob.packing == GZIP else _Zstd
    unpacker = make()
    begun = False
    try:
        for data in raw:
            left = data
            while left:
                if unpacker.eof:  # members of gzip and frames of zstd follow one another
                    unpacker, begun = make(), False
                yield from _steps(unpacker, left)
                left, begun = unpacker.unused_data if unpacker.eof else b"", True
    except (zlib.error, zstd.ZstdError, ValueError) as error:
        raise _unsafe(blob, f"cannot be unpacked as {blob.packing} ({error})") from None
    if begun and not unpacker.eof:
        raise _unsafe(blob, "is cut off")


def _steps(unpacker: _Unpacker, data: bytes) -> Iterator[bytes]:
    """Unpack in steps of bounded size, so that a bomb never is in memory."""
    piece = unpacker.unpack(data)
    while piece:
        yield piece
        piece = b"" if unpacker.eof else unpacker.unpack(b"")


class _Gzip:
    """`zlib` under the names of `_Unpacker`."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def unpack(self, data: bytes) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, STEP_BYTES)


class _Zstd:
    """The same for zstd."""

    def __init__(self) -> None:
        options = {int(zstd.DecompressionParameter.window_log_max): _WINDOW_LOG}
        self._inner = zstd.ZstdDecompressor(options=options)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def unpack(self, data: bytes) -> bytes:
        return self._inner.decompress(data, STEP_BYTES)


def _unsafe(blob: Blob, how: str) -> SourceError:
    return SourceError(FetchReason.ARCHIVE_UNSAFE, f"{blob.ask.what} {how}")
