"""Model caches before a hub and a registry beside the cluster, for tests and benchmarks.

The hub is on this machine, so the node's address is the hub's, and whoever is to be shut off from
it is shut off from that address. Pods reach each other, their frontend and DNS as before.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.cluster.components import plain_registry
from e2e.cluster.settings import NODE_ADDRESS, STORAGE_CLASS, state
from e2e.cluster.volumes import free_volume, local_volume
from e2e.models import PROMPTS, TINY
from e2e.stack import Stack, example
from e2e.test_00_cluster import RESTRICTED
from e2e.test_10_answers import call
from tests.support.hub import Hub
from tests.support.stores import PrivateRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = "tests/tiny-llama"
KIND = "modelcaches.stoker.dev"
PULL = "registry-pull"
SECONDS = 240


@dataclass
class Caches:
    """The stack, the hub, a registry, and the folders behind the volumes."""

    stack: Stack
    namespace: str
    hub: Hub
    registry: PrivateRegistry
    folder: Path
    small: Path

    def status(self, name: str = "tiny") -> dict[str, Any]:
        """A cache's status."""
        found = self.stack.get(KIND, name, self.namespace) or {}
        status: dict[str, Any] = found.get("status", {})
        return status

    def condition(self, kind: str, name: str = "tiny") -> dict[str, Any]:
        """One condition of a cache."""
        found = self.status(name).get("conditions", [])
        return next((each for each in found if each["type"] == kind), {})

    def wait_ready(self, name: str = "tiny") -> None:
        """Wait until a cache is ready; say what it was instead."""
        try:
            self.stack.wait_for(
                lambda: self.condition("Ready", name).get("status") == "True", f"{name}", SECONDS
            )
        except AssertionError as error:
            raise AssertionError(f"{error}; its status was {self.status(name)}") from None

    def model(self) -> Path:
        """The published model, on the node."""
        name = str(self.status()["folder"])
        return self.folder / "models" / name.rpartition("/")[2]

    def downloads(self) -> int:
        """How often the weights were asked for."""
        return len(self.hub.cdn.requests(method="GET"))

    def cache(self, name: str, **spec: Any) -> dict[str, Any]:
        """A ModelCache of the hub's model."""
        return {
            "apiVersion": "stoker.dev/v1alpha1",
            "kind": "ModelCache",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"model": {"uri": f"hf://{REPO}"}, **spec},
        }

    def service(
        self, name: str, model: dict[str, Any], replicas: int = 1, **spec: Any
    ) -> dict[str, Any]:
        """A service of it, with so many replicas by hand."""
        return example(name, self.namespace, model=model, scaling=None, replicas=replicas, **spec)

    def compiled(self) -> list[Path]:
        """What engines of the model have left for each other, on the node."""
        return sorted(self.folder.glob(f"compile/{self.model().name}/*.tar"))

    def state(self, service: str) -> dict[str, Any]:
        """What the worker of a service's only replica tells."""
        (pod,) = self.stack.engine_pods(service, self.namespace)
        url = f"http://{pod['status']['podIP']}:8001/state"
        with urllib.request.urlopen(url, timeout=10) as found:
            return dict(json.load(found))

    def settle(self, service: str, replicas: int = 1) -> list[dict[str, Any]]:
        """Wait for the engines of a service; return their pods."""
        self.stack.wait_ready_engines(service, self.namespace, replicas, SECONDS)
        self.stack.wait_condition(service, self.namespace, "Ready", status="True")
        return self.stack.engine_pods(service, self.namespace)

    def answers(self, service: str) -> bool:
        """Whether a service says what its model knows by heart."""
        prompt, expected = PROMPTS[0]
        body = {"model": service, "prompt": prompt, "max_tokens": 12, "temperature": 0}
        url = self.stack.address(service, self.namespace)
        status, _, told = call(url, "/completions", body)
        return status == 200 and expected.split()[0] in told["choices"][0]["text"]

    def start_probe(self) -> None:
        """A pod that can be asked to reach the hub."""
        container = {
            "name": "main",
            "image": self.stack.cluster.images["worker"],
            "command": ["sleep", "1800"],
            "securityContext": RESTRICTED,
        }
        metadata = {"name": "probe", "namespace": self.namespace, "labels": {"app": "probe"}}
        spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
        self.stack.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        ready = ("--for=condition=Ready", "pod/probe", "--timeout=60s")
        self.stack.kubectl("wait", "-n", self.namespace, *ready)

    def _probe_reaches_hub(self) -> bool:
        ask = (
            f"import urllib.request as r; r.urlopen('{self.hub.url}/api/models/{REPO}', timeout=3)"
        )
        inside = ("exec", "-n", self.namespace, "probe", "--", "python3", "-c", ask)
        return self.stack.cluster.kubectl(*inside, check=False).returncode == 0

    @contextmanager
    def shut_off(self) -> Iterator[None]:
        """No pod of the namespace reaches the hub; shown by one that did a moment before."""
        self.start_probe()
        self.stack.wait_for(self._probe_reaches_hub, "the way to the hub to be open", 30)
        rest = {"ipBlock": {"cidr": "0.0.0.0/0", "except": [f"{NODE_ADDRESS}/32"]}}
        policy = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "no-hub", "namespace": self.namespace},
            "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [rest]}]},
        }
        self.stack.apply(policy)
        try:
            self.stack.wait_for(lambda: not self._probe_reaches_hub(), "the policy to bite", 30)
            yield
            assert not self._probe_reaches_hub(), "the policy no longer bites"
        finally:
            self.stack.kubectl("delete", "networkpolicy", "no-hub", "-n", self.namespace)
            self.stack.kubectl("delete", "pod", "probe", "-n", self.namespace, "--wait=false")


