"""The machine below the cluster: what must hold before anything starts, and how commands are run.

Every check raises `ClusterError` with one sentence that ends in the way out. Nothing here knows
Kubernetes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster.progress import Progress
from e2e.cluster.settings import MINIMUM_DISK_GIB, ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

GIB = 1 << 30
# Debian's package for each program that must be on the path.
PACKAGES = {
    "buildah": "buildah",
    "conntrack": "conntrack",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "ipset": "ipset",
    "iptables": "iptables",
    "openssl": "openssl",
    "runc": "runc",
}
CNI_PLUGINS = Path("/usr/lib/cni")
LOCKS = Path("/run/lock")


def run(
    *command: str | Path,
    stdin: str | None = None,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end and return its text; a failure quotes the last words of it."""
    words = [str(part) for part in command]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            check=False,
            env=None if env is None else {**os.environ, **env},
            cwd=cwd,
            timeout=timeout,
        )
    except FileNotFoundError as error:
        done = subprocess.CompletedProcess(words, 127, "", str(error))
    except subprocess.TimeoutExpired as error:
        done = subprocess.CompletedProcess(words, 124, "", str(error))
    if check and done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-4:]
        line = " ".join(words)[:200]
        raise ClusterError(f"`{line}` failed ({done.returncode}) and said: {' / '.join(said)}")
    return done


def check_system(platform_name: str = sys.platform, user: int | None = None) -> None:
    """Refuse what can never work: another system, another user than root."""
    if platform_name != "linux":
        raise ClusterError(
            f"The local cluster needs Linux, this is {platform_name}: run it in a Debian 12 "
            "machine, or use CLUSTER=current with a cluster that you have."
        )
    if (os.geteuid() if user is None else user) != 0:
        raise ClusterError(
            "The local cluster must be started by root (it mounts file systems and sets packet "
            "filters): run it with sudo, or use CLUSTER=current with a cluster that you have."
        )


def check_disk(folders: Sequence[Path], minimum_gib: int = MINIMUM_DISK_GIB) -> None:
    """Refuse a disk on which images would run out of room half-way."""
    for folder in folders:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(existing).free / GIB
        if free < minimum_gib:
            raise ClusterError(
                f"{folder} has {free:.1f} GiB free and needs {minimum_gib}: free some space, or "
                "point STOKER_CACHE_DIR and STOKER_STATE_DIR at a larger disk."
            )


def check_ports(ports: Mapping[str, tuple[str, int]]) -> None:
    """Refuse to start beside something that already listens where a part must listen."""
    for name, (address, port) in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                raise ClusterError(
                    f"Port {port} on {address}, which {name} needs, is taken ({error.strerror}): "
                    f"stop the program that `ss -ltnp 'sport = :{port}'` shows."
                ) from error


def missing_packages() -> list[str]:
    """Packages that this machine still lacks."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = {package for name, package in PACKAGES.items() if not shutil.which(name, path=path)}
    if not (CNI_PLUGINS / "bridge").exists():
        missing.add("containernetworking-plugins")
    return sorted(missing)


def ensure_packages() -> None:
    """Install what is missing with apt, once."""
    missing = missing_packages()
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise ClusterError(
            f"These programs are missing and apt-get is not here to install them: install "
            f"{', '.join(missing)} by hand."
        )
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    with Progress(f"apt-get install {' '.join(missing)}"):
        try:
            run("apt-get", "update", "-q", env=env)
            run("apt-get", "install", "-yq", "--no-install-recommends", *missing, env=env)
        except ClusterError as error:
            raise ClusterError(
                f"Debian's packages {', '.join(missing)} could not be installed: check the "
                f"network and /etc/apt, then try again ({error})"
            ) from error


@contextlib.contextmanager
def lock(name: str, refusal: str | None = None) -> Iterator[None]:
    """Let one command at a time change one thing; the second one waits its turn.

    With a refusal it does not wait: `ClusterError` in these words.
    """
    path = LOCKS / f"stoker-{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = path.open("w")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if refusal is None else fcntl.LOCK_NB))
        except BlockingIOError:
            handle.close()
            raise ClusterError(refusal) from None
        # The holder before us may have removed the file: then ours is no lock any more.
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(handle.fileno()).st_ino:
                break
        handle.close()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        handle.close()
