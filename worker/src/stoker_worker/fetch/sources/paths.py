"""Which names a file of a source may have. Pure.

A source is not trusted: a name from it becomes a path on a volume that others share. What is
refused here is refused whole, never repaired, so that no two names become one.
"""

from __future__ import annotations

from collections.abc import Iterable

from stoker_worker.cachecontract import MANIFEST, FetchReason
from stoker_worker.fetch.listing import Listing, RemoteFile
from stoker_worker.fetch.source import SourceError

MAX_PATH_BYTES = 1024
MAX_NAME_BYTES = 255
MAX_FILES = 100_000


def wrong_with(path: str) -> str:
    """Say why a relative path may not be written, or return an empty string."""
    if not path:
        return "is empty"
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return "is no valid text"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in path):
        return "has control characters"
    if "\\" in path:
        return "has a backslash"
    if path.startswith("/"):
        return "is absolute"
    names = path.split("/")
    if any(name in {"", ".", ".."} for name in names):
        return "leaves its folder, or has empty parts"
    if len(encoded) > MAX_PATH_BYTES or any(len(n.encode()) > MAX_NAME_BYTES for n in names):
        return "is too long"
    if names[0] == MANIFEST:
        return "has the name of the cache's own manifest"
    return ""


def shown(path: str) -> str:
    """Return a path as it may stand in a message: short, and without control characters."""
    return ascii(path[:120])[1:-1]


def checked(revision: str, files: Iterable[RemoteFile], where: str) -> Listing:
    """Return a listing whose names are safe and none of which is in another's way.

    The order stays the source's: of a compressed archive it is the one to read in.
    """
    kept: dict[str, RemoteFile] = {}
    for file in files:
        wrong = wrong_with(file.path)
        if wrong:
            raise SourceError(
                FetchReason.SOURCE_INVALID, f"{where}: the file name {shown(file.path)} {wrong}"
            )
        if file.path in kept:
            raise SourceError(FetchReason.SOURCE_INVALID, f"{where} lists {shown(file.path)} twice")
        if file.size < 0:
            raise SourceError(
                FetchReason.SOURCE_INVALID, f"{where}: {shown(file.path)} has no size"
            )
        kept[file.path] = file
        if len(kept) > MAX_FILES:
            raise SourceError(
                FetchReason.SOURCE_TOO_LARGE, f"{where} has more than {MAX_FILES} files"
            )
    folders = {"/".join(p.split("/")[:n]) for p in kept for n in range(1, p.count("/") + 1)}
    both = folders & set(kept)
    if both:
        raise SourceError(
            FetchReason.SOURCE_INVALID,
            f"{where}: {shown(min(both))} is a file and a folder",
        )
    if not kept:
        raise SourceError(FetchReason.NO_MODEL, f"{where} has no files")
    return Listing(revision, tuple(kept.values()))
