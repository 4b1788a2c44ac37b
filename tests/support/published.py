"""A model's folder as a cache publishes it: with its manifest."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from stoker_worker.cachecontract import MANIFEST
from stoker_worker.manifest import Manifest, ManifestFile

if TYPE_CHECKING:
    from pathlib import Path


def publish(folder: Path) -> Manifest:
    """Write the manifest of what lies in the folder now."""
    files = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            data = path.read_bytes()
            entry = ManifestFile(
                str(path.relative_to(folder)), len(data), hashlib.sha256(data).hexdigest()
            )
            files.append(entry.of(path.stat()))
    manifest = Manifest("hf://org/tiny", "0" * 40, "test/tiny", keep=False, files=tuple(files))
    (folder / MANIFEST).write_text(manifest.to_json())
    return manifest


def flip_bit(path: Path, at: int) -> None:
    """Change one bit; size stays."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
