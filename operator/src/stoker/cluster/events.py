"""Kubernetes Events: posted only together with the status write that they explain, and bounded.

An Event is a courtesy: losing one is logged and never fails a pass. The bound is a token bucket per
object, because a service that flaps would otherwise fill etcd with its complaints.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from stoker import naming
from stoker.clock import Clock
from stoker.cluster.client import Client
from stoker.cluster.kinds import EVENT, SERVICE
from stoker.errors import ClusterUnavailable, Conflict, NotFound, Refused, Terminating
from stoker.model.observed import Key
from stoker.model.plan import Event

_log = logging.getLogger(__name__)

_BURST: Final = 12.0
_REFILL_S: Final = 30.0  # one more Event per half minute
_NOTE_LIMIT: Final = 1024  # the API server's own
_API_VERSIONS: Final = {"ConfigMap": "v1"}  # where it is not that of our own kinds


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class Regarded(Protocol):
    """What an Event is about: a service, a cache, or a list of models."""

    @property
    def kind(self) -> str:
        """Of the object."""

    @property
    def key(self) -> Key:
        """Namespace and name."""

    @property
    def uid(self) -> str:
        """Of this very object."""


class EventPoster:
    """Posts Events about services, caches and lists of models."""

    def __init__(self, client: Client, clock: Clock, pod: str) -> None:
        self._client = client
        self._clock = clock
        self._instance = pod or naming.USER_AGENT
        self._buckets: dict[tuple[str, Key], _Bucket] = {}

    async def post(self, owner: Regarded, events: Iterable[Event]) -> None:
        """Post what the bound allows."""
        for event in events:
            if not self._take((owner.kind, owner.key)):
                _log.info(
                    "Event dropped: %s",
                    event.message,
                    extra={"key": str(owner.key), "reason": event.reason},
                )
                continue
            try:
                await self._post(owner, event)
            except (ClusterUnavailable, Conflict, NotFound, Refused, Terminating) as error:
                _log.warning(
                    "Event not posted: %s",
                    error,
                    extra={"key": str(owner.key), "reason": event.reason},
                )

    def forget(self, key: Key, kind: str = SERVICE.name) -> None:
        """Drop the bucket of a service, or cache, that is gone."""
        self._buckets.pop((kind, key), None)

    def _take(self, key: tuple[str, Key]) -> bool:
        now = self._clock.monotonic()
        bucket = self._buckets.setdefault(key, _Bucket(_BURST, now))
        bucket.tokens = min(_BURST, bucket.tokens + (now - bucket.filled_at) / _REFILL_S)
        bucket.filled_at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    async def _post(self, owner: Regarded, event: Event) -> None:
        key = owner.key
        await self._client.write(
            "POST",
            EVENT.path(key.namespace),
            {
                "apiVersion": EVENT.api_version,
                "kind": EVENT.name,
                "metadata": {"generateName": f"{key.name}-", "namespace": key.namespace},
                "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "type": event.type,
                "reason": event.reason,
                "note": event.message[:_NOTE_LIMIT],
                "action": "Reconcile",
                "reportingController": f"{naming.GROUP}/{naming.USER_AGENT}",
                "reportingInstance": self._instance,
                "regarding": {
                    "apiVersion": _API_VERSIONS.get(owner.kind, SERVICE.api_version),
                    "kind": owner.kind,
                    "namespace": key.namespace,
                    "name": key.name,
                    "uid": owner.uid,
                },
            },
        )
