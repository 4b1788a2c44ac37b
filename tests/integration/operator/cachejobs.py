"""The kubelet's and the worker's part in a cache's jobs: pods run, tell their progress, and end."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from stoker_worker import modelfacts
from stoker_worker.cachecontract import (
    ENV_FETCH,
    FETCH_PORT,
    PATH_PROGRESS,
    FetchConfig,
    FetchResult,
    Progress,
)
from stoker_worker.contract import Termination
from tests.integration.operator.pods import Page
from tests.integration.operator.support import wait_for
from tests.support.tiny import TINY

if TYPE_CHECKING:
    from tests.support.controlplane import ControlPlane

GIB = 2**30
REVISION = "0123456789abcdef0123456789abcdef01234567"
_STATUS = "application/merge-patch+json"
_VOLUMES = itertools.count(1)


class ProgressPage(Page):
    """The page of a job that is on its way."""

    port = FETCH_PORT
    path = PATH_PROGRESS

    def __init__(self) -> None:
        super().__init__()
        self.page = Progress("fetch", "downloading", "")

    def answer(self) -> str:
        return self.page.to_json()


class CacheJobs:
    """The jobs of one cache."""

    def __init__(self, plane: ControlPlane, namespace: str, name: str = "tiny") -> None:
        self.plane = plane
        self.namespace = namespace
        self.name = name

    def make(self, uri: str = "hf://org/tiny", **spec: Any) -> None:
        """The ModelCache."""
        model = {"uri": uri, **spec.pop("model", {})}
        self.plane.apply(
            {
                "apiVersion": "stoker.dev/v1alpha1",
                "kind": "ModelCache",
                "metadata": {"name": self.name, "namespace": self.namespace},
                "spec": {"model": model, **spec},
            }
        )

    def annotate(self, key: str, value: str) -> None:
        """The owner's word."""
        self.plane.kubectl(
            "annotate", "--overwrite", "mc", self.name, "-n", self.namespace, f"{key}={value}"
        )

    @property
    def status(self) -> dict[str, Any]:
        """As it stands."""
        body = self.plane.get("mc", self.name, "-n", self.namespace)
        found: dict[str, Any] = body.get("status", {})
        return found

    def condition(self, kind: str = "Ready") -> tuple[str, str, str]:
        """Status, reason, message."""
        for entry in self.status.get("conditions", ()):
            if entry["type"] == kind:
                return entry["status"], entry["reason"], entry["message"]
        return "", "", ""

    def wait_phase(self, phase: str) -> dict[str, Any]:
        """The status in that phase."""
        wait_for(f"{self.name} is {phase}", lambda: self.status.get("phase") == phase)
        return self.status

    def jobs(self, task: str | None = None) -> list[dict[str, Any]]:
        """Its Jobs."""
        found = self.plane.get("jobs", "-n", self.namespace, "-l", f"stoker.dev/cache={self.name}")[
            "items"
        ]
        return [
            job
            for job in found
            if task in {None, job["metadata"]["annotations"]["stoker.dev/task"]}
            and "deletionTimestamp" not in job["metadata"]
        ]

    def pods(self) -> list[dict[str, Any]]:
        """Its pods."""
        return list(
            self.plane.get("pods", "-n", self.namespace, "-l", f"stoker.dev/cache={self.name}")[
                "items"
            ]
        )

    def pod(self, task: str, node: str | None = None) -> dict[str, Any]:
        """The pod of the Job of that task that has not ended."""

        def find() -> dict[str, Any] | None:
            for job in self.jobs(task):
                if node not in {None, job["metadata"]["annotations"].get("stoker.dev/node")}:
                    continue
                for pod in self.pods():
                    owner = pod["metadata"]["ownerReferences"][0]["uid"]
                    ended = pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}
                    if owner == job["metadata"]["uid"] and not ended:
                        return pod
            return None

        return wait_for(f"a pod that does {task}", find)

    def config(self, task: str) -> FetchConfig:
        """What it is told."""
        (container,) = self.pod(task)["spec"]["containers"]
        told = next(each for each in container["env"] if each["name"] == ENV_FETCH)
        return FetchConfig.from_json(told["value"])

    def run(self, task: str, page: ProgressPage, node: str | None = None) -> str:
        """Its container runs, at the page's address; the pod's uid."""
        pod = self.pod(task, node)
        state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        self._patch(
            pod, {"phase": "Running", "podIP": page.address, "podIPs": [{"ip": page.address}]},
            state, ready=True,
        )  # fmt: skip
        return str(pod["metadata"]["uid"])

    def end(
        self, task: str, result: FetchResult | Termination, code: int = 0, node: str | None = None
    ) -> None:
        """It ends with these last words."""
        pod = self.pod(task, node)
        good = isinstance(result, FetchResult)
        state = {
            "terminated": {
                "exitCode": code if not good else 0,
                "reason": "Completed" if good else "Error",
                "message": result.to_json(),
            }
        }
        self._patch(pod, {"phase": "Succeeded" if good else "Failed"}, state)

    def _patch(
        self, pod: dict[str, Any], status: dict[str, Any], state: dict[str, Any], *,
        ready: bool = False,
    ) -> None:  # fmt: skip
        (container,) = pod["spec"]["containers"]
        entry = {
            "name": container["name"], "image": container["image"], "imageID": "",
            "ready": ready, "restartCount": 0, "state": state,
        }  # fmt: skip
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{self.namespace}/pods/{metadata['name']}/status"
        code, answer = self.plane.request(
            "PATCH", path, {"status": {**status, "containerStatuses": [entry]}}, kind=_STATUS
        )
        assert code == 200, answer

    def resolve(self, **fields: Any) -> None:
        """The source answers."""
        self.end("resolve", result("resolve", digest="", facts=None, **fields))

    def fill(self) -> dict[str, Any]:
        """All of it; the status of a cache that is ready."""
        self.resolve()
        self.end("fetch", result("fetch"))
        return self.wait_phase("Ready")


def result(task: str, **fields: Any) -> FetchResult:
    """What a job that ended well says."""
    told: dict[str, Any] = {
        "revision": REVISION, "bytes": 3 * GIB, "files": 4, "digest": "d" * 64,
        "facts": json.loads(modelfacts.to_json(TINY)), **fields,
    }  # fmt: skip
    return FetchResult(task, **told)


def make_volume(plane: ControlPlane, mode: str = "ReadWriteOnce", **labels: str) -> str:
    """A volume of a class of its own, bound by whoever asks for that class; its class."""
    name = f"cache-{next(_VOLUMES)}"
    where = [{"key": key, "operator": "In", "values": [value]} for key, value in labels.items()]
    plane.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "100Gi"},
                "accessModes": [mode],
                "storageClassName": name,
                "hostPath": {"path": "/nowhere"},
                **(
                    {"nodeAffinity": {"required": {"nodeSelectorTerms": [
                        {"matchExpressions": where}]}}}
                    if where else {}
                ),
            },
        }
    )  # fmt: skip
    return name
