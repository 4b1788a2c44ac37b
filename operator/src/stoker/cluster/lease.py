"""Who leads: a `coordination.k8s.io` Lease of our own.

Clocks of different machines are never compared. A standby notes, on its own steady clock, when it
last saw the Lease change; only when that is a full duration ago may it take over. The holder counts
from the moment it *sent* its last successful renewal, which is earlier than any moment at which a
standby can have seen it, so holder and standby never overlap:

    holder   sent ──────── renew deadline ──┤ fence shut, exit
    standby        seen ───────── duration ─────────┤ may take over

Every write of the Lease carries the resourceVersion that was read, so of two standbys one wins. The
fence shuts one request time-out before the Lease can be taken, so a write that was begun in time is
also over in time. A holder that loses the Lease ends its process: nothing it believes is current.
"""

import asyncio
import logging
import random
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from stoker import naming
from stoker.clock import Clock
from stoker.cluster.client import Client
from stoker.cluster.kinds import LEASE
from stoker.errors import ClusterUnavailable, Conflict, LeadershipLost, NotFound, StokerError
from stoker.render.addresses import host_port
from stoker.settings import LeaseSettings, Pod

_log = logging.getLogger(__name__)


class Leadership:
    """One process's view of the Lease; also the fence of its writes."""

    def __init__(
        self, client: Client, clock: Clock, settings: LeaseSettings, pod: Pod, port: int
    ) -> None:
        self.identity = f"{pod.name or 'operator'}_{uuid.uuid4().hex[:12]}"
        # Where other replicas reach this one.
        self._address = host_port(pod.ip, port) if pod.ip else ""
        self._client = client
        self._clock = clock
        self._settings = settings
        self._collection = LEASE.path(pod.namespace)
        self._path = LEASE.path(pod.namespace, settings.name)
        self._namespace = pod.namespace
        self._seen: dict[str, Any] | None = None  # the Lease as last read or written
        self._changed_at = 0.0  # when we saw it change
        self._sent_at: float | None = None  # when our last successful renewal was sent

    @property
    def leads(self) -> bool:
        """Whether this process holds the Lease and it has not run out."""
        return (
            self._sent_at is not None
            and self._clock.monotonic() < self._sent_at + self._settings.duration_seconds
        )

    @property
    def leader_address(self) -> str:
        """Where another process that leads answers, as host:port; empty when none is known."""
        if self._seen is None or self._holder() in {"", self.identity}:
            return ""
        annotations = self._seen["metadata"].get("annotations") or {}
        return str(annotations.get(naming.ANNOTATION_ADDRESS) or "")

    def check(self, request_timeout: float) -> None:
        """The fence: no write after the Lease's deadline minus the request time-out."""
        if self._sent_at is None:
            raise LeadershipLost("this process does not lead")
        deadline = self._sent_at + self._settings.duration_seconds - request_timeout
        if self._clock.monotonic() >= deadline:
            raise LeadershipLost("the Lease was not renewed in time")

    async def acquire(self) -> None:
        """Wait until this process leads."""
        while True:
            if await self._try_acquire():
                return
            await asyncio.sleep(self._standby_delay())

    async def keep(self) -> None:
        """Renew until the Lease is lost, then raise `LeadershipLost`."""
        while True:
            await asyncio.sleep(self._settings.retry_seconds)
            try:
                await self._renew()
            except NotFound as error:
                self._sent_at = None
                raise LeadershipLost(f"the Lease is gone: {error}") from error
            except ClusterUnavailable as error:
                _log.warning("Lease not renewed: %s", error, extra={"reason": "LeaseNotRenewed"})
            except Conflict as error:
                _log.warning("Lease not renewed: %s", error, extra={"reason": "LeaseNotRenewed"})
            if self._clock.monotonic() >= self._renew_deadline():
                self._sent_at = None
                raise LeadershipLost("the Lease could not be renewed in time")

    async def release(self) -> None:
        """Give the Lease back at once, so that a standby need not wait. Best effort."""
        if not self.leads or self._seen is None:
            return
        self._sent_at = None
        record = self._record()
        record["spec"]["holderIdentity"] = ""
        record["spec"]["leaseDurationSeconds"] = 1
        try:
            await self._client.write_unfenced("PUT", self._path, record)
        except StokerError as error:  # a standby waits the duration out
            _log.warning("Lease not released: %s", error, extra={"reason": "LeaseNotReleased"})

    async def _renew(self) -> None:
        try:
            await self._write(self._record())
        except Conflict as error:
            # A renewal whose answer was lost moved the version on: still ours, then.
            self._look(await self._client.get(self._path))
            if self._holder() != self.identity:
                self._sent_at = None
                raise LeadershipLost(f"{self._holder() or 'nobody'} holds the Lease") from error
            await self._write(self._record())

    def _renew_deadline(self) -> float:
        return (self._sent_at or 0.0) + self._settings.renew_deadline_seconds

    def _standby_delay(self) -> float:
        """Until the Lease may be free, but often enough to see its changes."""
        left = self._changed_at + self._duration() - self._clock.monotonic()
        delay = min(self._settings.retry_seconds / 2, max(left, 0.05))
        return delay * random.uniform(1.0, 1.2)  # noqa: S311 (spreads two standbys, guards nothing)

    async def _try_acquire(self) -> bool:
        try:
            try:
                self._look(await self._client.get(self._path))
            except NotFound:
                self._seen = None
                await self._write(self._record())
                return True
            if self._holder() and self._clock.monotonic() < self._changed_at + self._duration():
                return False
            await self._write(self._record())
        except (Conflict, ClusterUnavailable, NotFound) as error:
            _log.info("Lease not acquired: %s", error, extra={"reason": "LeaseNotAcquired"})
            return False
        return True

    def _look(self, lease: dict[str, Any]) -> None:
        version = lease["metadata"]["resourceVersion"]
        if self._seen is None or self._seen["metadata"]["resourceVersion"] != version:
            self._changed_at = self._clock.monotonic()
        self._seen = lease

    async def _write(self, record: Mapping[str, Any]) -> None:
        sent_at = self._clock.monotonic()
        if self._seen is None:
            written = await self._client.write_unfenced("POST", self._collection, record)
        else:
            written = await self._client.write_unfenced("PUT", self._path, record)
        self._look(written)
        self._sent_at = sent_at

    def _spec(self) -> Mapping[str, Any]:
        return (self._seen or {}).get("spec") or {}

    def _holder(self) -> str:
        return str(self._spec().get("holderIdentity") or "")

    def _duration(self) -> float:
        """As the holder promised, which may be an older version with other settings."""
        return float(self._spec().get("leaseDurationSeconds") or self._settings.duration_seconds)

    def _record(self) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        ours = self._holder() == self.identity
        spec = self._spec()
        transitions = int(spec.get("leaseTransitions") or 0)
        metadata: dict[str, Any] = {"name": self._settings.name, "namespace": self._namespace}
        if self._address:
            metadata["annotations"] = {naming.ANNOTATION_ADDRESS: self._address}
        if self._seen is not None:
            metadata["resourceVersion"] = self._seen["metadata"]["resourceVersion"]
        return {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.name,
            "metadata": metadata,
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": self._settings.duration_seconds,
                "acquireTime": spec.get("acquireTime") if ours else now,
                "renewTime": now,
                "leaseTransitions": transitions if ours or not spec else transitions + 1,
            },
        }
