"""What all pods of a service that touch its model share: where they run, and as whom.

The pod that reads a model's facts runs exactly where the engine may run, so that a volume which its
first user pins to a zone is never pinned to one without accelerators.
"""

from collections.abc import Sequence
from typing import Any, Final

from stoker.model.replica import Pairs, Placement, Replica

Manifest = dict[str, Any]

_HOLDS_MODEL: Final = 5
USER: Final = 65532  # nobody's number in the usual images


def placement(replica: Replica | Placement) -> Manifest:
    """The part of a pod's spec that decides which nodes may take it."""
    return compact(
        {
            "imagePullSecrets": [{"name": name} for name in replica.image_pull_secrets],
            "priorityClassName": replica.additions.priority_class,
            "nodeSelector": _node_selector(replica),
            "affinity": _affinity(replica),
            "tolerations": [
                dict(toleration)
                for toleration in (
                    *replica.accelerators.tolerations,
                    *replica.additions.tolerations,
                )
            ],
        }
    )


def pinned(placed: Manifest, nodes: Sequence[str]) -> Manifest:
    """The same, on one of these nodes alone: by name, as no label is sure to tell nodes apart."""
    if not nodes:
        return placed
    inner = (placed.get("affinity") or {}).get("nodeAffinity") or {}
    required = inner.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    # A field takes one value, and a pod fits where any of the terms does.
    terms = [
        {
            **term,
            "matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}],
        }
        for term in required.get("nodeSelectorTerms") or [{}]
        for node in nodes
    ]
    affinity = {
        **inner,
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
    }
    return {**placed, "affinity": {"nodeAffinity": affinity}}


def pod_security() -> Manifest:
    """As nobody, with the profile that the restricted standard asks for."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Manifest:
    """Without rights, on a root file system that nobody writes."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def claim_volume(name: str, claim: str, *, writable: bool = False) -> Manifest:
    """Read-only at the volume too, or the kubelet would change the group of every file in it.

    A cache's volume may be writable: its own jobs mounted it with the same group before, and where
    the root has that group already, nothing below is touched (`OnRootMismatch`).
    """
    source = {"claimName": claim} if writable else {"claimName": claim, "readOnly": True}
    return {"name": name, "persistentVolumeClaim": source}


def model_volume(name: str, replica: Replica, *, writable: bool = False) -> Manifest:
    """What holds the model of a replica."""
    if replica.model_image:
        return image_volume(name, replica.model_image)
    return claim_volume(name, replica.claim, writable=writable)


def image_volume(name: str, reference: str) -> Manifest:
    """An image that the runtime pulls once for each node; named by its digest, it never changes."""
    return {"name": name, "image": {"reference": reference, "pullPolicy": "IfNotPresent"}}


def compact(mapping: Manifest) -> Manifest:
    """Without what is absent or empty, which the API server would drop anyway."""
    return {key: value for key, value in mapping.items() if value not in (None, {}, [])}


def _node_selector(replica: Replica | Placement) -> dict[str, str]:
    """The user's labels, and the accelerator's where there is no choice between several."""
    selectors = replica.accelerators.selectors
    chosen = selectors[0] if len(selectors) == 1 else ()
    return {**dict(chosen), **dict(replica.additions.node_selector)}


def _affinity(replica: Replica | Placement) -> Manifest:
    """A choice of accelerators: one of them, the first ones preferred; then nodes with the model.

    A dearer type is not worth what it saves to wait for a model, so the label weighs less.
    """
    selectors = replica.accelerators.selectors
    terms = [{"matchExpressions": _expressions(selector)} for selector in selectors]
    several = len(selectors) > 1
    preferred = [
        {"weight": 100 - 10 * place, "preference": term}
        for place, term in enumerate(terms if several else [])
    ]
    label = replica.node_label if isinstance(replica, Replica) else None
    if label is not None:
        holds = {"matchExpressions": [{"key": label, "operator": "Exists"}]}
        preferred.append({"weight": _HOLDS_MODEL, "preference": holds})
    required = {"nodeSelectorTerms": terms} if several else {}
    found = compact(
        {
            "requiredDuringSchedulingIgnoredDuringExecution": required,
            "preferredDuringSchedulingIgnoredDuringExecution": preferred,
        }
    )
    return {"nodeAffinity": found} if found else {}


def _expressions(selector: Pairs) -> list[Manifest]:
    return [{"key": key, "operator": "In", "values": [value]} for key, value in selector]
