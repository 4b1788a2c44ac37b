"""What every object that we write has in common: namespace, owner, and the digest of its content.

The owner reference is what deletion rests on: the garbage collector removes everything when the
service goes, also with the operator gone. It does not block the owner's deletion.
"""

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stoker import naming
from stoker.api import v1alpha1
from stoker.model.observed import Key, ObservedService


@dataclass(frozen=True, slots=True)
class Owner:
    """The service, or cache, that owns an object."""

    key: Key
    uid: str
    kind: str = v1alpha1.KIND


def owner_of(service: ObservedService) -> Owner:
    """The owner of everything made for this service."""
    return Owner(service.key, service.uid)


def finish(manifest: Mapping[str, Any], owner: Owner) -> dict[str, Any]:
    """A copy that is in the owner's namespace, belongs to it and carries its own digest."""
    finished = copy.deepcopy(dict(manifest))
    metadata = finished.setdefault("metadata", {})
    metadata["namespace"] = owner.key.namespace
    metadata["ownerReferences"] = [
        {
            "apiVersion": v1alpha1.API_VERSION,
            "kind": owner.kind,
            "name": owner.key.name,
            "uid": owner.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ]
    digest = digest_of(finished)
    metadata.setdefault("annotations", {})[naming.ANNOTATION_APPLIED] = digest
    return finished


def digest_of(manifest: Mapping[str, Any]) -> str:
    """Names the content of a manifest, without its number of replicas and our notes on it."""
    content = dict(manifest)
    metadata = dict(content.get("metadata", {}))
    annotations = dict(metadata.get("annotations", {}))
    for own in (naming.ANNOTATION_APPLIED, naming.ANNOTATION_SERVED):
        annotations.pop(own, None)
    metadata["annotations"] = annotations
    content["metadata"] = metadata
    if isinstance(content.get("spec"), Mapping):
        content["spec"] = {k: v for k, v in content["spec"].items() if k != "replicas"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def applied_digest(body: Mapping[str, Any]) -> str | None:
    """The digest that the API server's copy carries."""
    annotations = body.get("metadata", {}).get("annotations") or {}
    digest = annotations.get(naming.ANNOTATION_APPLIED)
    return digest if isinstance(digest, str) else None
