"""What engine pods say of the files that they were given.

An engine's worker that finds a file which is not what the manifest says ends its pod with
`ModelCorrupt`. The kubelet starts it again and again; the cache puts the file right meanwhile.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from stoker_worker.contract import Termination, TerminationReason

Body = Mapping[str, Any]


def corrupt_at(pod: Body) -> float | None:
    """When a container of this pod last found a bad file, in Unix seconds; None: never."""
    status = pod.get("status") or {}
    return max(
        (
            time
            for kind in ("containerStatuses", "initContainerStatuses")  # who stages reads it first
            for entry in status.get(kind) or ()
            for state in ("state", "lastState")
            if (time := _found(((entry.get(state) or {}).get("terminated")) or {})) is not None
        ),
        default=None,
    )


def corrupt_nodes(pods: Iterable[Body]) -> dict[str, float]:
    """On which nodes such pods are, and when the newest of them found it."""
    found: dict[str, float] = {}
    for pod in pods:
        at, node = corrupt_at(pod), (pod.get("spec") or {}).get("nodeName")
        if at is not None and node:
            found[str(node)] = max(at, found.get(str(node), 0.0))
    return found


def _found(ended: Body) -> float | None:
    said = Termination.parse(str(ended.get("message") or ""))
    if said is None or said.reason != TerminationReason.MODEL_CORRUPT:
        return None
    text = ended.get("finishedAt")
    return datetime.fromisoformat(str(text)).timestamp() if text else None
