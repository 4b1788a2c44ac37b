"""The world that the pages' commands find: a real API server, and a few files.

- `kubectl`, `helm` and `stoker` on the PATH, with an administrator's kubeconfig; no kubelet, so no
  pod ever runs, and no operator.
- The definitions of the chart; in the namespace `chat` the service and the ModelCache `llama`, in
  `demo` the service `tiny`, in `team` the service `chat` and the ModelCache `qwen`, with what an
  operator would have written into their status. They are made anew before each page.
- A folder with `charts`, `crds` and `docs` of the checkout, and beside them service.yaml,
  facts.json, facts-70b.json, the model's folder `llama`, values.yaml, and what the simulator reads.
- Before each page, no release of the chart.
"""

from __future__ import annotations

import csv
import gzip
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from e2e.cluster import programs
from e2e.cluster.host import run
from stoker.api.crd import DEFINITIONS, render_crd
from tests.support.checkpoints import write_model
from tests.support.families import FAMILIES

if TYPE_CHECKING:
    import subprocess

    from docs.tools.blocks import Block
    from tests.support.controlplane import ControlPlane

ROOT = Path(__file__).parents[3]
NAMESPACES = ("chat", "demo", "team", "stoker-system")
_BLOCK_SECONDS = 120
_FACTS = ROOT / "docs/examples/facts"
_RELEASE = {
    "labels": {"app.kubernetes.io/managed-by": "Helm"},
    "annotations": {
        "meta.helm.sh/release-name": "stoker",
        "meta.helm.sh/release-namespace": "stoker-system",
    },
}
_SERVICE: dict[str, Any] = {
    "model": {"uri": "pvc://models/llama"},
    "accelerator": {"types": ["nvidia-l4"]},
    "optimization": {"kvCache": {"dtype": "auto"}},
    "scaling": {"minReplicas": 0, "maxReplicas": 4},
}
_REPLICA = {  # docs/simulator.md has the words
    "stepMs": 8, "sequenceUs": 50, "contextTokenNs": 25, "promptTokenUs": 40, "promptKeyNs": 1,
    "kvTokens": 400000, "maxNumSeqs": 256, "maxNumBatchedTokens": 2048, "accelerators": 1,
}  # fmt: skip


@dataclass(frozen=True)
class World:
    """Where commands run, and a way to set it up anew."""

    plane: ControlPlane
    folder: Path
    program_path: str

    def run(self, block: Block) -> subprocess.CompletedProcess[str]:
        """Run a block as a shell script, which ends at the first command that fails.

        Where another status than 0 is right, commands that end with it go on, and so does the end.
        """
        script = "set -euo pipefail\n" + block.script
        if block.status:
            right = f's=$?; [ "$s" = {block.status} ] || exit "$s"; seen=$s'
            script = f"set -uo pipefail\ntrap '{right}' ERR\n{block.script}\nexit ${{seen:-0}}\n"
        environment = {
            "PATH": f"{self.program_path}:{os.environ['PATH']}",
            "KUBECONFIG": str(self.plane.kubeconfig),
            "KUBECACHEDIR": str(self.folder / ".cache"),
            "COLUMNS": "160",
            # Nothing leaves this machine: a block that would has to say that it is not run.
            "HTTPS_PROXY": "http://127.0.0.1:9",
            "HTTP_PROXY": "http://127.0.0.1:9",
            "NO_PROXY": "127.0.0.1,localhost",
            **{
                name: str(self.folder / ".helm" / name)
                for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")
            },
        }
        return run(
            "bash", "-c", script,
            check=False, cwd=self.folder, env=environment, timeout=_BLOCK_SECONDS,
        )  # fmt: skip

    def renew(self) -> None:
        """Make the definitions and the objects as they are told of above."""
        objects: list[dict[str, Any]] = []
        for definition in DEFINITIONS:
            rendered = render_crd(definition)
            # As a chart that was uninstalled leaves them, so that it can be installed.
            rendered["metadata"].update(_RELEASE)
            objects.append(rendered)
        objects += [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            for name in NAMESPACES
        ]
        # By requests: a program's start for each would take longer than all of them.
        for each in objects:
            self._put(each)
        self._wait_for_kinds()
        tiny = yaml.safe_load((ROOT / "docs/examples/tiny.yaml").read_text())
        cache = {"model": {"uri": "hf://ORG/llama"}}
        services, caches = ("inferenceservices", "InferenceService"), ("modelcaches", "ModelCache")
        for namespace, name, (plural, kind), spec, status in (
            ("chat", "llama", services, _SERVICE, _service_status()),
            ("chat", "llama", caches, cache, _cache_status()),
            ("demo", "tiny", services, tiny["spec"], _service_status()),
            ("team", "chat", services, _SERVICE, _service_status()),
            ("team", "qwen", caches, cache, _cache_status()),
        ):
            body = {
                "apiVersion": "stoker.dev/v1alpha1",
                "kind": kind,
                "metadata": {"name": name, "namespace": namespace},
                "spec": spec,
            }
            path = f"/apis/stoker.dev/v1alpha1/namespaces/{namespace}/{plural}"
            self.plane.request("DELETE", f"{path}/{name}")
            code, answer = self.plane.request("POST", path, body)
            assert code == 201, answer
            answer["status"] = {**status, "observedGeneration": answer["metadata"]["generation"]}
            code, answer = self.plane.request("PUT", f"{path}/{name}/status", answer)
            assert code == 200, answer

    def forget(self) -> None:
        """Take away the chart's release, and what `kubectl apply` made of the chart."""
        namespace = "/api/v1/namespaces/stoker-system"
        if self.plane.request("GET", f"{namespace}/serviceaccounts/stoker")[0] == 404:
            return
        helm = self.folder.parent / "bin/helm"
        env = {"KUBECONFIG": str(self.plane.kubeconfig)}
        run(helm, "uninstall", "stoker", "-n", "stoker-system", check=False, env=env)
        if self.plane.request("GET", f"{namespace}/serviceaccounts/stoker")[0] == 404:
            return
        # What `kubectl apply` made, no release knows of.
        chart = str(ROOT / "charts/stoker")
        rendered = run(
            helm, "template", "stoker", chart, "-n", "stoker-system", "--set", "crds.install=false"
        )
        self.plane.kubectl(
            "delete", "-n", "stoker-system", "--ignore-not-found", "-f", "-", stdin=rendered.stdout
        )

    def _wait_for_kinds(self) -> None:
        deadline = time.monotonic() + _BLOCK_SECONDS
        for definition in DEFINITIONS:
            path = f"/apis/stoker.dev/v1alpha1/namespaces/chat/{definition.plural}"
            while self.plane.request("GET", path)[0] != 200:
                assert time.monotonic() < deadline, f"{definition.name} is not served"
                time.sleep(0.1)

    def _put(self, body: dict[str, Any]) -> None:
        group, _, version = body["apiVersion"].rpartition("/")
        plural = "namespaces" if body["kind"] == "Namespace" else "customresourcedefinitions"
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        name = body["metadata"]["name"]
        status, answer = self.plane.request(
            "PATCH",
            f"{path}/{plural}/{name}?fieldManager=world&force=true",
            body,
            kind="application/apply-patch+yaml",
        )
        assert status < 400, answer


