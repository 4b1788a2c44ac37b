"""From wanted manifests to the few writes that are needed, in a safe order."""

from collections.abc import Iterable
from typing import Any, Final

from stoker.model import reasons
from stoker.model.observed import Observed, ObservedObject
from stoker.model.plan import Apply, Delete
from stoker.render import drift, engine, objects

# Identities and rights before those who use them, pods last.
_ORDER: Final = (
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "PersistentVolumeClaim",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Service",
    "InferencePool",
    "Job",
    "LeaderWorkerSet",
    "Deployment",
)


def apply_if_needed(manifest: dict[str, Any], observed: Observed) -> Apply | None:
    """The write that makes the cluster's copy right; None when it is, or is somebody else's."""
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    if (kind, name) in observed.taken:
        return None
    present = observed.object(kind, name)
    if present is None:
        return Apply(manifest, reasons.MISSING)
    if not drift.needs_apply(manifest, present.body):
        return None
    wanted, told = _replicas(manifest), _replicas(present.body)
    lowers = wanted is not None and told is not None and wanted < told
    if objects.applied_digest(manifest) != objects.applied_digest(present.body):
        reason = reasons.CHANGED
    elif wanted != told:
        reason = reasons.SCALING
    elif engine.was_served(manifest) and not engine.was_served(present.body):
        reason = reasons.SERVED
    else:
        reason = reasons.DRIFTED
    return Apply(manifest, reason, present.resource_version if lowers else None)


def delete(present: ObservedObject, reason: str) -> Delete:
    """Removal of exactly the object that was seen."""
    return Delete(present.kind, present.name, present.uid, reason)


def in_order(actions: Iterable[Apply | Delete]) -> tuple[Apply | Delete, ...]:
    """Applies by kind, then removals; otherwise as given."""
    return tuple(sorted(actions, key=_rank))


def _rank(action: Apply | Delete) -> int:
    if isinstance(action, Delete):
        return len(_ORDER)
    return _ORDER.index(action.manifest["kind"])


def _replicas(manifest: Any) -> int | None:  # noqa: ANN401 - any manifest
    replicas = (manifest.get("spec") or {}).get("replicas")
    return replicas if isinstance(replicas, int) else None
