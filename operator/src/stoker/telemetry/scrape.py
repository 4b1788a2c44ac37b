"""One bounded GET: a second, a few megabytes, no redirect, no proxy, no compressed bomb.

Connections stay open between two looks at a busy pod: to open one costs more than all else about a
look. So many are asked at once and no more, and whoever waits for a turn waits outside of the
second that the pod has: an operator with much to do must not take its own delay for a pod's
silence. Silent pods hold their turn for the whole second, so there are far more turns than pods
that answer ever need.
"""

import asyncio
from typing import Final

import aiohttp

from stoker import naming
from stoker.telemetry.parse import SampleError

TIMEOUT_S: Final = 1.0
BODY_LIMIT: Final = 4 * 1024 * 1024
_TURNS: Final = 512
# Longer than the longest pause between two looks, shorter than a worker keeps a connection.
_KEEP_S: Final = 12.0


class HttpError(SampleError):
    """An answer with another status than 200."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class Scraper:
    """Reads the numbers of pods, by pod address alone."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._turns = asyncio.Semaphore(_TURNS)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_S),
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            headers={"User-Agent": naming.USER_AGENT, "Accept-Encoding": "identity"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def get(self, url: str) -> str:
        """The body; `SampleError` says in words why there is none."""
        async with self._turns:
            return await self._get(url)

    async def _get(self, url: str) -> str:
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise HttpError(response.status)
                body = await response.content.read(BODY_LIMIT + 1)
                while len(body) <= BODY_LIMIT and not response.content.at_eof():
                    body += await response.content.read(BODY_LIMIT + 1 - len(body))
        except TimeoutError as error:
            raise SampleError(f"no answer within {self._timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, SampleError):
                raise
            raise SampleError(f"{type(error).__name__}: {error}"[:200]) from error
        if len(body) > BODY_LIMIT:
            raise SampleError(f"an answer of more than {BODY_LIMIT} bytes")
        return body.decode("utf-8", errors="replace")
