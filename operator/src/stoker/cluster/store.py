"""What the watches have brought: the latest body of every object that concerns us, in memory.

The store is fed from two sides: by raw watch events, and by the answers to our own writes, so that
the next look sees what the last pass wrote. The two race, and the newer resourceVersion of one uid
wins. Bodies are kept without managedFields, which are half of an object and which nobody here
reads, but for those of somebody else who set a number of replicas. Pods are found by their owner's
label, everything else by name.

Two kinds of objects own others: services and caches, and each has keys of its own. What becomes of
a cache concerns the services that use it too.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stoker import naming
from stoker.cluster.corrupt import corrupt_at
from stoker.cluster.kinds import CACHE, POD, SERVICE
from stoker.model.observed import Key

Body = Mapping[str, Any]


class Store:
    """Objects by kind, namespace and name; children also by the object they belong to."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str, str], Body] = {}
        self._by_owner: dict[tuple[str, Key], dict[tuple[str, str], Body]] = {}

    def put(self, kind: str, body: Body) -> bool:
        """Keep a body unless a newer one is known; say whether anything changed."""
        metadata = body["metadata"]
        place = (kind, metadata.get("namespace", ""), metadata["name"])
        known = self._objects.get(place)
        if known is not None and not _supersedes(metadata, known["metadata"]):
            return False
        slim = {**body, "metadata": _slim(metadata)}
        if known is not None:
            self._unlink(kind, known)
        self._objects[place] = slim
        owner = owner_of(kind, slim)
        if owner is not None and kind != owner[0]:
            self._by_owner.setdefault(owner, {})[kind, metadata["name"]] = slim
        return True

    def remove(self, kind: str, namespace: str, name: str, uid: str) -> bool:
        """Forget an object, unless a later one already has its name."""
        known = self._objects.get((kind, namespace, name))
        if known is None or known["metadata"].get("uid") != uid:
            return False
        del self._objects[kind, namespace, name]
        self._unlink(kind, known)
        return True

    def get(self, kind: str, namespace: str, name: str) -> Body | None:
        """The latest body of one object."""
        return self._objects.get((kind, namespace, name))

    def service(self, key: Key) -> Body | None:
        """The user's service."""
        return self.get(SERVICE.name, key.namespace, key.name)

    def cache(self, key: Key) -> Body | None:
        """The ModelCache."""
        return self.get(CACHE.name, key.namespace, key.name)

    def services(self) -> Iterator[Key]:
        """Every service that exists."""
        return self._keys(SERVICE.name)

    def caches(self) -> Iterator[Key]:
        """Every cache that exists."""
        return self._keys(CACHE.name)

    def _keys(self, wanted: str) -> Iterator[Key]:
        for kind, namespace, name in list(self._objects):
            if kind == wanted:
                yield Key(namespace, name)

    def children(self, key: Key, owner: str = SERVICE.name) -> list[tuple[str, Body]]:
        """Objects that carry the label of the service, or cache, with their kind."""
        return [(kind, body) for (kind, _), body in self._by_owner.get((owner, key), {}).items()]

    def users(self, cache: Key) -> list[Key]:
        """Services of the namespace that name this cache, or its very source; by name."""
        uri = source_of_cache(self.cache(cache) or {})
        return sorted(
            (
                key
                for key in self.services()
                if key.namespace == cache.namespace
                and uses(self.service(key) or {}, cache.name, uri)
            ),
            key=str,
        )

    def versions(self, kind: str) -> dict[tuple[str, str], tuple[str, str]]:
        """(namespace, name) → (uid, resourceVersion) of all objects of a kind."""
        return {
            (namespace, name): (body["metadata"]["uid"], body["metadata"]["resourceVersion"])
            for (held, namespace, name), body in self._objects.items()
            if held == kind
        }

    def _unlink(self, kind: str, body: Body) -> None:
        owner = owner_of(kind, body)
        if owner is None or owner not in self._by_owner:
            return
        children = self._by_owner[owner]
        children.pop((kind, body["metadata"]["name"]), None)
        if not children:
            del self._by_owner[owner]


def owner_of(kind: str, body: Body) -> tuple[str, Key] | None:
    """The service or cache that an object is, or belongs to by its label, with its kind."""
    metadata = body["metadata"]
    namespace = metadata.get("namespace", "")
    if kind in {SERVICE.name, CACHE.name}:
        return kind, Key(namespace, metadata["name"])
    labels = metadata.get("labels") or {}
    for owner, label in ((SERVICE, naming.LABEL_SERVICE), (CACHE, naming.LABEL_CACHE)):
        if labels.get(label):
            return owner.name, Key(namespace, labels[label])
    return None


