"""Where everything lives: one cluster a machine, so its addresses and folders are constants.

Three folders, three lifetimes. The repository holds sources only. `cache` outlives everything
(programs, image layers, the registry's blobs) and may be thrown away at any time. `state` is one
life of the cluster: `up` makes it, `down` removes it. Both can be moved by the environment.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TOOLS = Path(__file__).resolve().parent / "tools"

NODE = "stoker"
NODE_ADDRESS = "192.168.231.1"
POD_NETWORK = "10.244.0.0/24"
SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
BRIDGE = "stoker0"
API_PORT = 6443
REGISTRY = f"{NODE_ADDRESS}:5000"
STORAGE_CLASS = "stoker-local"

# Who listens where: asked for before anything starts, so that a clash is a sentence, not a log.
PORTS = {
    "etcd": ("127.0.0.1", 23790),
    "etcd peers": ("127.0.0.1", 23800),
    "kube-apiserver": (NODE_ADDRESS, API_PORT),
    "registry": (NODE_ADDRESS, 5000),
    "kubelet": (NODE_ADDRESS, 10250),
    "kubelet health": ("127.0.0.1", 10248),
    "kube-proxy health": (NODE_ADDRESS, 10256),
    "kube-proxy metrics": ("127.0.0.1", 10249),
    "kube-router health": ("0.0.0.0", 20244),
    "kube-controller-manager": ("127.0.0.1", 10257),
    "kube-scheduler": ("127.0.0.1", 10259),
}

MINIMUM_DISK_GIB = 15


class ClusterError(Exception):
    """Something the user can mend: one sentence with the way out, shown without a traceback."""


def cache() -> Path:
    """Folder of what may be made again: programs, layers, blobs."""
    return Path(os.environ.get("STOKER_CACHE_DIR", "/var/cache/stoker"))


def state() -> Path:
    """Folder of one life of the cluster."""
    return Path(os.environ.get("STOKER_STATE_DIR", "/var/lib/stoker-cluster"))


def kubeconfig() -> Path:
    """Credentials of the cluster's administrator."""
    return state() / "kubeconfig"


def kubectl_environment() -> dict[str, str]:
    """Return what keeps kubectl's memory within the life of the cluster it is about.

    Otherwise it outlives the cluster in the user's home, or, where there is no HOME, in the
    working directory.
    """
    return {"KUBECACHEDIR": str(state() / "kubectl")}


def architecture() -> str:
    """Machine type in the words of Go and of container images."""
    names = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    machine = platform.machine()
    if machine not in names:
        raise ClusterError(
            f"The local cluster knows amd64 and arm64, this machine is {machine}: use "
            "CLUSTER=current with a cluster elsewhere."
        )
    return names[machine]
