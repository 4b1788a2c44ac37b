"""Folders of the node as claims: what a pod may mount under the `restricted` standard.

A hostPath is refused there, a claim is not. So the administrator, who is us here, makes a local
PersistentVolume that is bound beforehand to exactly one claim, and the pod mounts the claim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from e2e.cluster.settings import NODE, STORAGE_CLASS

if TYPE_CHECKING:
    from pathlib import Path


def local_volume(
    name: str,
    path: Path | str,
    namespace: str,
    claim: str,
    mode: str = "ReadOnlyMany",
    *,
    size: str = "10Gi",
    node: str | None = NODE,
) -> list[dict[str, Any]]:
    """Return a PersistentVolume for a folder of the node and the claim that is bound to it.

    Parameters
    ----------
    name
        Name of the volume, unique in the cluster.
    path
        Folder on the node; it must exist before a pod mounts it.
    namespace, claim
        The claim to make and to bind.
    mode
        Access mode; several pods may read `ReadOnlyMany` at once.
    size
        A formality: local volumes are not limited.
    node
        Name of the node that has the folder; None for a folder that every node is said to have.
    """
    shared = {"accessModes": [mode], "storageClassName": STORAGE_CLASS, "volumeMode": "Filesystem"}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            **shared,
            "capacity": {"storage": size},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": namespace,
                "name": claim,
            },
            **_place(str(path), node),
            "persistentVolumeReclaimPolicy": "Retain",
        },
    }
    wanted = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": claim, "namespace": namespace},
        "spec": {**shared, "resources": {"requests": {"storage": size}}, "volumeName": name},
    }
    return [volume, wanted]


def free_volume(
    name: str, path: Path | str, mode: str = "ReadWriteOnce", *, size: str = "1Gi"
) -> dict[str, Any]:
    """Return a PersistentVolume for a folder of the node that any claim of its class may take."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": [mode],
            "storageClassName": STORAGE_CLASS,
            "volumeMode": "Filesystem",
            "capacity": {"storage": size},
            **_place(str(path), NODE),
            "persistentVolumeReclaimPolicy": "Retain",
        },
    }


def _place(path: str, node: str | None) -> dict[str, Any]:
    if node is None:
        return {"hostPath": {"path": path}}
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    terms = [{"matchExpressions": [here]}]
    return {"local": {"path": path}, "nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}
