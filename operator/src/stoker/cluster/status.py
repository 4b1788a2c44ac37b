"""The only writer of a status, a service's or a cache's. It writes only when something differs.

The plan says what holds; this module adds when it began to hold: a condition keeps its
lastTransitionTime while its status word stays the same. The whole status is one server-side apply
of its own field manager, so a field that is no longer sent disappears, and `kubectl scale` or a
user's spec change never collides with it. The uid goes along, so that an object that was deleted
and made again never inherits a word.
"""

from collections.abc import Mapping
from typing import Any

from stoker import naming
from stoker.cluster.client import APPLY, Client
from stoker.cluster.kinds import owner_kind
from stoker.cluster.store import Store
from stoker.errors import NotFound
from stoker.model.moment import Moment
from stoker.model.observed import Owned


class StatusWriter:
    """Writes the status subresource."""

    def __init__(self, client: Client, store: Store) -> None:
        self._client = client
        self._store = store

    async def write(self, owner: Owned, wanted: Mapping[str, Any], now: Moment) -> bool:
        """Write the wanted status unless it is there already; say whether it was written."""
        status = with_times(wanted, owner.status, owner.generation, now)
        if status == owner.status:
            return False
        key, kind = owner.key, owner_kind(owner.kind)
        try:
            written = await self._client.write(
                "PATCH",
                kind.path(key.namespace, key.name, "status"),
                {
                    "apiVersion": kind.api_version,
                    "kind": kind.name,
                    "metadata": {
                        "name": key.name,
                        "namespace": key.namespace,
                        "uid": owner.uid,
                    },
                    "status": status,
                },
                query={"fieldManager": naming.STATUS_FIELD_MANAGER, "force": "true"},
                content_type=APPLY,
            )
        except NotFound:
            return False  # deleted between the look and the word
        self._store.put(kind.name, written)
        return True


def with_times(
    wanted: Mapping[str, Any], previous: Mapping[str, Any], generation: int, now: Moment
) -> dict[str, Any]:
    """The wanted status as it is stored: conditions dated, nothing empty, nothing null."""
    before = {entry["type"]: entry for entry in previous.get("conditions") or ()}
    conditions = []
    for entry in wanted.get("conditions") or ():
        old = before.get(entry["type"])
        same = old is not None and old.get("status") == entry["status"]
        since = old["lastTransitionTime"] if old is not None and same else now.rfc3339()
        conditions.append({"observedGeneration": generation, **entry, "lastTransitionTime": since})
    return _filled({**wanted, "conditions": conditions})


def _filled(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is null or empty, at any depth.

    Where a mapping or a list that had entries is applied without any, the API server makes a null
    of it (it removes what we own), and then refuses the whole status.
    """
    found = {}
    for name, value in mapping.items():
        kept = _filled(value) if isinstance(value, Mapping) else value
        if kept is not None and kept not in ({}, [], ()):
            found[name] = kept
    return found
