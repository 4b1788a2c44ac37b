"""Volume claims, read one by one when a pass needs them, and where their volumes can be mounted.

Claims carry no label of ours: a watch would bring every claim of the cluster into memory, and need
the right to list them. A bound claim is read again after a minute, and at once when a cache was
filled on one that was made anew under its name; one that is missing or waits is asked for every few
seconds. Its volume is read once: where it lies does not change. Where the API
server refuses volumes or storage classes, nothing is known of places, and everything else goes on.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from stoker.clock import Clock
from stoker.cluster.client import Client
from stoker.cluster.kinds import CLAIM, STORAGE_CLASS, VOLUME, Kind
from stoker.errors import NotFound, Refused
from stoker.model import topology
from stoker.model.topology import Topology

_log = logging.getLogger(__name__)

Body = Mapping[str, Any]

# A bound claim does not unbind; one that is missing or pending is asked for again.
_BOUND_FOR_S: Final = 60.0
CLAIM_RETRY_S: Final = 5.0
_REFUSED_FOR_S: Final = 300.0
_ONE_NODE: Final = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})


@dataclass(frozen=True, slots=True)
class Claim:
    """What a claim says of itself."""

    phase: str | None  # Bound, Pending, Lost; None: there is no such claim
    uid: str | None = None
    volume: str | None = None  # name of its PersistentVolume
    storage_class: str | None = None
    one_node: bool = False  # whether only one node at a time can mount it
    writable: bool = False  # whether each pod that can read it can also write it


class Claims:
    """Remembers bound claims and where their volumes are."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        # Bound claims, and when they were last seen.
        self._bound: dict[tuple[str, str], tuple[Claim, float]] = {}
        self._places: dict[str, Topology | None] = {}  # by the claim's uid
        # Until when a kind is not asked for, after a refusal.
        self._refused: dict[str, float] = {}

    async def claim(self, namespace: str, name: str, uid: str | None = None) -> Claim:
        """The claim as it is, or was a moment ago; as it is, where another uid is remembered."""
        now = self._clock.monotonic()
        known, seen = self._bound.pop((namespace, name), (Claim(None), -_BOUND_FOR_S))
        meant = known.uid is not None and uid in {None, known.uid}
        if meant and now - seen < _BOUND_FOR_S:
            self._bound[namespace, name] = (known, seen)
            return known
        try:
            found = claim_of(await self._client.get(CLAIM.path(namespace, name)))
        except NotFound:
            found = Claim(None)
        if known.uid is not None and known.uid != found.uid:
            self._places.pop(known.uid, None)
        if found.phase == "Bound":
            self._bound[namespace, name] = (found, now)
        return found

    async def place(self, name: str, claim: Claim) -> Topology | None:
        """From where the volume of a claim can be reached; None: everywhere, or nobody tells."""
        if claim.uid is not None and claim.volume is not None:  # named, and soon bound
            if claim.uid not in self._places:
                volume = await self._read(VOLUME, claim.volume)
                if volume is None:
                    return None
                self._places[claim.uid] = topology.of_volume(volume, name)
            return self._places[claim.uid]
        if claim.phase == "Pending" and claim.storage_class:
            # It waits for its first pod, and the volume will be made where that one may run.
            body = await self._read(STORAGE_CLASS, claim.storage_class)
            return None if body is None else topology.of_class(body, name)
        return None

    async def expandable(self, storage_class: str) -> bool | None:
        """Whether claims of a class may grow; None where nobody tells."""
        body = await self._read(STORAGE_CLASS, storage_class)
        return None if body is None else bool(body.get("allowVolumeExpansion"))

    async def _read(self, kind: Kind, name: str) -> Body | None:
        now = self._clock.monotonic()
        until = self._refused.get(kind.name)
        if until is not None and now < until:
            return None
        try:
            return await self._client.get(kind.path(None, name))
        except NotFound:
            return None
        except Refused as error:
            if kind.name not in self._refused:  # nor by another pass meanwhile
                _log.warning(
                    "%s are not read, so nobody knows where models lie or whether claims grow: %s",
                    kind.plural,
                    error,
                    extra={"reason": "VolumesNotRead"},
                )
            self._refused[kind.name] = now + _REFUSED_FOR_S
            return None


def claim_of(body: Body) -> Claim:
    """What matters of a claim."""
    spec, status = body.get("spec") or {}, body.get("status") or {}
    modes = frozenset(status.get("accessModes") or spec.get("accessModes") or ())
    return Claim(
        phase=str(status.get("phase") or "Pending"),
        uid=str(body["metadata"]["uid"]),
        volume=spec.get("volumeName") or None,
        storage_class=spec.get("storageClassName") or None,
        one_node=bool(modes) and modes <= _ONE_NODE,
        # One node writes or many read: a second writer would wait for ever.
        writable=bool(modes) and "ReadOnlyMany" not in modes,
    )