def source_of_cache(cache: Body) -> str:
    """The address of a cache's model; empty where the object is none that we understand."""
    uri = ((cache.get("spec") or {}).get("model") or {}).get("uri")
    return uri.rstrip("/") if isinstance(uri, str) else ""


def uses(service: Body, cache: str, uri: str) -> bool:
    """Whether a service's raw body names a cache of its namespace, or that cache's source."""
    model = (service.get("spec") or {}).get("model") or {}
    if (model.get("cacheRef") or {}).get("name") == cache:
        return True
    own = model.get("uri")
    return bool(uri) and isinstance(own, str) and own.rstrip("/") == uri


class Feed:
    """Watch events in, keys of the services and caches concerned out."""

    def __init__(
        self,
        store: Store,
        wake: Callable[[Key], None],
        wake_cache: Callable[[Key], None] = lambda _: None,
        heard: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._wake = wake
        self._wake_cache = wake_cache
        self._heard = heard  # is told each kind that a watch has spoken of
        # What a cache's services were woken for last, and what a service's caches were.
        self._told: dict[tuple[str, Key], str] = {}

    def load(self, kind: str, body: Body) -> None:
        """An object as listed or changed; wakes nobody."""
        self._heard(kind)
        self._store.put(kind, body)

    def event(self, kind: str, body: Body, *, deleted: bool) -> None:
        """A change: remember it and wake whom it concerns."""
        self._heard(kind)
        metadata = body["metadata"]
        if deleted:
            self._store.remove(
                kind, metadata.get("namespace", ""), metadata["name"], metadata["uid"]
            )
        else:
            self._store.put(kind, body)
        self.concern(kind, body, deleted=deleted)

    def concern(self, kind: str, body: Body, *, deleted: bool = True) -> None:
        """Wake the service or cache that an object is or belongs to, and those beside it."""
        owner = owner_of(kind, body)
        if owner is None:
            return
        name, key = owner
        (self._wake if name == SERVICE.name else self._wake_cache)(key)
        if kind in {SERVICE.name, CACHE.name} and self._is_news(kind, key, body, deleted=deleted):
            self._wake_beside(kind, key, body)
        if kind == POD.name and name == SERVICE.name and corrupt_at(body) is not None:
            self._wake_beside(name, key, self._store.service(key) or {})

    def _is_news(self, kind: str, key: Key, body: Body, *, deleted: bool) -> bool:
        """Whether a change matters on the other side: a cache's progress does not."""
        told = "" if deleted else _news(kind, body)
        before = self._told.pop((kind, key), None)
        if not deleted:
            self._told[kind, key] = told
        return told != before

    def _wake_beside(self, kind: str, key: Key, body: Body) -> None:
        if kind == CACHE.name:
            uri = source_of_cache(body)
            for service in self._store.services():
                if service.namespace == key.namespace and uses(
                    self._store.service(service) or {}, key.name, uri
                ):
                    self._wake(service)
            return
        for cache in self._store.caches():
            if cache.namespace == key.namespace and uses(
                body, cache.name, source_of_cache(self._store.cache(cache) or {})
            ):
                self._wake_cache(cache)


def _news(kind: str, body: Body) -> str:
    metadata = body["metadata"]
    said = [metadata.get("uid"), metadata.get("generation"), "deletionTimestamp" in metadata]
    if kind == CACHE.name:
        status = body.get("status") or {}
        said.append({name: value for name, value in status.items() if name != "progress"})
    return json.dumps(said, sort_keys=True)


def _slim(metadata: Body) -> Body:
    """Metadata without managedFields, but for strangers' that have `spec.replicas`."""
    kept = {name: value for name, value in metadata.items() if name != "managedFields"}
    strangers = [
        entry
        for entry in metadata.get("managedFields") or ()
        if entry.get("manager") != naming.FIELD_MANAGER
        and "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    return {**kept, "managedFields": strangers} if strangers else kept


def _supersedes(new: Body, known: Body) -> bool:
    if new.get("uid") != known.get("uid"):
        return True
    try:
        return int(new["resourceVersion"]) >= int(known["resourceVersion"])
    except ValueError:  # opaque versions: trust the order of arrival
        return True
