"""Tar archives: what Python writes is read, and whatever else comes is refused in one way."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources.tars import Member, Walk

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=120
).filter(lambda name: name not in {".", ".."})
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map("/".join)


class Memory:
    """An archive in memory."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def take(self, count: int) -> bytes:
        return self._file.read(count)

    def pieces(self, count: int) -> Iterator[bytes]:
        while count:
            piece = self._file.read(min(count, 100))
            if not piece:
                raise SourceError(FetchReason.ARCHIVE_UNSAFE, "is cut off")
            count -= len(piece)
            yield piece

    def skip(self, count: int) -> None:
        for _ in self.pieces(count):
            pass


def walked(content: bytes) -> list[tuple[Member, bytes]]:
    walk, found = Walk(Memory(content), "it"), []
    while (member := walk.following()) is not None:
        found.append((member, b"".join(walk.content(member))))
    return found


def reason(content: bytes) -> str:
    """Why it was refused, or nothing."""
    try:
        walked(content)
    except SourceError as error:
        return error.reason
    return ""


def packed(files: dict[str, bytes], kind: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@given(
    st.dictionaries(_PATHS, st.binary(max_size=1500), max_size=5),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_what_python_packs_is_read(files: dict[str, bytes], kind: int) -> None:
    archive = packed(files, kind)
    found = walked(archive)
    assert [content for _, content in found] == list(files.values())
    for (member, content), name in zip(found, files, strict=True):
        assert member.name.lstrip("./") == name.lstrip("./").rstrip("/")
        assert archive[member.offset : member.offset + member.size] == content


@given(st.binary(max_size=4000))
def test_whatever_comes_is_read_or_refused(content: bytes) -> None:
    assert reason(content) in {"", FetchReason.ARCHIVE_UNSAFE}


@given(st.data())
def test_an_archive_with_a_wrong_byte_is_read_or_refused(data: st.DataObject) -> None:
    archive = bytearray(packed({"a" * 150: b"x" * 700, "b": b"y"}, tarfile.PAX_FORMAT))
    for _ in range(3):
        archive[data.draw(st.integers(0, len(archive) - 1))] = data.draw(st.integers(0, 255))
    assert reason(bytes(archive)) in {"", FetchReason.ARCHIVE_UNSAFE}


def header(name: str, kind: bytes, size: int = 0, link: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a device or a pipe"),
        (tarfile.GNUTYPE_SPARSE, "a sparse file"),
        (b"?", "unknown"),
    ],
)
def test_what_is_no_file_has_a_word(kind: bytes, word: str) -> None:
    [(member, _)] = walked(header("x", kind, link="y"))
    assert word in member.odd
    assert member.size == 0


def attributes(**told: str) -> bytes:
    body = b""
    for key, value in told.items():
        record = f" {key.replace('_', '.')}={value}\n".encode()
        length = len(record) + 2
        body += f"{length}".encode() + record
    return header("pax", tarfile.XHDTYPE, len(body)) + body.ljust(512, b"\0")


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (header("x", tarfile.XHDTYPE, 10**10), "absurd length"),
        (header("x", tarfile.GNUTYPE_LONGNAME, 10**10), "absurd length"),
        (header("x", tarfile.XHDTYPE, 5) + b"99999".ljust(512, b"\0"), "cannot be read"),
        (attributes(GNU_sparse_major="1") + header("x", tarfile.REGTYPE), "sparse"),
        (attributes(size="1e9") + header("x", tarfile.REGTYPE), "no number"),
        (attributes(size="-5") + header("x", tarfile.REGTYPE), "no number"),
        (header("x", tarfile.REGTYPE, 600) + bytes(512), "cut off"),
        (header("x", tarfile.REGTYPE)[:300], "cut off"),
    ],
)
def test_an_archive_that_lies_is_refused(archive: bytes, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        walked(archive)
