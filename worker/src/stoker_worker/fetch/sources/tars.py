"""Tar archives read from their start, member by member, believing nothing that they say.

`tarfile` parses a header (`TarInfo.frombuf`), and no more: its reader follows links, and takes what
a header says of its own length into memory. Here a link is only ever named, names are judged by who
keeps files, and every number has a limit.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.source import SourceError

BLOCK = 512
MAX_MEMBERS = 200_000
_MAX_META_BYTES = 2**20  # of one long name or one set of attributes
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)


class Bytes(Protocol):
    """An archive's bytes, once, from the start."""

    def take(self, count: int) -> bytes:
        """Return exactly so many bytes, or fewer at the end."""
        ...

    def pieces(self, count: int) -> Iterator[bytes]:
        """Stream exactly so many bytes; SourceError when they end before."""
        ...

    def skip(self, count: int) -> None:
        """Pass over so many bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """What a header says. Everything that is neither file nor folder has a word for what it is."""

    name: str  # without a leading ./ and a final slash; judged by nobody
    size: int  # bytes; 0 for what has none
    offset: int  # of the first byte, in the archive without compression
    folder: bool = False
    odd: str = ""  # "a link", "a device", …


class Walk:
    """Goes through an archive: `following` gives the next member, `content` its bytes."""

    def __init__(self, archive: Bytes, what: str) -> None:
        self._archive = archive
        self._what = what
        self._at = 0
        self._left = 0  # of the member and its padding
        self._count = 0

    def following(self) -> Member | None:
        """Pass over what is left of the last member; return the next, or None after the last."""
        self._pass(self._left)
        self._left = 0
        attributes: dict[str, str] = {}
        while True:
            block = self._take(BLOCK)
            if not block.strip(b"\0"):
                return None  # the end, with zeros or without
            info = self._header(block)
            if info.type in {tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE}:
                attributes |= _attributes(self._meta(info.size), self._what)
            elif info.type == tarfile.XGLTYPE:
                told = _attributes(self._meta(info.size), self._what)
                if {"path", "size", "linkpath"} & set(told):
                    raise _unsafe(self._what, "gives all its members one name or size")
            elif info.type == tarfile.GNUTYPE_LONGNAME:
                attributes["path"] = self._meta(info.size).rstrip(b"\0").decode(errors="replace")
            elif info.type == tarfile.GNUTYPE_LONGLINK:
                self._meta(info.size)
            else:
                return self._member(info, attributes)

    def content(self, member: Member) -> Iterator[bytes]:
        """Stream the member that `following` gave last."""
        for piece in self._archive.pieces(member.size):
            self._left -= len(piece)
            self._at += len(piece)
            yield piece

    def _header(self, block: bytes) -> tarfile.TarInfo:
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "replace")
        except tarfile.HeaderError:
            raise _unsafe(self._what, "is damaged, or no tar archive") from None

    def _member(self, info: tarfile.TarInfo, attributes: dict[str, str]) -> Member:
        self._count += 1
        if self._count > MAX_MEMBERS:
            raise SourceError(
                FetchReason.ARCHIVE_UNSAFE, f"{self._what} has more than {MAX_MEMBERS} members"
            )
        if any(name.startswith("GNU.sparse") for name in attributes):
            raise _unsafe(self._what, "has sparse files: pack it without --sparse")
        size = _number(attributes["size"], self._what) if "size" in attributes else info.size
        name = attributes.get("path", info.name)
        if size < 0:
            raise _unsafe(self._what, "has a member with a negative size")
        folder = info.isdir() or name.endswith("/")
        odd = "" if folder or info.type in _FILES else _word(info)
        if odd or folder:
            size = 0 if info.type not in _FILES else size
        member = Member(_bare(name), size, self._at, folder=folder, odd=odd)
        self._left = -(-size // BLOCK) * BLOCK
        return member

    def _meta(self, size: int) -> bytes:
        if not 0 <= size <= _MAX_META_BYTES:
            raise _unsafe(self._what, "has a name or attributes of absurd length")
        padded = -(-size // BLOCK) * BLOCK
        return self._take(padded)[:size]

    def _take(self, count: int) -> bytes:
        taken = self._archive.take(count)
        self._at += len(taken)
        if taken and len(taken) < count:
            raise _unsafe(self._what, "is cut off")
        return taken

    def _pass(self, count: int) -> None:
        if count:
            self._archive.skip(count)
            self._at += count


def _bare(name: str) -> str:
    while name.startswith("./"):
        name = name[2:].lstrip("/") if name != "./" else ""
    return "" if name == "." else name.rstrip("/") if name.strip("/") else name


def _word(info: tarfile.TarInfo) -> str:
    if info.issym() or info.islnk():
        return "a link"
    if info.type == tarfile.GNUTYPE_SPARSE:
        return "a sparse file"
    return "a device or a pipe" if info.isdev() else "of a kind that is unknown"


def _attributes(raw: bytes, what: str) -> dict[str, str]:
    """Parse records `LENGTH KEY=VALUE` (POSIX.1-2001, pax)."""
    found: dict[str, str] = {}
    while raw:
        digits, blank, _ = raw[:20].partition(b" ")
        if not blank or not digits.isdigit():
            raise _unsafe(what, "has attributes that cannot be read")
        length = int(digits)
        record = raw[len(digits) + 1 : length]
        if length <= len(digits) + 1 or not record.endswith(b"\n"):
            raise _unsafe(what, "has attributes that cannot be read")
        key, _, value = record[:-1].partition(b"=")
        found[key.decode(errors="replace")] = value.decode(errors="replace")
        raw = raw[length:]
    return found


def _number(text: str, what: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise _unsafe(what, "has a size that is no number")
    return int(text)


def _unsafe(what: str, how: str) -> SourceError:
    return SourceError(FetchReason.ARCHIVE_UNSAFE, f"{what} {how}")
