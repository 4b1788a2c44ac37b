"""The operator as a real process beside a real control plane, and the hands of a test on both."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from tests.support.controlplane import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from tests.support.controlplane import ControlPlane
    from tests.support.nursery import Child, Nursery

REPOSITORY = Path(__file__).parents[3]
CRDS = (
    REPOSITORY / "crds" / "stoker.dev_inferenceservices.yaml",
    REPOSITORY / "crds" / "stoker.dev_modelcaches.yaml",
    REPOSITORY / "charts/stoker/crds/inference.networking.k8s.io_inferencepools.yaml",
)
T = TypeVar("T")
# On a machine with other work every wait takes longer: STOKER_PATIENCE=5 waits five times as long.
PATIENCE = float(os.environ.get("STOKER_PATIENCE", "1"))

OPERATOR_NAMESPACE = "stoker-system"
USER_AGENT = "stoker-operator"
CLAIM = "models"
CONFIG: dict[str, Any] = {
    "images": {"worker": "reg/worker:1", "envoy": "reg/envoy:1", "picker": "reg/picker:1"},
    "engines": {"vllm": {"image": "reg/vllm:1", "imagePrefixes": ["reg/"]}},
    "accelerators": {"cpu": {}, "nvidia-l4": {"resource": "nvidia.com/gpu"}},
    "defaultAccelerator": "cpu",
    "logLevel": "debug",
    "nodes": {"label": True},
}


def install(plane: ControlPlane) -> None:
    """The kinds, and the operator's namespace."""
    for path in (each for each in CRDS if each not in plane.definitions):
        plane.apply(path.read_text())
        name = yaml.safe_load(path.read_text())["metadata"]["name"]
        plane.kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=30s")
    plane.namespace(OPERATOR_NAMESPACE)


def least_rights(plane: ControlPlane, *, nodes: bool = True) -> Path:
    """A user with the rights that the chart gives the operator, and no others."""
    helpers = (REPOSITORY / "charts/stoker/templates/_helpers.tpl").read_text()
    rules: list[dict[str, Any]] = []
    for name in ("rules", "nodeRules") if nodes else ("rules",):
        text = helpers.split(f'define "stoker.{name}" -}}}}')[1].split("{{- end -}}")[0]
        # With every option of the chart: what is in a condition counts as granted.
        lines = (line for line in text.splitlines() if not line.startswith("{{"))
        rules += yaml.safe_load("\n".join(lines))
    user = "operator" if nodes else "operator-without-nodes"
    lease = {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "verbs": ["get", "create", "update"],
    }
    metadata = {"name": f"{user}-under-test"}
    api = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    plane.apply({**api, "kind": "ClusterRole", "metadata": metadata} | {"rules": [*rules, lease]})
    plane.apply(
        {
            **api,
            "kind": "ClusterRoleBinding",
            "metadata": metadata,
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": metadata["name"],
            },
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        }
    )
    return plane.user(user)


def make_claim(
    plane: ControlPlane,
    namespace: str,
    name: str = CLAIM,
    *,
    zone: str | None = None,
    mode: str = "ReadOnlyMany",
) -> None:
    """A claim that the controller manager binds, as there is a volume just for it."""
    where = [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone]}]
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": where}]}}
    volume = f"{namespace}-{name}"
    shared = {
        "capacity": {"storage": "1Mi"},
        "accessModes": [mode],
        "storageClassName": "",
    }
    plane.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                **shared,
                "hostPath": {"path": "/nowhere"},
                **({"nodeAffinity": affinity} if zone else {}),
            },
        }
    )
    plane.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "accessModes": [mode],
                "storageClassName": "",
                "volumeName": volume,
                "resources": {"requests": {"storage": "1Mi"}},
            },
        }
    )
    if plane.controllers:
        # Nobody watches claims: one that is seen unbound is looked at again 10 s later.
        bound = "--for=jsonpath={.status.phase}=Bound"
        plane.kubectl("wait", bound, f"pvc/{name}", "-n", namespace, "--timeout=60s")


