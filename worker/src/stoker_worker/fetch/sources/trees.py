"""What archives and layers leave in a folder: later over earlier, less what was taken away. Pure.

models/config.json          of a layer, stays
models/.wh.old.bin          takes old.bin of earlier layers away   (OCI image layers alone)
models/.wh..wh..opq         takes all of earlier layers in models/ away
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.source import SourceError
from stoker_worker.fetch.sources.paths import shown
from stoker_worker.fetch.sources.tars import Member

IMAGE_FOLDER = "models"
_TAKES = ".wh."
_TAKES_ALL = ".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a file's bytes are."""

    blob: int  # which of several, from 0
    index: int  # which member of it, from 0
    size: int  # bytes
    offset: int  # in the blob without compression
    sha256: str | None = None
    content: bytes | None = None  # of a small file that was read on the way
    odd: str = ""  # what it is, where it is no file


class Tree:
    """Takes members in order; says what is there in the end."""

    def __init__(self, where: str, *, image: bool) -> None:
        self._where = where
        self._image = image
        self._kept: dict[str, Kept] = {}
        self._folders: set[str] = set()
        self.top = ""  # the folder that `files` left out of its paths; '' for none

    def add(self, member: Member, kept: Kept) -> None:
        """Put a member in its place; SourceError for a name that leaves the folder."""
        path = member.name
        if path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise SourceError(
                FetchReason.ARCHIVE_UNSAFE,
                f"{self._where}: the member {shown(path)} leaves the archive's folder",
            )
        if not path:
            return
        folder, _, name = path.rpartition("/")
        if self._image and name.startswith(_TAKES):
            below = folder if name == _TAKES_ALL else f"{folder}/{name[len(_TAKES) :]}".lstrip("/")
            self._remove(below, kept.blob, itself=name != _TAKES_ALL)
            return
        parts = path.split("/")
        above = ["/".join(parts[:n]) for n in range(1, len(parts))]
        for each in above:
            self._kept.pop(each, None)  # a folder where a file was
        self._folders.update(above)
        if member.folder:
            self._kept.pop(path, None)
            self._folders.add(path)
            return
        if path in self._folders:
            self._remove(path, kept.blob + 1, itself=True)
            self._folders.discard(path)
        self._kept.pop(path, None)  # the order is that of the archives
        self._kept[path] = kept

    def _remove(self, path: str, before: int, *, itself: bool) -> None:
        """Take away what blobs below `before` left at a path or under it."""
        inside = f"{path}/" if path else ""
        gone = [
            each
            for each, kept in self._kept.items()
            if kept.blob < before and ((itself and each == path) or each.startswith(inside))
        ]
        for each in gone:
            del self._kept[each]

    def files(self) -> Mapping[str, Kept]:
        """Return the files of the model, by their path below its folder.

        Of an image that has a folder `models`, only that; then folders that hold all there is go.
        """
        found = self._kept
        inside = {path: kept for path, kept in found.items() if path.startswith(f"{IMAGE_FOLDER}/")}
        if self._image and inside:
            found = inside
        odd = next((path for path, kept in sorted(found.items()) if kept.odd), None)
        if odd is not None:
            todo = (
                f"put the files themselves into /{IMAGE_FOLDER} of the image"
                if self._image
                else "pack the files themselves (tar --dereference)"
            )
            raise SourceError(
                FetchReason.ARCHIVE_UNSAFE,
                f"{self._where}: {shown(odd)} is {found[odd].odd}: {todo}",
            )
        tops = []
        while (top := _only_folder(found)) is not None:
            tops.append(top)
            found = {path.removeprefix(f"{top}/"): kept for path, kept in found.items()}
        self.top = "/".join(tops)
        return found


def _only_folder(paths: Mapping[str, Kept]) -> str | None:
    """Return the folder that holds everything, if there is one."""
    tops = {path.partition("/")[0] for path in paths}
    top = min(tops, default=None)
    return top if len(tops) == 1 and top not in paths else None
