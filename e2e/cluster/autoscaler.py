"""A node autoscaler on the local cluster: Karpenter itself, on machines that are only played.

Karpenter decides as it does in any cloud: it watches pods that no node takes, makes NodeClaims for
them, and takes nodes away that are empty. Where a cloud would start a machine, its KWOK provider
writes a Node, and KWOK plays that node's kubelet: ready at once, and its pods with it, though
nothing runs. Both programs are built from their Go modules, and the definitions lie in the same
module, so they are what anybody gets at the version that go.mod pins.

Played nodes must not mislead anybody. KWOK keeps to the nodes with Karpenter's annotation. They
carry a taint, so nothing comes to them but what asks for their accelerator. Their pods have
addresses that every pod finds at home, in itself: who talks to one is refused, and no packet leaves
the machine.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from e2e.cluster import components, host, lifecycle, processes, programs
from e2e.cluster.catalogue import PROGRAMS
from e2e.cluster.progress import Progress
from e2e.cluster.settings import state

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.cluster.connection import Cluster

NODE_ANNOTATION = "kwok.x-k8s.io/node"
NODE_VALUE = "fake"
POOL_LABEL = "karpenter.sh/nodepool"
# The whole of 127.0.0.0/8 is everybody's own.
POD_ADDRESSES = "127.64.0.1/16"
NODE_IP = "127.65.0.1"
GONE_SECONDS = 90
_DEFINITIONS = ("pkg/apis/crds", "kwok/apis/crds")
PORTS = {"karpenter health": 20245, "karpenter metrics": 20246}
_CLASS = {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass", "name": "played"}


@dataclass(frozen=True)
class Pool:
    """One kind of node that may come: its size, and what marks it."""

    name: str
    resource: str
    """Extended resource of the accelerator, one a node."""
    labels: dict[str, str]
    most: int
    """Nodes at the most."""

    @property
    def machine(self) -> str:
        """Name of the instance type."""
        return f"{self.name}-1x"

    def instance_type(self) -> dict[str, Any]:
        """The machine as the KWOK provider's file has it."""
        where = {"karpenter.sh/capacity-type": "on-demand", "topology.kubernetes.io/zone": "a"}
        requirements = [
            {"key": key, "operator": "In", "values": [value]} for key, value in where.items()
        ]
        return {
            "name": self.machine,
            "architecture": "amd64",
            "operatingSystems": ["linux"],
            "resources": {"cpu": "8", "memory": "32Gi", "pods": "20", self.resource: "1"},
            "offerings": [{"Price": 0.7, "Available": True, "Requirements": requirements}],
        }

    def manifest(self) -> dict[str, Any]:
        """The NodePool, as an administrator writes one for this kind of accelerator."""
        machines = {
            "key": "node.kubernetes.io/instance-type",
            "operator": "In",
            "values": [self.machine],
        }
        spec = {
            "nodeClassRef": _CLASS,
            "requirements": [machines],
            "taints": [{"key": self.resource, "value": "present", "effect": "NoSchedule"}],
            "expireAfter": "Never",
        }
        return {
            "apiVersion": "karpenter.sh/v1",
            "kind": "NodePool",
            "metadata": {"name": self.name},
            "spec": {
                "template": {"metadata": {"labels": self.labels}, "spec": spec},
                "limits": {self.resource: self.most},
                "disruption": {
                    "consolidationPolicy": "WhenEmpty",
                    "consolidateAfter": "2s",
                    # Without it a tenth of the nodes at once, which is one after the other.
                    "budgets": [{"nodes": "100%"}],
                },
            },
        }


@dataclass(frozen=True)
class Autoscaler:
    """Karpenter and KWOK as they run; `remove` takes them away with all that they made."""

    cluster: Cluster
    folder: Path

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes that came."""
        items: list[dict[str, Any]] = self.cluster.get("nodes", "-l", POOL_LABEL)["items"]
        return items

    def claims(self) -> list[dict[str, Any]]:
        """Karpenter's NodeClaims."""
        items: list[dict[str, Any]] = self.cluster.get("nodeclaims.karpenter.sh")["items"]
        return items

    def remove(self) -> None:
        """Let the nodes go as Karpenter does it, end both programs, remove the definitions."""
        kubectl = self.cluster.kubectl
        patience = f"--timeout={GONE_SECONDS}s"
        if processes.running("karpenter"):
            for kind in ("nodepools.karpenter.sh", "nodeclaims.karpenter.sh"):
                kubectl("delete", kind, "--all", patience)
        stop()
        for folder in _DEFINITIONS:
            kubectl("delete", "-f", self.folder / folder, "--ignore-not-found", patience)


def install_autoscaler(cluster: Cluster, *pools: Pool) -> Autoscaler:
    """Start both programs on the local cluster; return once Karpenter answers."""
    paths = programs.ensure(["karpenter", "kwok"])
    folder = programs.module_folder("karpenter")
    stop()
    host.check_ports({name: ("0.0.0.0", port) for name, port in PORTS.items()})
    with Progress(f"start Karpenter {PROGRAMS['karpenter'].version} and KWOK"):
        arguments = ("apply", "--server-side", "--force-conflicts")
        for definitions in _DEFINITIONS:
            cluster.kubectl(*arguments, "-f", folder / definitions)
        cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        _start_kwok(cluster, paths["kwok"])
        _start_karpenter(cluster, paths["karpenter"], pools)
    made = {"apiVersion": f"{_CLASS['group']}/v1alpha1", "kind": _CLASS["kind"]}
    cluster.apply(
        {**made, "metadata": {"name": _CLASS["name"]}}, *(pool.manifest() for pool in pools)
    )
    return Autoscaler(cluster, folder)


def stop() -> None:
    """End both programs, if they run."""
    for name in components.GUESTS:
        processes.stop(name)


def _start_kwok(cluster: Cluster, program: Path) -> None:
    folder = state() / "kwok"
    folder.mkdir(parents=True, exist_ok=True)
    command: list[str | Path] = [
        program,
        f"--kubeconfig={cluster.kubeconfig}",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-annotation-selector={NODE_ANNOTATION}={NODE_VALUE}",
        f"--cidr={POD_ADDRESSES}",
        f"--node-ip={NODE_IP}",
        "--node-port=0",  # it serves nothing
        "--node-lease-duration-seconds=40",
    ]
    # Its settings would come from the user's home.
    processes.start("kwok", command, {"KWOK_WORKDIR": str(folder), "HOME": str(folder)})


def _start_karpenter(cluster: Cluster, program: Path, pools: tuple[Pool, ...]) -> None:
    types = state() / "etc" / "instance-types.json"
    types.write_text(json.dumps([pool.instance_type() for pool in pools]))
    environment = {
        "KUBECONFIG": str(cluster.kubeconfig),
        "DISABLE_LEADER_ELECTION": "true",
        "HEALTH_PROBE_PORT": str(PORTS["karpenter health"]),
        "METRICS_PORT": str(PORTS["karpenter metrics"]),
        "INSTANCE_TYPES_FILE_PATH": str(types),
        "KUBERNETES_MIN_VERSION": "1.19.0-0",
        "SYSTEM_NAMESPACE": "kube-system",
        "BATCH_IDLE_DURATION": "1s",
    }
    processes.start("karpenter", [program], environment)
    ready = f"http://127.0.0.1:{PORTS['karpenter health']}/readyz"
    processes.wait_for("karpenter", lambda: lifecycle.answers(ready), 60)
    processes.check_alive("kwok")