def make_world(plane: ControlPlane, folder: Path, stoker: Path) -> World:
    """The folder with its files and programs."""
    found = programs.ensure(["kubectl", "helm"])
    there = folder / "bin"
    there.mkdir()
    for name, path in {**found, "stoker": stoker}.items():
        (there / name).symlink_to(path)
    work = folder / "work"
    work.mkdir()
    for name in ("charts", "crds", "docs"):
        (work / name).symlink_to(ROOT / name)
    service = {
        "apiVersion": "stoker.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "llama", "namespace": "chat"},
        "spec": _SERVICE,
    }
    (work / "service.yaml").write_text(yaml.safe_dump(service))
    (work / "values.yaml").write_text("accelerators: {nvidia-l4: {hardware: {pricePerHour: 0.7}}}")
    (work / "replica.yaml").write_text(yaml.safe_dump(_REPLICA))
    shutil.copy(_FACTS / "llama-3.1-8b.json", work / "facts.json")
    shutil.copy(_FACTS / "llama-3.1-70b.json", work / "facts-70b.json")
    family = FAMILIES["llama-3.1-8b"]
    write_model(work / "llama", family.config, family.tensors)
    with (work / "trace.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("arrival_s", "input_tokens", "output_tokens"))
        writer.writerows((second, 200, 50) for second in range(120))
    with gzip.open(work / "trace.csv.gz", "wb") as packed:
        packed.write((work / "trace.csv").read_bytes())
    return World(plane, work, str(there))


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _condition(kind: str, reason: str, message: str) -> dict[str, Any]:
    return {
        "type": kind, "status": "True", "reason": reason, "message": message,
        "lastTransitionTime": _now(), "observedGeneration": 1,
    }  # fmt: skip


def _service_status() -> dict[str, Any]:
    return {
        "replicas": 1,
        "readyReplicas": 1,
        "desiredReplicas": 1,
        "queueDepth": 0,
        "model": {"name": "llama"},
        "load": {"held": 0, "waiting": 0, "running": 3, "time": _now()},
        "scaling": {
            "reason": "LoadSteady", "message": "3 running need 1 replica", "need": 1,
            "places": 32, "terms": {"places": 1, "progress": 1},
        },
        "plan": {
            "summary": "1 x nvidia-l4",
            "accelerator": "nvidia-l4",
            "offer": {
                "id": "0f0f0f0f", "summary": "1 x nvidia-l4, fp8 cache", "saves": "twice the room",
            },
        },
        "conditions": [
            _condition("Ready", "AllReady", "Every replica answers."),
            _condition("Planned", "Planned", "1 x nvidia-l4"),
            _condition("ScalingActive", "FollowsQueue", "The queue decides."),
            {
                **_condition("Progressing", "Settled", "What runs is what is wanted."),
                "status": "False",
            },
        ],
    }  # fmt: skip


def _cache_status() -> dict[str, Any]:
    return {
        "phase": "Ready",
        "claim": "llama-cache",
        "folder": "models/llama-0",
        "revision": "0f0f0f",
        "size": "14.9 GiB",
        "facts": (_FACTS / "llama-3.1-8b.json").read_text().strip(),
        "conditions": [_condition("Ready", "Cached", "The model is on the volume.")],
    }
