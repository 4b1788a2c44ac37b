"""What a source has: its files at one pinned revision."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a source, by what the source promises of it."""

    path: str  # relative, with slashes, as the source says it; nobody has checked it
    size: int  # bytes
    sha256: str | None = None  # hexadecimal, lower case
    git_sha1: str | None = None  # of a git blob, where the source tells no sha256
    # Whether bytes from the middle cost no more than bytes from the start. Where not (a compressed
    # archive), the file is read once, from its start, by one reader.
    ranges: bool = True


@dataclass(frozen=True, slots=True)
class Image:
    """How a container runtime can mount the source, or why it cannot."""

    reference: str = ""  # by its digest
    folder: str = ""  # where the model lies in it; '' for its root
    unmountable: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a source at one revision."""

    # Pinned: a commit, an OCI digest, a version, or a digest over the listing.
    revision: str
    files: tuple[RemoteFile, ...]
    image: Image = Image()
