"""An installed Stoker in a test's or a demo's hand: install, prepare a namespace, apply, wait.

The steps are the ones that an administrator and a user take, with their tools: Helm and kubectl.
What is special about a machine without accelerators is all in `values`: the engine image is a plain
Debian, and vLLM for CPU comes by a read-only claim, as the engine catalogue allows.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster import Cluster, local_volume
from e2e.cluster.settings import NODE, REPOSITORY

CHART = REPOSITORY / "charts" / "stoker"
RELEASE = "stoker"
OPERATOR_NAMESPACE = "stoker-system"
ENGINE_CLAIM = "vllm-cpu"
ENGINE_PATH = "/opt/vllm"
MODEL_CLAIM = "models"
POD_MEMORY_GIB = 8
# The same machine under another name, with the peaks of a small core and a price, so that what is
# told in shares of a peak and in dollars can be told here.
KNOWN_CPU = "cpu-known"
KNOWN_HARDWARE = {
    "memoryGiB": POD_MEMORY_GIB,
    "bandwidthGBs": 20,
    "tflops": {"float32": 0.05, "bfloat16": 0.05},
    "pricePerHour": 0.5,
    "spotPricePerHour": 0.2,
}
MONITORING_NAMESPACE = "monitoring"
EXAMPLE = REPOSITORY / "docs" / "examples" / "tiny.yaml"
Objects = list[dict[str, Any]]


class TimedOutError(AssertionError):
    """What was waited for did not come; says what was there instead."""


@dataclass
class Stack:
    """Stoker on one cluster."""

    cluster: Cluster
    site_packages: Path
    models: Path
    namespaces: list[str] = field(default_factory=list)

    # -- administrator -----------------------------------------------------------------------

    def values(self) -> dict[str, Any]:
        """Helm values for this machine."""
        images = self.cluster.images
        return {
            "image": {"reference": images["operator"]},
            "images": {
                "worker": images["worker"],
                "envoy": images["envoy"],
                "picker": images["epp"],
            },
            "engines": {
                "vllm": {
                    "image": images["engine-base"],
                    "imagePrefixes": [images["engine-base"].rsplit("/", 1)[0] + "/"],
                    "mounts": [{"claim": ENGINE_CLAIM, "path": ENGINE_PATH}],
                    "env": {
                        "PYTHONPATH": ENGINE_PATH,
                        "VLLM_CPU_KVCACHE_SPACE": "1",
                        # Several engines share two cores: one thread each and no pinning, or
                        # they all sit on the same core.
                        "OMP_NUM_THREADS": "1",
                        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
                        # One process less for each engine; a third less CPU to start.
                        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
                    },
                    "args": {"enforce-eager": "true", "distributed-executor-backend": "uni"},
                    # A line for each step, for the tests that look at steps.
                    "allowedArgs": [*_allowed_args(), "enable-logging-iteration-details"],
                }
            },
            "defaultAccelerator": "cpu",
            # Of a machine that several engines share; plans keep within it.
            "accelerators": {
                "cpu": {"hardware": {"memoryGiB": POD_MEMORY_GIB}},
                KNOWN_CPU: {"like": "cpu", "hardware": KNOWN_HARDWARE},
            },
            "metrics": {
                "namespaceLabels": {"kubernetes.io/metadata.name": MONITORING_NAMESPACE},
                "podLabels": {"app.kubernetes.io/name": "prometheus"},
            },
        }

    def install(self, **changes: Any) -> float:
        """Install or upgrade the chart and wait for it; return the seconds it took.

        `changes` replace whole values at the top of the chart's values.
        """
        start = time.monotonic()
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as values:
            yaml.safe_dump({**self.values(), **changes}, values)
            values.flush()
            self.cluster.helm(
                "upgrade", "--install", RELEASE, str(CHART), "--namespace", OPERATOR_NAMESPACE,
                "--create-namespace", "--values", values.name, "--wait", "--timeout", "180s",
            )  # fmt: skip
        return time.monotonic() - start

    def prepare_namespace(self, name: str, *, node: str | None = NODE) -> None:
        """Make a namespace that enforces `restricted` and holds the claims that engines mount.

        With `node` None their folders bind no pod to this machine's node.
        """
        if self._offers_other_folders(name):
            self.remove_namespace(name)
        labels = {
            f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")
        }
        objects: list[dict[str, Any]] = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
            *local_volume(f"{name}-models", self.models, name, MODEL_CLAIM, node=node),
            *local_volume(f"{name}-vllm", self.site_packages, name, ENGINE_CLAIM, node=node),
        ]
        self.apply(objects)
        if name not in self.namespaces:
            self.namespaces.append(name)

    def _offers_other_folders(self, name: str) -> bool:
        """Whether the claims of an earlier run show folders that are no longer the right ones."""
        wanted = {f"{name}-models": self.models, f"{name}-vllm": self.site_packages}
        for volume, path in wanted.items():
            found = self.get("persistentvolume", volume, name)
            if found is None:
                continue
            spec = found["spec"]
            if (spec.get("local") or spec["hostPath"])["path"] != str(path):
                return True
        return False

    def remove_namespace(self, name: str, *, seconds: float = 480) -> None:
        """Delete a namespace, its volumes too, and wait until it is gone."""
        self.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
        self.wait_for(
            lambda: not self.kubectl("get", "namespace", name, "--ignore-not-found", "-o", "name"),
            f"namespace {name} to go",
            seconds,
        )
        self.kubectl(
            "delete", "persistentvolume", f"{name}-models", f"{name}-vllm", "--ignore-not-found"
        )
        if name in self.namespaces:
            self.namespaces.remove(name)

    # -- user ----------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl; an error is raised with what it said."""
        return self.cluster.kubectl(*arguments, stdin=stdin).stdout

    def apply(self, objects: list[dict[str, Any]] | dict[str, Any], *extra: str) -> None:
        """Server-side apply."""
        documents = objects if isinstance(objects, list) else [objects]
        self.kubectl(
            "apply", "--server-side", "--force-conflicts", "-f", "-", *extra,
            stdin=yaml.safe_dump_all(documents),
        )  # fmt: skip

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any] | None:
        """One object, or None."""
        text = self.kubectl("get", kind, name, "-n", namespace, "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else None

    def list(self, kind: str, namespace: str, selector: str = "") -> Objects:
        """All objects of a kind that a selector finds."""
        arguments = ["get", kind, "-n", namespace, "-o", "json"]
        if selector:
            arguments += ["-l", selector]
        items: list[dict[str, Any]] = json.loads(self.kubectl(*arguments))["items"]
        return items

    def engine_pods(self, service: str, namespace: str) -> Objects:
        """Engine pods of a service, those that are ending too."""
        selector = f"stoker.dev/service={service},stoker.dev/component=engine"
        return self.list("pods", namespace, selector)

    def frontend_pods(self, service: str, namespace: str) -> Objects:
        """Frontend pods of a service."""
        selector = f"stoker.dev/service={service},stoker.dev/component=frontend"
        return self.list("pods", namespace, selector)

    def condition(self, service: str, namespace: str, kind: str) -> dict[str, Any]:
        """One condition of a service; empty while there is none."""
        found = self.get("inferenceservices.stoker.dev", service, namespace) or {}
        conditions = found.get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {})

    def wait_condition(
        self,
        service: str,
        namespace: str,
        kind: str,
        *,
        status: str | None = None,
        reason: str | None = None,
        seconds: float = 180,
    ) -> dict[str, Any]:
        """Wait until a condition has a status or a reason."""
        last: dict[str, Any] = {}

        def met() -> bool:
            nonlocal last
            last = self.condition(service, namespace, kind)
            return bool(last) and (
                (status is None or last["status"] == status)
                and (reason is None or last["reason"] == reason)
            )

        try:
            self.wait_for(met, f"{namespace}/{service} {kind}={status or reason}", seconds)
        except TimedOutError as error:
            raise TimedOutError(f"{error}; it was {last}") from None
        return last

    def wait_ready_engines(
        self, service: str, namespace: str, count: int, seconds: float = 240
    ) -> None:
        """Wait until exactly so many engine pods are ready and none is ending."""

        def met() -> bool:
            pods = self.engine_pods(service, namespace)
            return len(pods) == count and all(is_ready(pod) for pod in pods)

        self.wait_for(met, f"{count} ready engine pods of {namespace}/{service}", seconds)

    def address(self, service: str, namespace: str) -> str:
        """Where a client on this machine reaches a service: its ClusterIP, through kube-proxy."""
        found = self.get("service", service, namespace)
        assert found is not None, f"no Service {namespace}/{service}"
        return f"http://{found['spec']['clusterIP']}/v1"

    @staticmethod
    def wait_for(met: Any, what: str, seconds: float, every: float = 0.5) -> float:
        """Poll until `met()` holds; return the seconds it took."""
        start = time.monotonic()
        while True:
            if met():
                return time.monotonic() - start
            if time.monotonic() - start > seconds:
                raise TimedOutError(f"waited {seconds:.0f} s for {what}")
            time.sleep(every)


def _allowed_args() -> list[str]:
    """Flags that the chart lets users set."""
    allowed: list[str] = yaml.safe_load((CHART / "values.yaml").read_text())["engines"]["vllm"][
        "allowedArgs"
    ]
    return allowed


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether a pod is ready and not ending."""
    if "deletionTimestamp" in pod["metadata"]:
        return False
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def example(name: str, namespace: str, **spec: Any) -> dict[str, Any]:
    """The README's example under another name, with some fields of the spec replaced."""
    manifest: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    manifest["metadata"] = {"name": name, "namespace": namespace}
    manifest["spec"].update(spec)
    manifest["spec"] = {key: value for key, value in manifest["spec"].items() if value is not None}
    return manifest


def container_pids(pod_uid: str) -> list[int]:
    """Processes of a pod, found by its cgroup: what a chaos test kills."""
    needle = pod_uid.replace("-", "_"), pod_uid
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            groups = (entry / "cgroup").read_text()
        except OSError:
            continue
        if any(text in groups for text in needle):
            found.append(int(entry.name))
    return found


def process_name(pid: int) -> str:
    """Command line of a process."""
    try:
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    except OSError:
        return ""
