"""Hints reach whoever leads: the Service in front of the operator may choose a standby.

A standby passes a hint on once, to the address that the leader wrote into the Lease. What was
passed on is never passed on again, so two replicas that take each other for the leader end it
there. A hint is worth little: half a second, no second try, and while one for a service is on its
way, others for the same service say nothing new. Nothing of the caller's goes into the request but
the name of a service that exists.
"""

from collections.abc import Callable
from typing import Final

import aiohttp

from stoker import naming
from stoker.model.observed import Key
from stoker.render.envoy_notify import PATH_NOTIFY

HEADER_FORWARDED: Final = "x-stoker-forwarded"
TIMEOUT_S: Final = 0.5
_CONNECTIONS: Final = 8


class Hints:
    """Takes hints here, or passes them on to the leader."""

    def __init__(
        self,
        here: Callable[[Key], bool],
        service: Callable[[Key], object | None],
        leader: Callable[[], str],
    ) -> None:
        self._here = here  # False when nobody samples that service in this process
        self._service = service  # what is known of a service, None when there is none
        self._leader = leader  # host:port of another process that leads, or empty
        self._on_their_way: set[Key] = set()
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def take(self, key: Key, *, forwarded: bool) -> bool:
        """Whether the hint has reached somebody who looks."""
        if self._here(key):
            return True
        leader = self._leader()
        if forwarded or not leader or self._service(key) is None:
            return False
        if key in self._on_their_way:
            return True
        self._on_their_way.add(key)
        try:
            return await self._forward(leader, key)
        finally:
            self._on_their_way.discard(key)

    async def _forward(self, leader: str, key: Key) -> bool:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                headers={"User-Agent": naming.USER_AGENT, HEADER_FORWARDED: "1"},
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        url = f"http://{leader}{PATH_NOTIFY}/{key.namespace}/{key.name}"
        try:
            async with self._session.post(url, allow_redirects=False) as answer:
                return answer.status == 202
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False  # the leader's own poll sees it soon
