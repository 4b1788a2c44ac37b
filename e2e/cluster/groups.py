"""The LeaderWorkerSet controller on a cluster: groups of pods that are one replica.

Nothing of it is ours. The program is built from its Go module, and the chart, with its
CustomResourceDefinition and its webhooks, is the one that lies in the same module. So what the
tests run against is what `helm install` gives anybody, at the version that go.mod pins.

The webhooks matter: they are what gives the pods of a group their rank and their leader's address.
The controller makes their certificates itself, and puts them into a Secret that its own pod mounts;
the kubelet would show them there a minute later, a new pod sees them at once.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from e2e.cluster import programs
from e2e.cluster.catalogue import PROGRAMS
from e2e.cluster.images import ensure_images
from e2e.cluster.progress import Progress
from e2e.cluster.settings import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.cluster.connection import Cluster

NAMESPACE = "lws-system"
RELEASE = "lws"
CRD = "leaderworkersets.leaderworkerset.x-k8s.io"
READY_SECONDS = 180.0
_DEPLOYMENT = f"deployment/{RELEASE}-controller-manager"
_CERTIFICATES = "lws-webhook-server-cert"


@dataclass(frozen=True)
class Groups:
    """The controller as it was found or installed; `remove` takes away only what was installed."""

    cluster: Cluster
    ours: bool

    def remove(self) -> None:
        """Uninstall the controller, and the definition with it."""
        if not self.ours:
            return
        self.cluster.kubectl("delete", "crd", CRD, "--ignore-not-found", "--timeout=60s")
        self.cluster.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", check=False)
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=false")


def crd_file() -> Path:
    """The module's CustomResourceDefinition."""
    return programs.module_folder("lws") / "config" / "crd" / "bases" / f"{_reversed(CRD)}.yaml"


def _reversed(name: str) -> str:
    """`plural.group` as its file is called: `group_plural`."""
    plural, _, group = name.partition(".")
    return f"{group}_{plural}"


def install_lws(cluster: Cluster) -> Groups:
    """Install the controller unless the cluster has it; return once its webhooks answer."""
    if cluster.kubectl("get", "crd", CRD, check=False).returncode == 0:
        groups = Groups(cluster, ours=_release_exists(cluster))
        _wait_until_it_admits(cluster)
        return groups
    images = ensure_images(["lws"], cluster.mode)
    with Progress(f"install LeaderWorkerSet {PROGRAMS['lws'].version}"):
        _install(cluster, images["lws"])
        _wait_for_certificates(cluster)
        cluster.kubectl("rollout", "restart", _DEPLOYMENT, "-n", NAMESPACE)
        cluster.kubectl("rollout", "status", _DEPLOYMENT, "-n", NAMESPACE, "--timeout=120s")
        _wait_until_it_admits(cluster)
    return Groups(cluster, ours=True)


def values(image: str) -> dict[str, Any]:
    """Helm values: our image, and what a small machine can spare."""
    repository, _, tag = image.rpartition(":")
    return {
        "image": {"manager": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"}},
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
    }


def _install(cluster: Cluster, image: str) -> None:
    chart = programs.module_folder("lws") / "charts" / "lws"
    arguments = ["upgrade", "--install", RELEASE, str(chart)]
    arguments += ["--namespace", NAMESPACE, "--create-namespace", "--values", "-"]
    cluster.helm(*arguments, stdin=json.dumps(values(image)))


def _release_exists(cluster: Cluster) -> bool:
    found = cluster.helm("status", RELEASE, "--namespace", NAMESPACE, check=False)
    return found.returncode == 0


def _wait_for_certificates(cluster: Cluster) -> None:
    def made() -> bool:
        secret = cluster.kubectl(
            "get", "secret", _CERTIFICATES, "-n", NAMESPACE, "-o", "json", check=False
        )
        return secret.returncode == 0 and "tls.crt" in (json.loads(secret.stdout).get("data") or {})

    _wait(cluster, made, "make its certificates")


def _wait_until_it_admits(cluster: Cluster) -> None:
    """Ask for an admission that changes nothing: the API server calls the webhooks for it."""
    template = {"spec": {"containers": [{"name": "any", "image": "any"}]}}
    probe = {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "probe", "namespace": "default"},
        "spec": {"replicas": 0, "leaderWorkerTemplate": {"size": 2, "workerTemplate": template}},
    }
    text = json.dumps(probe)

    def admits() -> bool:
        arguments = ("create", "--dry-run=server", "-f", "-")
        return cluster.kubectl(*arguments, stdin=text, check=False).returncode == 0

    _wait(cluster, admits, "answer as a webhook")


def _wait(cluster: Cluster, met: Any, what: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not met():
        if time.monotonic() > deadline:
            logs = cluster.kubectl("logs", _DEPLOYMENT, "-n", NAMESPACE, "--tail=3", check=False)
            raise ClusterError(
                f"The LeaderWorkerSet controller did not {what} within {READY_SECONDS:.0f} s; its "
                f"log ends with: {logs.stdout.strip()[-600:] or '(no log)'}"
            )
        time.sleep(1)
