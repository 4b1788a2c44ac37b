"""Proof that the watches tell the truth: compare the store with a plain list, by metadata alone.

A watch can fail in three silent ways: it never delivers, it stops delivering, or it starts anew
after a gap and never mentions what was deleted meanwhile (Kopf lists again and reports what it
finds, not what is missing). One comparison finds all three:

* listed, but unknown or older in the store, twice in a row: the watch is dead, and only a new
  process helps;
* known before the list was asked for, but not listed: deleted in a gap, so forgotten now;
* at start, everything listed is known: the store is complete and decisions may begin.

A list of metadata of a dozen kinds a minute costs next to nothing and, being a read, writes
nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from stoker import naming
from stoker.cluster.client import METADATA_LIST, Client
from stoker.cluster.kinds import OWNERS, WATCHED, Kind
from stoker.cluster.store import Body, Store
from stoker.errors import NotFound

_Place = tuple[str, str, str]  # kind, namespace, name


@dataclass(slots=True)
class Audit:
    """Remembers between two comparisons what looked wrong in the first."""

    client: Client
    store: Store
    wake: Callable[[str, Body], None]  # with the kind and the last body of what is gone
    namespaces: Sequence[str] = ()  # empty: the whole cluster
    kinds: Sequence[Kind] = WATCHED
    heard: Callable[[str], None] = lambda _: None  # is told each kind that the store knows well
    _suspects: dict[_Place, str | None] = field(default_factory=dict)

    async def missing_kinds(self) -> list[str]:
        """Kinds that the API server does not serve yet."""
        absent = []
        for kind in self.kinds:
            try:
                await self.client.get(self._paths(kind)[0], {"limit": "1"}, accept=METADATA_LIST)
            except NotFound:
                absent.append(f"{kind.plural}.{kind.group}" if kind.group else kind.plural)
        return absent

    async def complete(self) -> bool:
        """Whether the store knows everything that exists now."""
        for kind in self.kinds:
            listed = await self._list(kind)
            known = self.store.versions(kind.name)
            if any(known.get(place, ("", ""))[0] != uid for place, (uid, _) in listed.items()):
                return False
            self.heard(kind.name)
        return True

    async def compare(self) -> list[str]:
        """Forget what is gone; answer which objects the watches have missed twice in a row."""
        suspects: dict[_Place, str | None] = {}
        for kind in self.kinds:
            before = self.store.versions(kind.name)
            listed = await self._list(kind)
            for (namespace, name), (uid, _) in before.items():
                if listed.get((namespace, name), ("", ""))[0] != uid:
                    self._forget(kind, namespace, name, uid)
            lagging = dict(self._lagging(kind, listed))
            if not lagging:
                self.heard(kind.name)
            suspects |= lagging
        missed = [
            f"{kind} {namespace}/{name}"
            for (kind, namespace, name), version in suspects.items()
            if self._suspects.get((kind, namespace, name), "") == version
        ]
        self._suspects = suspects
        return missed

    def _forget(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        body = self.store.get(kind.name, namespace, name)
        if body is not None and self.store.remove(kind.name, namespace, name, uid):
            self.wake(kind.name, body)

    def _lagging(
        self, kind: Kind, listed: dict[tuple[str, str], tuple[str, str]]
    ) -> Iterator[tuple[_Place, str | None]]:
        known = self.store.versions(kind.name)
        for place, (uid, version) in listed.items():
            held = known.get(place)
            if held is None or held[0] != uid:
                yield (kind.name, *place), None
            elif held[1].isdigit() and version.isdigit() and int(held[1]) < int(version):
                yield (kind.name, *place), held[1]

    def _paths(self, kind: Kind) -> list[str]:
        return [kind.path(namespace) for namespace in self.namespaces] or [kind.path(None)]

    async def _list(self, kind: Kind) -> dict[tuple[str, str], tuple[str, str]]:
        query = {} if kind in OWNERS else {"labelSelector": label_selector()}
        found: dict[tuple[str, str], tuple[str, str]] = {}
        for path in self._paths(kind):
            answer = await self.client.get(path, query, accept=METADATA_LIST)
            for item in answer.get("items") or ():
                metadata = item["metadata"]
                found[metadata.get("namespace", ""), metadata["name"]] = (
                    metadata["uid"],
                    metadata["resourceVersion"],
                )
        return found


def label_selector() -> str:
    """What the API server filters children by, so that only our own ever reach this process."""
    return f"{naming.LABEL_MANAGED_BY}={naming.MANAGED_BY}"
