"""An image that a container runtime mounted: whether it is there, and an engine could load it.

The runtime compared the image with its digest when it pulled it, so nothing is hashed but the files
of which the user wrote down a digest. A kubelet that does not know image volumes mounts an empty
folder, or none.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from stoker_worker.cachecontract import FetchConfig, FetchReason
from stoker_worker.fetch.errors import FetchError
from stoker_worker.fetch.listing import RemoteFile
from stoker_worker.fetch.look import Look, look_at
from stoker_worker.fetch.source import Source

_PIECE = 4 << 20


def look_at_mounted(source: Source, config: FetchConfig, root: Path) -> Look:
    """List what an engine needs of it; FetchError says why it cannot be used."""
    folder = root / config.folder
    if not folder.is_dir() or not any(folder.iterdir()):
        raise FetchError(
            FetchReason.IMAGE_NOT_MOUNTED,
            f"the image has no folder /{config.folder} with a model in this pod: the node's "
            "kubelet or container runtime does not mount images (feature gate ImageVolume; "
            "containerd 2.1, CRI-O 1.31)",
        )
    # Its revision is the image's digest, which no look at files can tell.
    look = look_at(source, replace(config, revision=""))
    for file in look.files:
        _refuse_unreadable(folder / file.path, file.path)
    _compare(folder, (file for file in look.files if file.path in config.digests))
    return look


def _refuse_unreadable(path: Path, name: str) -> None:
    if not os.access(path, os.R_OK):
        raise FetchError(
            FetchReason.VOLUME_FAILED,
            f"{name} of the image cannot be read by user {os.getuid()}: build the image with "
            "files that everybody may read (chmod -R a+rX)",
        )


def _compare(folder: Path, files: Iterable[RemoteFile]) -> None:
    for file in files:
        digest = hashlib.sha256()
        with (folder / file.path).open("rb") as opened:
            while piece := opened.read(_PIECE):
                digest.update(piece)
        if digest.hexdigest() != file.sha256:
            raise FetchError(
                FetchReason.DIGEST_MISMATCH,
                f"{file.path}: expected sha256 {file.sha256}, and the image has it with "
                f"{digest.hexdigest()}",
            )
