"""Questions to the engine over loopback, each kind in a thread of its own.

A question may hang for as long as the engine does, so no question may delay another kind: the
probe waits in its thread while the heartbeat goes on in its own.
"""

from __future__ import annotations

import http.client
import threading
from contextlib import closing
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Callable, Mapping, Optional

from stoker_worker.contract import WorkerConfig
from stoker_worker.engines import Driver, Request
from stoker_worker.events import (
    Event,
    HealthAnswered,
    ProbeAnswered,
    ProbeFailed,
    ProfilerStarted,
    ProfilerStopped,
    Sampled,
)

HEALTH_TIMEOUT_S = 5.0
MAX_BODY_BYTES = 16 * 2**20
# The model does not know this interface; another one of the driver's probes may fit.
_UNSUPPORTED = frozenset({400, 404, 405, 501})


@dataclass(frozen=True)
class Answer:
    """Status and body of one exchange; status 0 means that there was none."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the engine did what was asked."""
        return self.status == 200

    def complaint(self) -> str:
        """What the engine says went wrong, in one line."""
        text = self.body[:500].decode("utf-8", "replace").replace("\n", " ")
        return f"HTTP {self.status}: {text}" if self.status else text


class EngineClient:
    """Speaks a driver's dialect with the engine beside us."""

    def __init__(
        self,
        config: WorkerConfig,
        driver: Driver,
        env: Mapping[str, str],
        heard: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        self._config = config
        self._driver = driver
        self._env = env
        self._heard = heard  # is told every page of metrics that the heartbeat reads
        # Any address of ours would do; loopback needs no network policy.
        self._host = "::1" if ":" in config.host else "127.0.0.1"

    def check_health(self) -> HealthAnswered:
        """Ask once; while the engine loads, the connection is refused at once."""
        return HealthAnswered(self._exchange(self._driver.health, HEALTH_TIMEOUT_S).ok)

    def take_sample(self, timeout_s: float) -> Sampled:
        """Read what the heartbeat needs; a slow answer is waited for."""
        answers = [self._exchange(request, timeout_s) for request in self._driver.looks]
        bodies = [answer.body if answer.ok else None for answer in answers]
        if bodies[0] is not None:
            self._heard(bodies[0])
        return Sampled(self._driver.read_sample(bodies))

    def read(self, request: Request, timeout_s: float) -> Optional[bytes]:
        """Return the body of what is answered in time; None where nothing is."""
        answer = self._exchange(request, timeout_s)
        return answer.body if answer.ok else None

    def probe(self, tokens: int, timeout_s: float) -> Event:
        """Have tokens made, through the first interface that the model knows."""
        complaint, refused = "", False
        for request in self._driver.probes(self._config, tokens, self._env):
            answer = self._exchange(request, timeout_s)
            if answer.ok and self._driver.is_answer(answer.body):
                return ProbeAnswered()
            if not complaint or not refused:
                complaint = answer.complaint()
            refused = answer.status != 0
            if answer.status not in _UNSUPPORTED:
                break
        return ProbeFailed(complaint, refused=refused)

    def start_profiler(self, steps: int, timeout_s: float) -> ProfilerStarted:
        """Have the engine record."""
        answer = self._exchange(self._driver.start_profiler(steps), timeout_s)
        return ProfilerStarted("" if answer.ok else answer.complaint())

    def stop_profiler(self, timeout_s: float) -> ProfilerStopped:
        """Have the engine write its trace."""
        answer = self._exchange(self._driver.stop_profiler, timeout_s)
        return ProfilerStopped("" if answer.ok else answer.complaint())

    def _exchange(self, request: Request, timeout_s: float) -> Answer:
        method = "GET" if request.body is None else "POST"
        connection = http.client.HTTPConnection(
            self._host, self._config.engine_port, timeout=timeout_s
        )
        with closing(connection):
            try:
                connection.request(method, request.path, request.body, request.headers)
                response = connection.getresponse()
                return Answer(response.status, response.read(MAX_BODY_BYTES))
            except (OSError, http.client.HTTPException) as error:
                return Answer(0, f"{type(error).__name__}: {error}".encode())


class Asker(threading.Thread):
    """Answers questions of one kind, one after the other, without holding up whoever asks."""

    def __init__(self, name: str, post: Callable[[Event], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._questions: SimpleQueue[Callable[[], Event]] = SimpleQueue()
        self._post = post

    def ask(self, question: Callable[[], Event]) -> None:
        """Have the question answered; the event is posted when it is."""
        self._questions.put(question)

    def run(self) -> None:
        """Work until the process ends: the thread is a daemon."""
        while True:
            self._post(self._questions.get()())
