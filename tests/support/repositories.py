"""Repositories as a hub keeps them: commits, which are trees of files, and branches."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LFS_SUFFIXES = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".model", ".pkl"}
LFS_SIZE = 10_000_000


@dataclass(frozen=True)
class Blob:
    """One file of a commit."""

    file: Path
    size: int
    sha256: str
    oid: str
    """Git's own digest: of the file, or of the pointer that LFS keeps in its place."""
    pointer_size: int
    """0 for a file that Git has itself."""

    @staticmethod
    def of(file: Path, sha256: str = "") -> Blob:
        """Read a file; a digest that is known already saves the reading."""
        size = file.stat().st_size
        if not sha256:
            with file.open("rb") as opened:
                sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        if size < LFS_SIZE and file.suffix not in LFS_SUFFIXES:
            return Blob(file, size, sha256, _git_digest(file.read_bytes()), 0)
        pointer = (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
        ).encode()
        return Blob(file, size, sha256, _git_digest(pointer), len(pointer))

    @property
    def etag(self) -> str:
        """What both hosts call the content."""
        return f'"{self.sha256 if self.pointer_size else self.oid}"'

    def listed(self, path: str) -> dict[str, Any]:
        """As a page of a tree has it."""
        entry: dict[str, Any] = {"type": "file", "oid": self.oid, "size": self.size, "path": path}
        if self.pointer_size:
            entry["lfs"] = {
                "oid": self.sha256,
                "size": self.size,
                "pointerSize": self.pointer_size,
            }
        return entry

    def sibling(self, path: str, *, blobs: bool) -> dict[str, Any]:
        """As the facts of a repository have it."""
        entry: dict[str, Any] = {"rfilename": path}
        if blobs:
            entry |= {"size": self.size, "blobId": self.oid}
            if self.pointer_size:
                facts = {"sha256": self.sha256, "size": self.size}
                entry["lfs"] = {**facts, "pointerSize": self.pointer_size}
        return entry


@dataclass
class Repository:
    """A repository: commits, and names for them."""

    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    readers: set[str] = field(default_factory=set)
    """Tokens that may read what is private or gated."""

    def find(self, revision: str) -> str | None:
        """The commit of a branch, or of a commit's own name."""
        return self.branches.get(revision, revision if revision in self.commits else None)


def entries_of(
    tree: Mapping[str, Blob], below: str, *, recursive: bool
) -> Iterator[dict[str, Any]]:
    """What a tree's page lists below a folder."""
    start = f"{below}/" if below else ""
    folders = set()
    for path, blob in sorted(tree.items()):
        if not path.startswith(start):
            continue
        *parents, _ = path.removeprefix(start).split("/")
        for depth in range(1, (len(parents) if recursive else min(1, len(parents))) + 1):
            folder = start + "/".join(parents[:depth])
            if folder not in folders:
                folders.add(folder)
                oid = _git_digest(folder.encode())
                yield {"type": "directory", "oid": oid, "size": 0, "path": folder}
        if recursive or not parents:
            yield blob.listed(path)


def _git_digest(content: bytes) -> str:
    told = f"blob {len(content)}\0".encode() + content
    return hashlib.sha1(told, usedforsecurity=False).hexdigest()
