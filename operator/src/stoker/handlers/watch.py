"""Kopf's part: raw watch events of our kinds, translated and handed on. Nothing is decided here.

Kopf runs embedded, standalone and silent: raw events and indices only, so that it never writes, not
a finalizer, not an annotation, not an Event. The indices are used for what they promise: their
functions see every object before any event handler runs, and event handlers wait until all kinds
are listed. So the index function fills the store and the event handler wakes the service, and no
pass ever starts from half a cluster. An error that kills a watch ends Kopf, and with it the
process.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import kopf
from kopf._core.engines.peering import Identity

from stoker.cluster.audit import label_selector
from stoker.cluster.client import Client
from stoker.cluster.kinds import OWNERS, Kind, watched
from stoker.cluster.store import Feed

# The service account's token is renewed by the kubelet; read it again long before it ends.
_CREDENTIALS_LIFE: Final = timedelta(minutes=10)


def settings_of_kopf() -> kopf.OperatorSettings:
    """Time-outs that end, selectors on the server's side, nothing posted."""
    settings = kopf.OperatorSettings()
    settings.process.ultimate_exiting_timeout = 20
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.scanning.disabled = True
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = (0.5, 1, 1, 2, 3, 5, 8, 13)
    settings.queueing.worker_limit = None  # a worker of ours ends within a millisecond
    settings.queueing.idle_timeout = 1
    settings.queueing.error_delays = (1, 1, 2, 3, 5, 8, 13, 21, 30)
    settings.watching.server_timeout = 290
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 5
    settings.watching.inactivity_timeout = 70
    settings.persistence.finalizer = "stoker.dev/unused"
    for kind in watched(groups=True):
        if kind not in OWNERS:
            selector = kopf_selector(kind)
            settings.watching.label_selectors[selector] = label_selector()
    return settings


def kopf_selector(kind: Kind) -> tuple[str, str, str]:
    """A kind in Kopf's words."""
    return (kind.group, kind.version, kind.plural)


def register(feed: Feed, client: Client, kinds: Sequence[Kind]) -> kopf.OperatorRegistry:
    """Handlers for these kinds, in a registry of their own."""
    registry = kopf.OperatorRegistry()

    async def login(**_: object) -> kopf.ConnectionInfo:
        return await connection_of(client)

    kopf.on.login(id="stoker", registry=registry)(login)
    for kind in kinds:
        _register_kind(registry, feed, kind)
    return registry


def _register_kind(registry: kopf.OperatorRegistry, feed: Feed, kind: Kind) -> None:
    # Asynchronous although nothing waits: Kopf runs plain functions in threads.
    async def load(body: kopf.Body, **_: object) -> None:
        feed.load(kind.name, dict(body))

    async def wake(event: kopf.RawEvent, **_: object) -> None:
        feed.event(kind.name, event["object"], deleted=event["type"] == "DELETED")

    identity = f"{kind.plural}.{kind.group}"
    kopf.index(*kopf_selector(kind), id=f"store-{identity}", registry=registry)(load)
    kopf.on.event(*kopf_selector(kind), id=f"wake-{identity}", registry=registry)(wake)


async def connection_of(client: Client) -> kopf.ConnectionInfo:
    """The client's credentials in Kopf's words: one source, renewed together."""
    given = await client.credentials()
    return kopf.ConnectionInfo(
        server=given.server,
        ca_path=given.ca_path,
        insecure=given.insecure,
        token=given.token,
        certificate_path=given.certificate_path,
        private_key_path=given.private_key_path,
        proxy_url=given.proxy_url,
        expiration=datetime.now(UTC) + _CREDENTIALS_LIFE if given.token else None,
    )


async def watch(
    registry: kopf.OperatorRegistry,
    namespaces: Sequence[str],
    ready: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    """Run until stopped, or raise what killed a watch."""
    await kopf.operator(
        registry=registry,
        settings=settings_of_kopf(),
        standalone=True,
        # Nobody reads it, but Kopf would ask for the user's name, and a container has none.
        identity=Identity("stoker"),
        clusterwide=not namespaces,
        namespaces=list(namespaces),
        ready_flag=ready,
        stop_flag=stop,
    )
