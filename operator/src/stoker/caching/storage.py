"""Where a cache is kept: the claim that the spec asks for, and whether it will do.

A claim that we make is as large as what is to be on it, and a tenth more, as file systems take
their share; and it has room for compiled kernels, which are kept beside the model. While another
revision is fetched the last good one stays, so a claim that can grow is made to hold both. It never
shrinks, and nothing of it but its size and its owner is ever changed: Kubernetes would refuse it.
Whether a claim binds at once or waits for its first pod is its class's affair: the job is made in
either case, and what the scheduler says of it is told.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

from stoker import naming
from stoker.api.modelcache import CacheStorage, ModelCacheSpec
from stoker.caching import words
from stoker.caching.memory import Content, Resolved
from stoker.model import reasons
from stoker.model.cache import CacheClaim, CachePlatform, ObservedCache
from stoker.model.plan import Apply, Verdict
from stoker.quantity import parse_quantity
from stoker.render import cache as rendering
from stoker.render.objects import Owner

_GIB: Final = 2**30
_SHARE: Final = 1.1
_MODES_PER_NODE: Final = ("ReadWriteMany",)
_ONE_NODE: Final = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})


@dataclass(frozen=True, slots=True)
class Storage:
    """What the spec, or the administrator in its place, says."""

    claim: str  # '' where the image is mounted
    made: bool  # by us
    per_node: bool
    storage_class: str | None = None
    size: int | None = None
    access_modes: tuple[str, ...] = ()
    mounted: bool = False  # the runtime pulls the image, and there is no claim

    @property
    def one_node(self) -> bool:
        """Whether only one node at a time can mount it, as far as the spec says."""
        return bool(self.access_modes) and set(self.access_modes) <= _ONE_NODE


def storage_of(name: str, spec: ModelCacheSpec, platform: CachePlatform) -> Storage:
    """Where the cache of this name is kept."""
    given = spec.storage or platform.storage
    if given.image is not None:
        return Storage("", made=False, per_node=False, mounted=True)
    return _on_claim(name, given, platform)


def fallback_of(name: str, spec: ModelCacheSpec, platform: CachePlatform) -> Storage | None:
    """Where it is kept where the image cannot be mounted; None where nothing else is allowed."""
    image = None if spec.storage is None else spec.storage.image
    if image is None or image.fallback != "copy":
        return None
    return _on_claim(name, platform.storage, platform)


def named_claim(name: str, spec: ModelCacheSpec, platform: CachePlatform) -> tuple[str, bool]:
    """The claim that a pass has to look at ('' for none), and whether it is one folder per node."""
    found = fallback_of(name, spec, platform) or storage_of(name, spec, platform)
    return found.claim, found.per_node


def _on_claim(name: str, given: CacheStorage, platform: CachePlatform) -> Storage:
    own = naming.cache(name)
    if given.existing_claim is not None:
        return Storage(given.existing_claim.name, made=False, per_node=False)
    if given.per_node is not None:
        if given.per_node.claim_name is not None:
            return Storage(given.per_node.claim_name, made=False, per_node=True)
        return Storage(
            own,
            made=True,
            per_node=True,
            storage_class=given.per_node.storage_class_name,
            access_modes=_MODES_PER_NODE,
        )
    pvc = given.pvc
    size = None if pvc is None or pvc.size is None else math.ceil(parse_quantity(pvc.size))
    return Storage(
        own,
        made=True,
        per_node=False,
        storage_class=(None if pvc is None else pvc.storage_class_name) or platform.storage_class,
        size=size,
        access_modes=tuple(() if pvc is None else pvc.access_modes) or platform.access_modes,
    )


@dataclass(frozen=True, slots=True)
class ClaimStep:
    """What is to be done about the claim, and whether a job may use it."""

    usable: bool
    writes: tuple[Apply, ...] = ()
    verdict: Verdict | None = None  # why not, or what is to be known
    failed: bool = False  # it will stay so until somebody changes something


def prepare(
    observed: ObservedCache,
    storage: Storage,
    resolved: Resolved,
    content: Content | None,
    platform: CachePlatform,
) -> ClaimStep:
    """See to the claim, now that it is known what it has to hold."""
    claim = observed.claim
    if claim is not None and claim.deleting:
        return ClaimStep(
            usable=False,
            verdict=Verdict(
                reasons.CLAIM_TERMINATING,
                f"PersistentVolumeClaim {claim.name} is being deleted; it goes when no pod uses "
                "it any more.",
            ),
        )
    if not storage.made:
        return _existing(observed, storage)
    if claim is not None and not is_ours(observed, claim):
        return _taken(claim)
    too_small = _too_small(storage, resolved)
    if too_small is not None:
        return ClaimStep(usable=False, verdict=too_small, failed=True)
    return _made(observed, storage, needed(storage, resolved, content, platform))


def needed(
    storage: Storage, resolved: Resolved, content: Content | None, platform: CachePlatform
) -> int:
    """Bytes to ask for: what the user says, or whole GiB for what is to be on it."""
    if storage.size is not None:
        return storage.size
    held = resolved.bytes
    if content is not None and content.claim == storage.claim:
        held += content.bytes if content.folder != resolved.folder else 0
    return math.ceil((held * _SHARE + platform.compile_bytes) / _GIB) * _GIB


def is_ours(observed: ObservedCache, claim: CacheClaim) -> bool:
    """Whether a claim was made for a cache of this name, and belongs to nobody else.

    One that was kept when its cache was deleted is taken up again by the next of that name.
    """
    if claim.owner_uid is not None:
        return claim.owner_uid == observed.cache.uid
    labels = claim.labels
    return (
        labels.get(naming.LABEL_MANAGED_BY) == naming.MANAGED_BY
        and labels.get(naming.LABEL_CACHE) == observed.cache.key.name
    )


def _existing(observed: ObservedCache, storage: Storage) -> ClaimStep:
    claim = observed.claim
    if claim is None:
        return ClaimStep(
            usable=False,
            verdict=Verdict(
                reasons.CLAIM_NOT_FOUND,
                f"There is no PersistentVolumeClaim {storage.claim} in namespace "
                f"{observed.cache.key.namespace}: create it, or correct storage.",
            ),
        )
    return _lost(claim) or ClaimStep(usable=True)


def _lost(claim: CacheClaim) -> ClaimStep | None:
    if claim.phase != "Lost":
        return None
    return ClaimStep(
        usable=False,
        failed=True,
        verdict=Verdict(
            reasons.CLAIM_LOST,
            f"PersistentVolumeClaim {claim.name} has lost its volume: delete the claim, and it is "
            "made and filled anew.",
        ),
    )


def _taken(claim: CacheClaim) -> ClaimStep:
    return ClaimStep(
        usable=False,
        failed=True,
        verdict=Verdict(
            reasons.NAME_TAKEN,
            f"PersistentVolumeClaim {claim.name} exists and is not this cache's: name it in "
            "storage.existingClaim to use it, or delete it.",
        ),
    )


def _too_small(storage: Storage, resolved: Resolved) -> Verdict | None:
    if storage.size is None or storage.size >= resolved.bytes:
        return None
    return Verdict(
        reasons.NOT_ENOUGH_DISK,
        f"needs {words.size(resolved.bytes)}, storage.pvc.size is "
        f"{words.size(storage.size)}: write at least "
        f"{math.ceil(resolved.bytes * _SHARE / _GIB)}Gi, or leave it out.",
    )


def _made(observed: ObservedCache, storage: Storage, wanted: int) -> ClaimStep:
    cache, claim = observed.cache, observed.claim
    owner = Owner(cache.key, cache.uid, cache.kind)
    retain = cache.spec is not None and cache.spec.retain
    if claim is None:
        manifest = rendering.render_claim(owner, _spec(storage, wanted), retain=retain)
        return ClaimStep(usable=True, writes=(Apply(manifest, reasons.MISSING),))
    lost = _lost(claim)
    if lost is not None:
        return lost
    grows = claim.requested < wanted and claim.phase == "Bound"
    may_grow = grows and claim.expandable is True
    owned = claim.owner_uid is not None
    writes: tuple[Apply, ...] = ()
    if may_grow or owned == retain:
        size = wanted if may_grow else claim.requested
        manifest = rendering.render_claim(owner, _as_it_is(claim, size), retain=retain)
        writes = (Apply(manifest, reasons.CHANGED, claim.resource_version),)
    note = _small(claim, wanted) if grows and not may_grow else None
    return ClaimStep(usable=True, writes=writes, verdict=note)


def _small(claim: CacheClaim, wanted: int) -> Verdict:
    why = (
        "its class does not let claims grow"
        if claim.expandable is False
        else "it is not known whether its class lets claims grow"
    )
    return Verdict(
        reasons.NOT_ENOUGH_DISK,
        f"PersistentVolumeClaim {claim.name} has {words.size(claim.capacity or claim.requested)}, "
        f"{words.size(wanted)} would be enough, and {why}: enlarge it with `kubectl patch pvc`, or "
        "make another ModelCache.",
    )


def _spec(storage: Storage, size: int) -> dict[str, Any]:
    return {
        "accessModes": list(storage.access_modes),
        "storageClassName": storage.storage_class,
        "volumeMode": "Filesystem",
        "resources": {"requests": {"storage": quantity_of(size)}},
    }


def _as_it_is(claim: CacheClaim, size: int) -> dict[str, Any]:
    """The spec that the claim has, but for its size: nothing else of it may change."""
    return {
        "accessModes": list(claim.access_modes),
        "storageClassName": claim.storage_class,
        "volumeMode": claim.volume_mode,
        "resources": {"requests": {"storage": quantity_of(size)}},
    }


def quantity_of(size: int) -> str:
    """Bytes as Kubernetes writes them, in whole GiB where they are."""
    return f"{size // _GIB}Gi" if size % _GIB == 0 else str(size)
