"""One small page for whoever scales: whose pod this is, and the engine's numbers that it needs.

An engine's own page has hundreds of kilobytes, of which scaling reads one line in ten; passing
those on as they are keeps the reading of numbers in one place, the operator's. So the page is

    stoker_worker_load_info{contract="1",pod="…",uid="…",engine="vllm",version="0.32.0"} 1
    stoker_worker_engine_start_time_seconds 1790000000.0
    stoker_worker_load_age_seconds 0.0
    vllm:num_requests_running{engine="0",model_name="main"} 3.0
    …

The engine is asked when somebody asks us, in a thread of its own, once for all that ask at the
same time. A saturated engine answers late, and that is when its numbers matter most: then the last
lines are shown with their age, be they from an earlier question or from the heartbeat, which waits
longer.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import List, Mapping, Optional

from stoker_worker import contract
from stoker_worker.client import EngineClient
from stoker_worker.engines import Driver
from stoker_worker.server import Pending, Response

TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Whoever asks waits for one second.
PATIENCE_S = 0.7
VERSION_TIMEOUT_S = 0.2
VERSION_TRIES = 10  # an engine may not tell it
FRESH_S = 0.2  # lines of this age are as good as new ones
OLD_S = 30.0  # and of this age worth nothing


@dataclass(frozen=True)
class Identity:
    """What the page says of pod and engine."""

    pod: str
    uid: str
    engine: str
    started: float  # Unix seconds

    @staticmethod
    def of(env: Mapping[str, str], engine: str, started: float) -> Identity:
        """Read it from the pod's environment, which may not tell it."""
        return Identity(
            _label(env.get(contract.ENV_POD_NAME, "")),
            _label(env.get(contract.ENV_POD_UID, "")),
            _label(engine),
            started,
        )


def _label(text: str) -> str:
    """Nothing that ends a label's value; names and uids hold no such thing."""
    return "".join(letter for letter in text if letter.isalnum() or letter in "-._")[:253]


@dataclass(frozen=True)
class Lines:
    """Lines of the engine's metrics, and when they were read."""

    text: bytes
    at: float


def render(identity: Identity, version: str, lines: Lines, now: float) -> str:
    """Render the page."""
    labels = (
        ("contract", str(contract.CONTRACT_VERSION)),
        ("pod", identity.pod),
        ("uid", identity.uid),
        ("engine", identity.engine),
        ("version", version),
    )
    told = ",".join(f'{name}="{value}"' for name, value in labels)
    return (
        f"stoker_worker_load_info{{{told}}} 1\n"
        f"stoker_worker_engine_start_time_seconds {identity.started:.3f}\n"
        f"stoker_worker_load_age_seconds {max(0.0, now - lines.at):.3f}\n"
        + lines.text.decode("utf-8", "replace")
    )


class LoadPage(threading.Thread):
    """Reads the engine's metrics for those who ask, until the process ends."""

    def __init__(self, client: EngineClient, driver: Driver, identity: Identity) -> None:
        super().__init__(name="load", daemon=True)
        self._client = client
        self._driver = driver
        self._identity = identity
        self._asked: SimpleQueue[Pending] = SimpleQueue()
        self._lines: Optional[Lines] = None
        self._version = ""
        self._tries = 0

    def ask(self) -> Pending:
        """Return an answer to come; called by the server's thread."""
        pending = Pending()
        self._asked.put(pending)
        return pending

    def take(self, body: bytes) -> None:
        """Keep what the heartbeat read; called by its thread."""
        self._lines = Lines(self._driver.load_lines(body), time.monotonic())

    def run(self) -> None:
        """Answer until the process ends: the thread is a daemon."""
        while True:
            waiting = [self._asked.get()]
            response = self.look()
            waiting += self._others()
            for pending in waiting:
                pending.give(response)

    def look(self) -> Response:
        """Answer now, with new lines where the engine answers in time."""
        begun = time.monotonic()
        if self._lines is None or begun - self._lines.at > FRESH_S:
            body = self._client.read(self._driver.metrics, PATIENCE_S)
            if body is not None:
                # As old as the question: what the engine wrote while it answered is not known.
                self._lines = Lines(self._driver.load_lines(body), begun)
                if not self._version and self._tries < VERSION_TRIES:
                    self._tries += 1
                    told = self._client.read(self._driver.version, VERSION_TIMEOUT_S)
                    self._version = "" if told is None else self._driver.read_version(told)
        lines, now = self._lines, time.monotonic()
        if lines is None or now - lines.at > OLD_S:
            return Response(503, "the engine does not answer\n")
        return Response(200, render(self._identity, self._version, lines, now), TYPE)

    def _others(self) -> List[Pending]:
        """Return those who asked meanwhile."""
        found: List[Pending] = []
        while True:
            try:
                found.append(self._asked.get_nowait())
            except Empty:
                return found
