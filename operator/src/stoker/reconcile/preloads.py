"""ConfigMaps with the label `stoker.dev/preload`: their lists of models become ModelCaches.

Listed every few seconds, and as soon as something tells of a change: a watch of our own, since Kopf
has one for each kind, and that of ConfigMaps is bound to those that Stoker itself makes; or a cache
that is no longer what an entry asks for. Nothing is read from the watch, so nothing can be missed
or come in another order. The label is the API server's to look for, in its own memory, so an answer
has the few lists that there are and nothing else.

What is decided about an entry is `stoker.caching.preload`'s. Only what the API server refuses is
remembered for a while, so that it is not asked the same every few seconds; and what was told, so
that a fault is one Event and not one for each look.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from stoker import naming
from stoker.caching import preload
from stoker.caching.preload import Entry, Preloads
from stoker.clock import Clock
from stoker.cluster.client import APPLY, Client
from stoker.cluster.events import EventPoster
from stoker.cluster.kinds import CACHE, child
from stoker.cluster.store import Store
from stoker.errors import ClusterUnavailable, Conflict, NotFound, Refused, Terminating
from stoker.model import reasons
from stoker.model.observed import Key
from stoker.model.plan import Event

_log = logging.getLogger(__name__)

_PAUSE_S: Final = 5.0
# Between two looks, however much changes.
_SHORTEST_S: Final = 0.2
_WATCH_S: Final = 290
# Where the API server refuses the list, or an entry.
_REFUSED_PAUSE_S: Final = 300.0
_WORDS: Final = 1000  # characters of faults in one Event
_CONFIG_MAP: Final = child("ConfigMap")
_QUERY: Final = {"labelSelector": f"{naming.LABEL_PRELOAD}=true", "resourceVersion": "0"}


@dataclass(slots=True)
class _List:
    """One ConfigMap, between two looks."""

    key: Key
    uid: str
    version: str
    read: Preloads
    told: set[str] = field(default_factory=set)
    # By entry: until when it is not tried again (clock), and why.
    refused: dict[str, tuple[float, str]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """For Events about it."""
        return _CONFIG_MAP.name


class PreloadLists:
    """Follows the lists of the namespaces that are served."""

    def __init__(
        self,
        client: Client,
        store: Store,
        events: EventPoster,
        clock: Clock,
        namespaces: Sequence[str] = (),
    ) -> None:
        self._client = client
        self._store = store
        self._events = events
        self._clock = clock
        self._paths = [_CONFIG_MAP.path(each) for each in namespaces] or [_CONFIG_MAP.path(None)]
        self._lists: dict[str, _List] = {}  # by uid
        self._silent = False
        self._news = asyncio.Event()

    def heard_of(self, key: Key) -> None:
        """Look soon if that cache is not, or is no longer, what an entry asks for."""
        now, cache = self._clock.monotonic(), self._store.cache(key)
        for each in self._lists.values():
            for entry in each.read.entries:
                if (each.key.namespace, entry.name) != (key.namespace, key.name):
                    continue
                until, _ = each.refused.get(entry.name, (0.0, ""))
                if now >= until and preload.step_of(entry, each.key.name, cache).manifest:
                    self._news.set()

    async def keep_up(self) -> None:
        """Look every few seconds and after each change, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for path in self._paths:
                group.create_task(self._listen(path))
            await self._look_for_ever()

    async def _listen(self, path: str) -> None:
        """Have a look follow each change. While nobody tells, looks come at their own pace."""
        query = {"watch": "true", "timeoutSeconds": str(_WATCH_S), **_QUERY}
        while True:
            pause = _PAUSE_S
            try:
                async with self._client.stream(path, query) as told:
                    # An object may be longer than a line may be, and nobody reads it.
                    async for _ in told.iter_any():
                        self._news.set()
            except ClusterUnavailable:
                pass
            except (Refused, NotFound):
                pause = _REFUSED_PAUSE_S
            await asyncio.sleep(pause)

    async def _look_for_ever(self) -> None:
        while True:
            self._news.clear()
            pause = _PAUSE_S
            try:
                await self.look()
            except ClusterUnavailable as error:
                _log.info("no look at lists of models: %s", error, extra={"reason": "Preload"})
            except (Refused, NotFound) as error:
                pause = _REFUSED_PAUSE_S
                if not self._silent:
                    _log.warning(
                        "lists of models are not read: %s", error, extra={"reason": "Preload"}
                    )
                self._silent = True
            await asyncio.sleep(_SHORTEST_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), pause)

    async def look(self) -> None:
        """Make what is asked for and not there."""
        present: dict[str, _List] = {}
        for path in self._paths:
            answer = await self._client.get(path, _QUERY)
            for body in answer.get("items") or ():
                if "deletionTimestamp" not in body["metadata"]:
                    found = await self._read(body)
                    present[found.uid] = found
        for uid in self._lists.keys() - present.keys():
            self._events.forget(self._lists[uid].key, _CONFIG_MAP.name)
        self._lists = present
        for each in present.values():
            await self._follow(each)

    async def _read(self, body: Mapping[str, Any]) -> _List:
        metadata = body["metadata"]
        uid, version = metadata["uid"], metadata["resourceVersion"]
        known = self._lists.get(uid)
        if known is not None and known.version == version:
            return known
        # YAML of this size can take a second.
        read = await asyncio.to_thread(preload.parse, body.get("data"))
        key = Key(metadata["namespace"], metadata["name"])
        told = set() if known is None else known.told
        return _List(key, uid, version, read, told)

    async def _follow(self, each: _List) -> None:
        faults = list(each.read.faults)
        for entry in each.read.entries:
            fault = await self._entry(each, entry)
            if fault:
                faults.append(fault)
        news = [fault for fault in faults if fault not in each.told]
        each.told = set(faults)
        await self._events.post(
            each,
            [Event("Warning", reasons.PRELOAD_INVALID, words) for words in _in_chunks(news)],
        )

    async def _entry(self, each: _List, entry: Entry) -> str:
        """See to one entry; what is wrong with it."""
        until, why = each.refused.get(entry.name, (0.0, ""))
        if self._clock.monotonic() < until:
            return why
        key = Key(each.key.namespace, entry.name)
        step = preload.step_of(entry, each.key.name, self._store.cache(key))
        if not step.manifest:
            return step.fault
        try:
            # The watch may not have told of it yet, and nothing of somebody else's is touched.
            existing = await self._present(key)
            step = preload.step_of(entry, each.key.name, existing)
            if step.manifest:
                await self._apply(key, step.manifest)
                await self._events.post(each, [_made(entry, existing is None)])
        except (Conflict, Refused) as error:
            said = f"entry {entry.number} ({entry.name}): the API server refuses: {error}"
            each.refused[entry.name] = (self._clock.monotonic() + _REFUSED_PAUSE_S, said)
            return said
        except (NotFound, Terminating):
            return ""  # the namespace goes
        return step.fault

    async def _present(self, key: Key) -> Mapping[str, Any] | None:
        try:
            body = await self._client.get(CACHE.path(key.namespace, key.name))
        except NotFound:
            return None
        self._store.put(CACHE.name, body)
        return body

    async def _apply(self, key: Key, manifest: Mapping[str, Any]) -> None:
        written = await self._client.write(
            "PATCH",
            CACHE.path(key.namespace, key.name),
            manifest,
            query={"fieldManager": naming.PRELOAD_FIELD_MANAGER, "force": "false"},
            content_type=APPLY,
        )
        self._store.put(CACHE.name, written)
        _log.info("applied a preloaded cache", extra={"key": str(key), "reason": "Preload"})


def _made(entry: Entry, new: bool) -> Event:  # noqa: FBT001 - one of two words
    what = "was made for" if new else "now is of"
    return Event(
        "Normal",
        reasons.PRELOADED,
        f"entry {entry.number} ({entry.name}): the ModelCache {what} {entry.uri}",
    )


def _in_chunks(faults: Sequence[str]) -> Iterator[str]:
    """As few Events as hold them all."""
    words = ""
    for fault in faults:
        if words and len(words) + len(fault) > _WORDS:
            yield words
            words = ""
        words = f"{words}; {fault}" if words else fault
    if words:
        yield words
