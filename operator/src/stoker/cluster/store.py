"""What the watches have brought: the latest body of every object that concerns us, in memory.

The store is fed from two sides: by raw watch events, and by the answers to our own writes, so that
the next look sees what the last pass wrote. The two race, and the newer resourceVersion of one uid
wins. Bodies are kept without managedFields, which are half of an object and which nobody here
reads, but for those of somebody else who set a number of replicas. Pods are found by their owner's
label, everything else by name.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stoker import naming
from stoker.cluster.kinds import SERVICE
from stoker.model.observed import Key

Body = Mapping[str, Any]


class Store:
    """Objects by kind, namespace and name; children also by the service they belong to."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str, str], Body] = {}
        self._by_service: dict[Key, dict[tuple[str, str], Body]] = {}

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
        owner = service_of(kind, slim)
        if owner is not None and kind != SERVICE.name:
            self._by_service.setdefault(owner, {})[kind, metadata["name"]] = slim
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
        """The user's object."""
        return self.get(SERVICE.name, key.namespace, key.name)

    def services(self) -> Iterator[Key]:
        """Every service that exists."""
        for kind, namespace, name in list(self._objects):
            if kind == SERVICE.name:
                yield Key(namespace, name)

    def children(self, key: Key) -> list[tuple[str, Body]]:
        """Objects that carry the service's label, with their kind."""
        return [(kind, body) for (kind, _), body in self._by_service.get(key, {}).items()]

    def versions(self, kind: str) -> dict[tuple[str, str], tuple[str, str]]:
        """(namespace, name) → (uid, resourceVersion) of all objects of a kind."""
        return {
            (namespace, name): (body["metadata"]["uid"], body["metadata"]["resourceVersion"])
            for (held, namespace, name), body in self._objects.items()
            if held == kind
        }

    def _unlink(self, kind: str, body: Body) -> None:
        owner = service_of(kind, body)
        if owner is None or owner not in self._by_service:
            return
        children = self._by_service[owner]
        children.pop((kind, body["metadata"]["name"]), None)
        if not children:
            del self._by_service[owner]


def service_of(kind: str, body: Body) -> Key | None:
    """The service that an object is, or belongs to by its label."""
    metadata = body["metadata"]
    namespace = metadata.get("namespace", "")
    if kind == SERVICE.name:
        return Key(namespace, metadata["name"])
    name = (metadata.get("labels") or {}).get(naming.LABEL_SERVICE)
    return Key(namespace, name) if name else None


class Feed:
    """Watch events in, keys of the services concerned out."""

    def __init__(self, store: Store, wake: Callable[[Key], None]) -> None:
        self._store = store
        self._wake = wake

    def load(self, kind: str, body: Body) -> None:
        """An object as listed or changed; wakes nobody."""
        self._store.put(kind, body)

    def event(self, kind: str, body: Body, *, deleted: bool) -> None:
        """A change: remember it and wake the service it concerns."""
        metadata = body["metadata"]
        if deleted:
            self._store.remove(
                kind, metadata.get("namespace", ""), metadata["name"], metadata["uid"]
            )
        else:
            self._store.put(kind, body)
        key = service_of(kind, body)
        if key is not None:
            self._wake(key)


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
