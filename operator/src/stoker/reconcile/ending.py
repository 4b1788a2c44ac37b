"""How a pass over one object may end, the same for every kind.

A user's mistake is no failure: the plan turned it into a condition. What the API server refuses
although the plan thought it right becomes one too. A world that is not ready is looked at again
with a growing delay. A bug is logged with its traceback, counted and tried again, and no other
object notices.
"""

import itertools
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from stoker.clock import Clock
from stoker.errors import (
    ClusterUnavailable,
    Conflict,
    LeadershipLost,
    NotFound,
    Refused,
    Terminating,
)
from stoker.model import reasons
from stoker.model.observed import Key
from stoker.reconcile.queue import Backoff
from stoker.telemetry.metrics import Metrics


class Passes:
    """Runs passes, one object's at a time; counts how they end."""

    def __init__(self, clock: Clock, log: logging.Logger, kind: str, metrics: Metrics) -> None:
        self._clock = clock
        self._log = log
        self._kind = kind
        self._metrics = metrics
        self._backoff: Backoff[Key] = Backoff()
        self._numbers = itertools.count(1)

    async def run(
        self, key: Key, one: Callable[[Key, int], Awaitable[float | None]]
    ) -> float | None:
        """Make one pass; when to look again, in monotonic seconds."""
        started, number = time.monotonic(), next(self._numbers)
        outcome, delay = "ok", None
        wake_at: float | None = None
        try:
            wake_at = await one(key, number)
            self._backoff.succeeded(key)
        except (Conflict, NotFound, Terminating, ClusterUnavailable) as error:
            outcome, delay = "not_ready", self._backoff.failed(key)
            delay = max(delay, getattr(error, "retry_after", None) or 0.0)
            self._log.info("later: %s", error, extra=tags(key, number, type(error).__name__))
        except Refused as error:
            outcome, delay = "refused", self._backoff.failed(key)
            self._log.warning("refused: %s", error, extra=tags(key, number, reasons.WRITE_REFUSED))
        except LeadershipLost as error:
            outcome = "not_leading"
            self._log.warning("stopped: %s", error, extra=tags(key, number, "LeadershipLost"))
        except Exception as error:  # noqa: BLE001 (a bug in one object stays in that object)
            outcome, delay = "bug", self._backoff.failed(key)
            self._metrics.bugs.inc()
            self._log.exception("a bug: %s", error, extra=tags(key, number, "Bug"))
        took = time.monotonic() - started
        self._metrics.observe_pass(self._kind, outcome, took, key=key, number=number)
        return wake_at if delay is None else self._clock.monotonic() + delay

    def forget(self, key: Key) -> None:
        """Forget an object that is gone."""
        self._backoff.succeeded(key)


def tags(key: Key, number: int, reason: str) -> dict[str, Any]:
    """What each line of the log carries."""
    return {"key": str(key), "pass_id": number, "reason": reason}
