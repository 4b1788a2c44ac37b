"""Ending containers and taking away what lies on the machine: `down` below the processes.

Containers are ended through our own containerd and namespace `k8s.io`; their shims are known by
the socket they were started with, which lies below our `state`. Then mounts, cgroups and folders
go, deepest first. `traces` looks for all of it again: an empty list is the proof of a clean `down`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from e2e.cluster import network, processes, programs
from e2e.cluster.components import GUESTS, ORDER, containerd_socket
from e2e.cluster.host import run
from e2e.cluster.settings import ClusterError, state

CGROUPS = Path("/sys/fs/cgroup")


def end_containers() -> None:
    """Kill every task of our containerd, then the shims that watched them."""
    program = programs.find("ctr")
    if program and processes.running("containerd"):
        ctr = (program, "--address", containerd_socket(), "--namespace", "k8s.io", "tasks")
        for line in run(*ctr, "list", check=False, timeout=20).stdout.splitlines()[1:]:
            task, pid, *_ = line.split()
            if pid.isdigit() and int(pid) > 1:
                run(*ctr, "kill", "--all", "--signal", "SIGKILL", task, check=False, timeout=20)
    processes.end(shims(), seconds=0.5)


def shims() -> list[int]:
    """Return the processes that were started with our containerd's socket."""
    mark = str(containerd_socket()).encode()
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                if words[0].rpartition(b"/")[2].startswith(b"containerd-shim") and mark in words:
                    found.append(int(folder.name))
    return found


def mounts(*folders: str | Path) -> list[str]:
    """Return the mount points below some folders, deepest first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    below = [point for point in points if any(point.startswith(f"{top}/") for top in folders)]
    return sorted(below, key=lambda point: (-point.count("/"), point))


def cgroups() -> list[Path]:
    """Return the control groups of pods, in each hierarchy."""
    places = [CGROUPS, *CGROUPS.glob("*")] if CGROUPS.exists() else []
    return [place / "kubepods" for place in places if (place / "kubepods").is_dir()]


def clean(made_folders: list[str]) -> None:
    """Take away mounts, cgroups, folders and the state itself."""
    folders: list[str | Path] = [state(), *made_folders]
    for point in mounts(*folders):
        run("umount", "--lazy", point, check=False)
    if left := mounts(*folders):
        # Removing folders below a live mount would remove somebody's data, such as model files.
        raise ClusterError(f"{left[0]} could not be unmounted: end what uses it, then try again.")
    for group in cgroups():
        _remove_cgroup(group)
    for link in Path("/var/log/containers").glob("*"):
        if link.is_symlink() and str(state()) in str(link.readlink()):
            link.unlink()
    for folder in made_folders:
        shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(state(), ignore_errors=True)


def _remove_cgroup(top: Path) -> None:
    """Remove a tree of control groups: their files go with the folders."""
    deadline = time.monotonic() + 5
    while top.exists() and time.monotonic() < deadline:
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):  # its last process may still be on the way out
                Path(folder).rmdir()
        time.sleep(0.05)


def traces(made_folders: list[str]) -> list[str]:
    """Return everything of the cluster that is still on the machine."""
    names = (*ORDER, *GUESTS)
    found = [f"process {name} (pid {pid})" for name in names if (pid := processes.running(name))]
    found += [f"process containerd-shim ({pid})" for pid in shims()]
    found += [f"mount {point}" for point in mounts(state(), *made_folders)]
    found += [f"cgroup {group}" for group in cgroups()]
    found += [f"folder {folder}" for folder in made_folders if Path(folder).exists()]
    found += [f"folder {state()}"] if state().exists() else []
    return [*found, *network.traces()]
