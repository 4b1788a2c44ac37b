"""The base image: a small Debian with Python, made by debootstrap where no registry can be asked.

It stands for the public `python:…-slim` that the Dockerfile names by default, and it is the same
on every machine of one architecture apart from Debian's own security updates.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from e2e.cluster import buildah, host
from e2e.cluster.progress import Progress
from e2e.cluster.settings import ClusterError, architecture, cache

SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python3", "python3-venv")
MIRROR = "http://deb.debian.org/debian"
# Left behind by the package manager; no program reads them.
_BALLAST = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
)


def base_key() -> str:
    """Return the hash of what the base is made of."""
    return hashlib.sha256(f"{SUITE} {PACKAGES} {architecture()} 1".encode()).hexdigest()[:16]


def make_base() -> str:
    """Return the base image's tag in the store, making it once."""
    tag = f"localhost/stoker/base:{base_key()}"
    if buildah.has(tag):
        return tag
    # A mirror nearer to this machine; the image itself names the public one.
    mirror = os.environ.get("STOKER_DEBIAN_MIRROR", MIRROR)
    cache().mkdir(parents=True, exist_ok=True)
    with (
        Progress(f"base image: debootstrap {SUITE}"),
        tempfile.TemporaryDirectory(prefix="debian-", dir=cache()) as folder,
    ):
        root = Path(folder) / "root"
        options = ("--variant=minbase", f"--include={','.join(PACKAGES)}")
        try:
            host.run("debootstrap", *options, SUITE, root, mirror)
        except ClusterError as error:
            raise ClusterError(
                f"Debian could not be fetched from {mirror}: set STOKER_DEBIAN_MIRROR to a mirror "
                f"that answers ({error})"
            ) from error
        (root / "etc/apt/sources.list").write_text(f"deb {MIRROR} {SUITE} main\n")
        for path in _BALLAST:
            shutil.rmtree(root / path, ignore_errors=True)
            (root / path).mkdir(parents=True)
        for name in ("resolv.conf", "hostname"):
            (root / "etc" / name).unlink(missing_ok=True)
        container = buildah.buildah("from", "scratch").stdout.strip()
        buildah.buildah("add", "--quiet", container, root, "/")
        buildah.buildah("config", "--cmd", "/bin/bash", "--env", "LANG=C.UTF-8", container)
        buildah.buildah("commit", "--quiet", "--rm", container, tag)
    return tag
