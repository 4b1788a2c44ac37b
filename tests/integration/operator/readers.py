"""The kubelet's and the worker's part in reading models: facts pods end with what they found.

There is no kubelet, so somebody has to say that a facts pod ran and what it left. What is in a
folder follows from its name, so that a test says `pvc://models/huge` and need not do more.
"""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stoker_worker import modelfacts
from stoker_worker.contract import MODEL_DIR, Termination
from stoker_worker.modelfacts import ModelFacts
from tests.support.families import FAMILIES
from tests.support.tiny import TINY

if TYPE_CHECKING:
    from typing import Self

    from tests.support.controlplane import ControlPlane

_PODS = "/api/v1/pods?labelSelector=stoker.dev/component=facts"
_PAUSE_S = 0.2
_FOLDERS: dict[str, ModelFacts | Termination] = {
    "huge": replace(
        TINY,
        digest="sha256:huge",
        hidden=16_384,
        heads=128,
        parameters=10**12,
        weight_bytes=2 * 10**12,
        bytes_by_dtype={"BF16": 2 * 10**12},
    ),
    "llama": FAMILIES["llama-3.1-8b"].facts,
    "nowhere": Termination("ModelNotFound", "there is no folder /models/nowhere"),
    "pickled": Termination("PickleWeights", "/models/pickled holds pickled weights alone"),
}


class Readers:
    """Ends every facts pod of a control plane within a moment."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.folders = dict(_FOLDERS)  # what is in them; a test may overwrite one
        self.seen: list[str] = []  # namespace/service of every pod that was ended

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_PAUSE_S):
            try:
                status, found = self._plane.request("GET", _PODS)
            except OSError:
                continue  # the API server starts or ends
            for pod in found.get("items", ()) if status == 200 else ():
                if (pod.get("status") or {}).get("phase") == "Pending":
                    self._end(pod)

    def _end(self, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        (container,) = pod["spec"]["containers"]
        folder = container["command"][-1].removeprefix(MODEL_DIR).strip("/")
        left = self.folders.get(folder, TINY)
        good = isinstance(left, ModelFacts)
        if isinstance(left, Termination):
            message = left.to_json()
        else:
            message = json.dumps({"facts": modelfacts.to_dict(left)})
        ended = {
            "exitCode": 0 if good else 1,
            "reason": "Completed" if good else "Error",
            "message": message,
        }
        status = {
            "phase": "Succeeded" if good else "Failed",
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": False,
                    "restartCount": 0,
                    "state": {"terminated": ended},
                }
            ],
        }
        code, _ = self._plane.request(
            "PATCH",
            f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status",
            {"status": status},
            kind="application/merge-patch+json",
        )
        if code == 200:
            service = metadata["labels"]["stoker.dev/service"]
            self.seen.append(f"{metadata['namespace']}/{service}")
