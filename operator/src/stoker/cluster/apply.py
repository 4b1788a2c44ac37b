"""Carries out a plan's actions: server-side apply under one field manager, guarded deletion.

Three promises:

* Nothing of a stranger's is touched. An object that the watches have not shown is read before its
  first write; if it is there and is not controlled by this service, or cache, nothing is written
  and the name counts as taken. The first apply of an object that was seen absent is not forced, so
  that whoever made it in between is asked, not overruled.
* Nothing ownerless is made, but the ModelCache that services of one source share: it outlives them,
  and is made once and never changed. Any other manifest without our owner reference is a bug and
  raises.
* What takes away is guarded: a deletion carries the uid it was decided for, a write that lowers
  replicas the resourceVersion.

Of pods one annotation is written, as a courtesy to those whose requests they compute: that it
cannot be written keeps nobody from anything.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from stoker import naming
from stoker.cluster.client import APPLY, MERGE, Client
from stoker.cluster.kinds import CACHE, CLAIM, POD, Kind, child
from stoker.cluster.observe import controller_uid
from stoker.cluster.store import Store
from stoker.errors import ClusterUnavailable, Conflict, NotFound, Refused, Terminating
from stoker.model.observed import Owned
from stoker.model.plan import Apply, Delete, DeletionCost

_log = logging.getLogger(__name__)

# Kinds whose objects need none of the others of a service to be there first.
_INDEPENDENT: Final = frozenset(
    {
        "ConfigMap",
        "InferencePool",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Role",
        "Service",
        "ServiceAccount",
    }
)


class Applier:
    """Writes children; what the API server answers goes straight into the store."""

    def __init__(self, client: Client, store: Store) -> None:
        self._client = client
        self._store = store

    async def find_taken(
        self, owner: Owned, actions: Iterable[Apply | Delete]
    ) -> frozenset[tuple[str, str]]:
        """(kind, name) of objects that the actions would write but that belong to somebody else."""
        names = [
            (action.manifest["kind"], action.manifest["metadata"]["name"])
            for action in actions
            if isinstance(action, Apply) and action.manifest["kind"] != CLAIM.name
        ]
        verdicts = await asyncio.gather(
            *(self._is_taken(owner, child(kind), name) for kind, name in names)
        )
        return frozenset(name for name, taken in zip(names, verdicts, strict=True) if taken)

    async def _is_taken(self, owner: Owned, kind: Kind, name: str) -> bool:
        namespace = owner.key.namespace
        known = self._store.get(kind.name, namespace, name)
        if known is None:
            try:
                known = await self._client.get(kind.path(namespace, name))
            except NotFound:
                return False
        if controller_uid(known["metadata"]) == owner.uid:
            self._store.put(kind.name, known)
            return False
        if _is_left_over(known["metadata"].get("ownerReferences") or (), owner):
            raise Conflict(
                f"{kind.name} {namespace}/{name} belongs to a deleted {owner.kind} of the same "
                "name: waiting for the garbage collector"
            )
        return True

    async def carry_out(self, owner: Owned, actions: Iterable[Apply | Delete]) -> int:
        """Perform the actions; the number of writes.

        Order is kept where it means something: among workloads, around deletions, and a binding
        after its role. What does not depend on each other goes at once.
        """
        writes = 0
        for batch in _batches(actions):
            results = await asyncio.gather(
                *(self._perform(owner, action) for action in batch), return_exceptions=True
            )
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            writes += len(batch)
        return writes

    async def make_cache(self, owner: Owned, manifest: Mapping[str, Any]) -> bool:
        """Make a shared ModelCache; whether it was not there. One that is there stays as it is."""
        namespace, name = owner.key.namespace, str(manifest["metadata"]["name"])
        try:
            made = await self._client.write(
                "POST",
                CACHE.path(namespace),
                manifest,
                query={"fieldManager": naming.FIELD_MANAGER},
            )
        except Conflict:  # another service was first, or the watch is behind
            self._store.put(CACHE.name, await self._client.get(CACHE.path(namespace, name)))
            return False
        except Refused as error:
            error.kind = CACHE.name
            raise
        self._store.put(CACHE.name, made)
        _log.info(
            "made %s %s", CACHE.name, name, extra={"key": str(owner.key), "reason": "Missing"}
        )
        return True

    async def price(self, owner: Owned, costs: Iterable[DeletionCost]) -> int:
        """Write what it costs to lose each pod; the number of writes."""
        written = await asyncio.gather(
            *(self._price(owner, cost) for cost in costs), return_exceptions=True
        )
        for result in written:
            if isinstance(result, BaseException):
                raise result
        return sum(result is True for result in written)

    async def _price(self, owner: Owned, cost: DeletionCost) -> bool:
        annotations = {naming.ANNOTATION_DELETION_COST: str(cost.cost)}
        try:
            # A pod of the same name with another uid is a conflict.
            body = await self._client.write(
                "PATCH",
                POD.path(owner.key.namespace, cost.pod),
                {"metadata": {"uid": cost.uid, "annotations": annotations}},
                query={"fieldManager": naming.FIELD_MANAGER},
                content_type=MERGE,
            )
        except (ClusterUnavailable, Conflict, NotFound, Refused, Terminating) as error:
            _log.info(
                "deletion cost of pod %s not written: %s",
                cost.pod,
                error,
                extra={"key": str(owner.key), "reason": type(error).__name__},
            )
            return False
        self._store.put(POD.name, body)
        return True

    async def _perform(self, owner: Owned, action: Apply | Delete) -> None:
        if isinstance(action, Delete):
            await self._delete(owner, action)
            return
        try:
            await self._apply(owner, action)
        except Refused as error:
            error.kind = action.manifest["kind"]
            raise

    async def _apply(self, owner: Owned, action: Apply) -> None:
        if action.manifest["kind"] == CLAIM.name:
            await self._apply_claim(owner, action)
            return
        manifest: dict[str, Any] = {**action.manifest}
        metadata = {**manifest["metadata"], "namespace": owner.key.namespace}
        if controller_uid(metadata) != owner.uid:
            raise AssertionError(f"{manifest['kind']} {metadata['name']} lacks our owner reference")
        kind, name = child(manifest["kind"]), metadata["name"]
        known = self._store.get(kind.name, owner.key.namespace, name)
        if action.resource_version is not None:
            metadata["resourceVersion"] = action.resource_version
        if known is not None:
            # Never revive an object that was deleted meanwhile: its successor has another uid.
            metadata["uid"] = known["metadata"]["uid"]
        manifest["metadata"] = metadata
        try:
            written = await self._client.write(
                "PATCH",
                kind.path(owner.key.namespace, name),
                manifest,
                query={
                    "fieldManager": naming.FIELD_MANAGER,
                    "force": "true" if known is not None else "false",
                },
                content_type=APPLY,
            )
        except (Conflict, NotFound):
            if known is not None:
                await self._look_again(kind, owner.key.namespace, name)
            raise
        self._store.put(kind.name, written)
        _log.info(
            "applied %s %s",
            kind.name,
            name,
            extra={"key": str(owner.key), "reason": action.reason},
        )

    async def _apply_claim(self, owner: Owned, action: Apply) -> None:
        """Make a claim, or change of it what may be changed: its size, and whose it is.

        Claims are not watched, so the pass has read it: what it saw is what is changed, or nothing.
        A stranger's of that name is a conflict.
        """
        metadata = action.manifest["metadata"]
        namespace, name = owner.key.namespace, metadata["name"]
        labels = metadata.get("labels") or {}
        if controller_uid(metadata) not in {None, owner.uid} or (
            labels.get(naming.LABEL_CACHE) != owner.key.name
        ):
            raise AssertionError(f"claim {name} is not this cache's")
        query = {"fieldManager": naming.FIELD_MANAGER}
        if action.resource_version is None:
            body = {**action.manifest, "metadata": {**metadata, "namespace": namespace}}
            await self._client.write("POST", CLAIM.path(namespace), body, query=query)
        else:
            await self._client.write(
                "PATCH",
                CLAIM.path(namespace, name),
                {
                    "metadata": {
                        "resourceVersion": action.resource_version,
                        "ownerReferences": metadata.get("ownerReferences"),
                    },
                    "spec": {"resources": action.manifest["spec"]["resources"]},
                },
                query=query,
                content_type=MERGE,
            )
        _log.info("applied claim %s", name, extra={"key": str(owner.key), "reason": action.reason})

    async def _delete(self, owner: Owned, action: Delete) -> None:
        kind = child(action.kind)
        namespace = owner.key.namespace
        try:
            await self._client.write(
                "DELETE",
                kind.path(namespace, action.name),
                {
                    "apiVersion": "v1",
                    "kind": "DeleteOptions",
                    "propagationPolicy": "Background",
                    "preconditions": {"uid": action.uid},
                },
            )
        except NotFound:
            _log.debug("%s %s was gone already", kind.name, action.name)
        self._store.remove(kind.name, namespace, action.name, action.uid)
        _log.info(
            "deleted %s %s",
            kind.name,
            action.name,
            extra={"key": str(owner.key), "reason": action.reason},
        )

    async def _look_again(self, kind: Kind, namespace: str, name: str) -> None:
        """After a conflict the store is behind; do not wait for the watch to say how."""
        known = self._store.get(kind.name, namespace, name)
        try:
            self._store.put(kind.name, await self._client.get(kind.path(namespace, name)))
        except NotFound:
            if known is not None:
                self._store.remove(kind.name, namespace, name, known["metadata"]["uid"])


def _batches(actions: Iterable[Apply | Delete]) -> Iterator[list[Apply | Delete]]:
    """Runs of applies that do not depend on each other; everything else alone."""
    batch: list[Apply | Delete] = []
    for action in actions:
        kind = action.manifest["kind"] if isinstance(action, Apply) else None
        if kind in _INDEPENDENT:
            batch.append(action)
            continue
        if batch:
            yield batch
            batch = []
        yield [action]
    if batch:
        yield batch


def _is_left_over(owners: Iterable[Any], owner: Owned) -> bool:
    """Whether an object belongs to an earlier object of this name that is already gone."""
    return any(
        each.get("kind") == owner.kind
        and str(each.get("apiVersion", "")).startswith(f"{naming.GROUP}/")
        and each.get("name") == owner.key.name
        and each.get("uid") != owner.uid
        for each in owners
    )