def add_node(plane: ControlPlane, name: str, labels: dict[str, str], gpus: int = 8) -> None:
    """A node that a kubelet calls ready, with so many GPUs."""
    resources = {"cpu": "64", "memory": "256Gi", "nvidia.com/gpu": str(gpus)}
    body = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        },
    }
    status, answer = plane.request("POST", "/api/v1/nodes", body)
    assert status == 201, answer


def service(name: str, namespace: str, **spec: Any) -> dict[str, Any]:
    """An InferenceService."""
    return {
        "apiVersion": "stoker.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": {"uri": f"pvc://{CLAIM}/tiny"}, **spec},
    }


def wait_for(what: str, look: Callable[[], T | None], timeout: float = 150) -> T:
    """The first true answer; what was looked for is said when there is none."""
    deadline = time.monotonic() + timeout * PATIENCE
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}; last seen: {found!r}")
        time.sleep(0.1)


def condition(plane: ControlPlane, key: tuple[str, str], kind: str) -> dict[str, Any] | None:
    """One condition of a service."""
    namespace, name = key
    body = plane.get("infer", name, "-n", namespace)
    for entry in body.get("status", {}).get("conditions", ()):
        if entry["type"] == kind:
            return dict(entry)
    return None


def operator_writes(plane: ControlPlane, namespace: str | None = None) -> list[tuple[str, str]]:
    """Every write by our user agent, the Lease's aside, as verb and object."""
    return [
        (event["verb"], event["requestURI"])
        for event in plane.writes()
        if event.get("userAgent", "").startswith(USER_AGENT)
        and event["objectRef"]["resource"] != "leases"
        and namespace in {None, event["objectRef"].get("namespace")}
    ]


@dataclass
class OperatorProcess:
    """One `python -m stoker run`, or its like from a nursery."""

    plane: ControlPlane
    folder: Path
    name: str = "operator-a"
    config: dict[str, Any] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    kubeconfig: Path | None = None
    namespace: str = OPERATOR_NAMESPACE
    process: subprocess.Popen[bytes] | Child | None = None
    nursery: Nursery | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait until it knows the cluster."""
        self.spawn()
        wait_for(f"{self.name} is ready: {self.log()[-1500:]}", self.is_ready)

    def spawn(self) -> None:
        """Start only."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / f"{self.name}.yaml"
        config.write_text(yaml.safe_dump({**CONFIG, **self.config}))
        with self._log.open("ab") as log:
            environment = {**os.environ, "POD_NAME": self.name, "POD_IP": LOOPBACK}
            arguments = [
                *("run", "--config", str(config), "--namespace", self.namespace),
                *("--kubeconfig", str(self.kubeconfig or self.plane.kubeconfig)),
                *("--host", LOOPBACK, "--port", str(self.port)),
            ]
            if self.nursery is not None:
                self.process = self.nursery.start(arguments, environment, log)
                return
            self.process = subprocess.Popen(  # noqa: S603
                [
                    *("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "stoker"),
                    *arguments,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def stop(self) -> int:
        """End it as the kubelet would; its exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def is_ready(self) -> bool:
        """Whether /readyz says so; a process that ended never will."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended: {self.log()[-3000:]}")
        return self.fetch("/readyz")[0] == 200

    def leads(self) -> bool:
        """Whether its metrics say that it leads."""
        return self.metric("stoker_leader") == 1

    def metric(self, line: str) -> float | None:
        """The value of one line of its metrics."""
        for text in self.fetch("/metrics")[1].splitlines():
            if text.startswith(f"{line} "):
                return float(text.rsplit(" ", 1)[1])
        return None

    def fetch(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Status and text; (0, "") when nobody answers."""
        try:
            url = f"http://{LOOPBACK}:{self.port}{path}"
            request = urllib.request.Request(url, method=method)
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def resident_mib(self) -> float:
        """Memory in use."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise AssertionError

    @property
    def _log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def log(self) -> str:
        """What it has written."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def entries(self) -> Iterator[dict[str, Any]]:
        """Its log lines; each must be JSON."""
        for line in self.log().splitlines():
            yield json.loads(line)
