"""The scheduler's and the kubelet's part with engine pods: a place for so many, no more.

There is neither beside the control plane, so somebody has to say that no node can take a pod, to
bind it where one can, to let it answer, and to end it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Self

    from tests.support.controlplane import ControlPlane

PRODUCT = "nvidia.com/gpu.product"
SAID = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
_PAUSE_S = 0.2
_PATCH = "application/strategic-merge-patch+json"


class Scheduler:
    """Places the engine pods of a namespace; `room` says how many, by the product asked for."""

    def __init__(self, plane: ControlPlane, namespace: str, room: dict[str, int]) -> None:
        self._plane = plane
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.room = room
        self.most = 0  # pods that waited at one time
        self.least = 0  # pods that answered at one time, since it was last set

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def products(self, *, bound: bool) -> list[str]:
        """What engine pods ask for that are (not yet) on a node and stay."""
        return sorted(
            _product(pod)
            for pod in self._list()
            if "deletionTimestamp" not in pod["metadata"]
            and bool(pod["spec"].get("nodeName")) is bound
        )

    def _list(self) -> list[dict[str, Any]]:
        status, found = self._plane.request(
            "GET", f"{self._pods}?labelSelector=stoker.dev/component=engine"
        )
        return list(found["items"]) if status == 200 else []

    def _run(self) -> None:
        while not self._stop.wait(_PAUSE_S):
            try:
                self._step(self._list())
            except OSError:
                continue  # the API server starts or ends

    def _step(self, pods: list[dict[str, Any]]) -> None:
        taken: dict[str, int] = {}
        for pod in pods:
            if pod["spec"].get("nodeName"):
                taken[_product(pod)] = taken.get(_product(pod), 0) + 1
                if "deletionTimestamp" in pod["metadata"]:
                    self._end(pod)
        self.least = min(self.least, sum(map(_ready, pods)))
        waiting = [pod for pod in pods if not pod["spec"].get("nodeName")]
        self.most = max(self.most, len(waiting))
        for pod in waiting:
            product = _product(pod)
            if taken.get(product, 0) < self.room.get(product, 0):
                taken[product] = taken.get(product, 0) + 1
                self._bind(pod)
            elif not (pod.get("status") or {}).get("conditions"):
                self._refuse(pod)

    def _bind(self, pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        self._plane.request(
            "POST",
            f"{self._pods}/{name}/binding",
            {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": name},
                "target": {"apiVersion": "v1", "kind": "Node", "name": _product(pod).lower()},
            },
        )
        conditions = [{"type": kind, "status": "True"} for kind in ("PodScheduled", "Ready")]
        self._say(name, {"phase": "Running", "conditions": conditions})

    def _refuse(self, pod: dict[str, Any]) -> None:
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": SAID,
        }
        self._say(pod["metadata"]["name"], {"conditions": [condition]})

    def _say(self, name: str, status: dict[str, Any]) -> None:
        body = {"status": status}
        self._plane.request("PATCH", f"{self._pods}/{name}/status", body, kind=_PATCH)

    def _end(self, pod: dict[str, Any]) -> None:
        path = f"{self._pods}/{pod['metadata']['name']}?gracePeriodSeconds=0"
        self._plane.request("DELETE", path)


def _product(pod: dict[str, Any]) -> str:
    return str((pod["spec"].get("nodeSelector") or {}).get(PRODUCT, ""))


def _ready(pod: dict[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
