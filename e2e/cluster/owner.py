"""Whose cluster this is, and what the machine looked like before it.

One machine holds one cluster (addresses, bridge and packet filters are the machine's). The owner
file names the checkout that started it, so a second checkout hears about it instead of driving a
stranger's cluster. It also remembers what `up` changes, for `down` to put back: kernel settings,
and which folders that programs make at fixed places were not there before.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from e2e.cluster.settings import REPOSITORY, ClusterError, state

# Places that kubelet, containerd and CNI use whatever they are told.
FIXED_FOLDERS = (
    "/run/containerd",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/containers",
    "/var/log/pods",
    "/run/netns",
    "/run/kubernetes",
    "/opt/containerd",
)
# Kernel settings that we switch on, and those that kubelet and kube-proxy change by themselves.
SWITCHED_ON = ("net.ipv4.ip_forward", "net.bridge.bridge-nf-call-iptables")
SYSCTLS = (
    *SWITCHED_ON,
    "kernel.keys.root_maxbytes",
    "kernel.keys.root_maxkeys",
    "kernel.panic",
    "kernel.panic_on_oops",
    "net.ipv4.conf.all.route_localnet",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
    "vm.overcommit_memory",
    "vm.panic_on_oom",
)


@dataclass(frozen=True)
class Owner:
    """The checkout that owns the cluster, and the machine's state before it."""

    checkout: str
    sysctls: dict[str, str] = field(default_factory=dict)
    made_folders: list[str] = field(default_factory=list)


def _file() -> Path:
    return state() / "owner.json"


def sysctl(name: str) -> Path:
    """Return the file of a kernel setting."""
    return Path("/proc/sys") / name.replace(".", "/")


def read() -> Owner | None:
    """Return the owner of the cluster, or None when there is no cluster."""
    try:
        return Owner(**json.loads(_file().read_text()))
    except FileNotFoundError:
        return None


def check(checkout: Path = REPOSITORY) -> Owner | None:
    """Return the owner; refuse when it is another checkout."""
    owner = read()
    if owner and owner.checkout != str(checkout):
        raise ClusterError(
            f"The cluster on this machine belongs to the checkout {owner.checkout}: run `make "
            "down` there, or `python -m e2e.cluster down --force` here."
        )
    return owner


def claim(checkout: Path = REPOSITORY) -> None:
    """Take the machine for this checkout, unless it is taken already."""
    if check(checkout):
        return
    owner = Owner(
        checkout=str(checkout),
        sysctls={
            name: sysctl(name).read_text().strip() for name in SYSCTLS if sysctl(name).exists()
        },
        made_folders=[path for path in FIXED_FOLDERS if not Path(path).exists()],
    )
    state().mkdir(parents=True, exist_ok=True)
    _file().write_text(json.dumps(asdict(owner), indent=2))
