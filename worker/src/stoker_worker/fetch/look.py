"""One look at a source: what it has, and what of it is wanted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from stoker_worker.cachecontract import RESOLVE, FetchConfig, FetchReason
from stoker_worker.fetch import words
from stoker_worker.fetch.errors import FetchError
from stoker_worker.fetch.listing import Image, RemoteFile
from stoker_worker.fetch.select import MOST_TEXT, select, to_read
from stoker_worker.fetch.source import Source, SourceError

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Look:
    """What a source has at one revision."""

    revision: str
    files: tuple[RemoteFile, ...]  # wanted, with the digests that the user demands
    listed: tuple[RemoteFile, ...]  # all
    image: Image

    @property
    def bytes(self) -> int:
        """Of the files that are wanted."""
        return sum(file.size for file in self.files)


def look_at(source: Source, config: FetchConfig) -> Look:
    """Ask a source once; FetchError, which may pass, says why there is no model to be had."""
    listing = source.list()
    if config.task != RESOLVE and config.revision and listing.revision != config.revision:
        raise FetchError(
            FetchReason.REVISION_NOT_FOUND,
            f"the source has revision {listing.revision[:80]!r} now, and {config.revision[:80]!r} "
            "was wanted; its files were changed since they were looked at",
        )
    texts = {file.path: _text(source, file) for file in to_read(listing.files)}
    selection = select(
        listing.files, texts, allow_pickle=config.allow_pickle, allow_code=config.allow_code
    )
    if config.max_bytes and selection.bytes > config.max_bytes:
        raise FetchError(
            FetchReason.SOURCE_TOO_LARGE,
            f"the model has {words.size(selection.bytes)}, and at most "
            f"{words.size(config.max_bytes)} are allowed",
        )
    files = _demanded(selection.files, config.digests)
    return Look(listing.revision, files, listing.files, listing.image)


def _text(source: Source, file: RemoteFile) -> bytes:
    if file.size > MOST_TEXT:
        raise FetchError(
            FetchReason.NO_MODEL,
            f"the source's {file.path} has {words.size(file.size)}, too much for its kind",
        )
    read = bytearray()
    with source.read(file, 0, None) as pieces:
        for piece in pieces:
            read += piece
            if len(read) > file.size:
                break
    if len(read) != file.size:
        raise SourceError(
            FetchReason.SOURCE_UNREACHABLE,
            f"{file.path}: expected {file.size} bytes, got {len(read)}",
            passes=True,
        )
    return bytes(read)


def _demanded(files: Sequence[RemoteFile], digests: Mapping[str, str]) -> tuple[RemoteFile, ...]:
    """Put the user's digests in the place of the source's own."""
    missing = sorted(set(digests) - {file.path for file in files})
    if missing:
        raise FetchError(
            FetchReason.DIGEST_MISMATCH,
            f"a digest is demanded of {missing[0]!r:.120}, which is not among the model's files",
        )
    for path, text in digests.items():
        if not _SHA256.fullmatch(text):
            raise FetchError(
                FetchReason.CONFIG_INVALID,
                f"the digest of {path!r:.120} is {text[:80]!r}, which is no sha256: write 64 "
                "hexadecimal digits in lower case",
            )
    demanded = []
    for file in files:
        digest: str | None = digests.get(file.path)
        if digest is not None and file.sha256 not in {None, digest}:
            raise FetchError(
                FetchReason.DIGEST_MISMATCH,
                f"{file.path}: expected sha256 {digest}, and the source says {file.sha256}",
            )
        demanded.append(file if digest is None else replace(file, sha256=digest))
    return tuple(demanded)