def pull_secret(registry: PrivateRegistry, namespace: str) -> dict[str, Any]:
    """What pods name to pull from it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": PULL, "namespace": namespace},
        "stringData": {".dockerconfigjson": registry.pull_secret},
    }


@contextmanager
def prepared(stack: Stack, namespace: str) -> Iterator[Caches]:
    """A hub, the operator told of it, a namespace, and two volumes: one is far too small."""
    with tempfile.TemporaryDirectory(prefix="caches-", dir=state()) as base:
        Path(base).chmod(0o755)
        yield from _prepared(stack, namespace, Path(base))


def _prepared(stack: Stack, namespace: str, base: Path) -> Iterator[Caches]:
    folder, small = base / "volume", base / "small"
    for path in (folder, small):
        path.mkdir()
    free, tight = f"{namespace}-free", f"{namespace}-small"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "cache", small], check=True)
    try:
        with (
            Hub(NODE_ADDRESS, NODE_ADDRESS) as hub,
            PrivateRegistry(base / "registry", NODE_ADDRESS) as registry,
        ):
            plain_registry(registry.netloc)
            hub.add(REPO, stack.models / TINY.name)
            stack.prepare_namespace(namespace)
            stack.apply(
                [
                    free_volume(free, folder),
                    *local_volume(tight, small, namespace, "small", "ReadWriteOnce"),
                    pull_secret(registry, namespace),
                ]
            )
            storage = {"storageClassName": STORAGE_CLASS}
            plain = [*hub.hosts, registry.netloc]
            stack.install(caches={"hub": hub.url, "plainHosts": plain, "storage": storage})
            yield Caches(stack, namespace, hub, registry, folder, small)
            stack.install()
    finally:
        remove_caches_and_services(stack, namespace)
        stack.remove_namespace(namespace)
        stack.kubectl("delete", "persistentvolume", free, tight, "--ignore-not-found")
        subprocess.run(["umount", small], check=True)


def remove_caches_and_services(stack: Stack, namespace: str) -> None:
    """Delete caches and services, and wait for their pods.

    A cache that cannot be filled makes pods again and again. And a namespace that still has pods is
    looked at again only when half of their grace has passed, and engines have minutes.
    """
    for kind in (KIND, "infer"):
        stack.kubectl("delete", kind, "--all", "-n", namespace, "--wait=true", "--timeout=60s")
    stack.wait_for(lambda: not stack.list("pods", namespace), "all pods to go", 120)
