"""The shell around the state machine: process, signals, timers, threads.

The engine is already running when this module is imported: cli.py starts it first, so that all of
this loads while the engine imports its own code.

One loop in the main thread owns the state. Everything else (signal handlers, the threads that wait
for the engine's answers) only posts events into its queue; the server's thread only reads.
"""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Mapping, Optional, Union

from stoker_worker import events, follower, lifecycle, report
from stoker_worker.client import Asker, EngineClient
from stoker_worker.contract import (
    PATH_LOAD,
    PATH_PROFILE,
    Termination,
    TerminationReason,
    WorkerConfig,
)
from stoker_worker.engines import Driver
from stoker_worker.lastwords import say, write_termination
from stoker_worker.loadpage import Identity, LoadPage
from stoker_worker.process import EngineProcess, age_s, oom_kills
from stoker_worker.server import Pending, Response, Server
from stoker_worker.state import Phase
from stoker_worker.tracing import Tracing

if TYPE_CHECKING:
    from stoker_worker.assembly import Group
    from stoker_worker.keeping import Keeper
    from stoker_worker.proof import Proof
    from stoker_worker.reading import Reading

_FAST_TICK_S = 0.1
_SLOW_TICK_S = 0.5
_LAST_WORDS_S = 2.0


class Supervisor:
    """Runs one engine from its start to its end."""

    def __init__(
        self,
        config: WorkerConfig,
        driver: Driver,
        env: Mapping[str, str],
        engine: EngineProcess,
        queue: SimpleQueue[events.Event],
        *,
        pod: Mapping[str, str],
        reading: Reading,
        proof: Optional[Proof] = None,
        group: Optional[Group] = None,
        keeper: Optional[Keeper] = None,
    ) -> None:
        self._config = config
        self._driver = driver
        self._engine = engine
        self._queue = queue
        self._oom_kills = oom_kills()
        now = time.monotonic()
        self._container_started_at = now - age_s()
        self._group = group
        self._keeper = keeper
        # A follower's engine has no server to ask; everything else is the same for both.
        follows = group is not None and not group.member.leads
        self._machine = follower.step if follows else lifecycle.step
        self._state = (follower if follows else lifecycle).begin(now - engine.age_s())
        self._proof = proof
        self._reading = reading
        if proof is not None:
            # A group has read its files before it met.
            proven_at = None if reading.unproven else now if group else proof.at
            self._state = replace(self._state, unproven=reading.unproven, proven_at=proven_at)
        self._counts = report.Counts()
        self._exit: Optional[events.Exit] = None
        identity = Identity.of(pod, config.engine, time.time() - engine.age_s())
        self._client = EngineClient(config, driver, env, self._heard)
        self._load = None if follows else LoadPage(self._client, driver, identity)
        self._looker = Asker("looker", queue.put)
        self._prober = Asker("prober", queue.put)
        self._profiler = Asker("profiler", queue.put)
        self._tracing = Tracing(config.profile_dir, lambda: self._state, queue.put)

    def run(self) -> int:
        """Supervise until the engine has ended; return the worker's exit code."""
        if self._group is None:
            Server(
                self._config.host,
                self._config.worker_port,
                self._answer,
                self._tracing.answer,
                PATH_PROFILE,
            ).start()
        else:
            self._group.hand_over(self._answer)
        if self._load is not None:
            self._load.start()
        self._looker.start()
        self._prober.start()
        if self._config.profile_dir:
            self._tracing.drop()  # of a life of this container before
            self._profiler.start()
        if self._group is None:
            self._reading.tell(lambda fault: self._queue.put(events.ModelJudged(fault)))
            self._reading.start()
        while self._exit is None:
            self._turn()
        if self._exit.termination is not None:
            say(f"{self._exit.termination.reason}: {self._exit.termination.message}")
            if self._keeper is not None:
                self._keeper.failed()
            write_termination(self._config.termination_log, self._exit.termination)
        return self._exit.code

    def _turn(self) -> None:
        settled = self._state.phase in (Phase.READY, Phase.STALLED, Phase.FOLLOWING)
        try:
            event = self._queue.get(timeout=_SLOW_TICK_S if settled else _FAST_TICK_S)
        except Empty:
            silence = None if self._group is None else self._group.look_for_silence()
            event = silence or events.Tick()
        self._count(event)
        self._step(event)
        self._tracing.told(event)
        code = self._engine.reap()
        if code is not None:
            self._engine.kill()  # its children may outlive it
            self._step(events.EngineExited(code, self._explain(code)))

    def _step(self, event: events.Event) -> None:
        before = self._state.phase
        now = time.monotonic()
        self._state, commands = self._machine(self._state, event, now, self._config)
        if self._state.phase is not before:
            self._announce(before, now)
        for command in commands:
            self._execute(command)

    def _announce(self, before: Phase, now: float) -> None:
        after = self._state.phase
        if after is Phase.STALLED:
            self._counts = replace(self._counts, stalls=self._counts.stalls + 1)
        if self._keeper is not None and after in (Phase.READY, Phase.FOLLOWING):
            self._keeper.serves()
        say(f"{before.value} → {after.value} after {now - self._container_started_at:.1f} s")

    def _execute(self, command: events.Command) -> None:
        if isinstance(command, events.CheckHealth):
            self._looker.ask(self._client.check_health)
        elif isinstance(command, events.TakeSample):
            timeout_s = command.timeout_s
            self._looker.ask(lambda: self._client.take_sample(timeout_s))
        elif isinstance(command, events.Probe):
            tokens, patience_s = command.tokens, command.timeout_s
            self._prober.ask(lambda: self._client.probe(tokens, patience_s))
        elif isinstance(command, events.AskLeader):
            if self._group is not None:
                self._looker.ask(self._group.ask_leader)
        elif isinstance(command, (events.StartProfiler, events.StopProfiler, events.DropTraces)):
            self._trace(command)
        elif isinstance(command, events.TerminateEngine):
            self._engine.terminate()
        elif isinstance(command, events.KillEngine):
            self._engine.kill()
        else:
            self._exit = command

    def _trace(
        self, command: Union[events.StartProfiler, events.StopProfiler, events.DropTraces]
    ) -> None:
        if isinstance(command, events.DropTraces):
            self._tracing.drop()
        elif isinstance(command, events.StartProfiler):
            steps, limit_s = command.steps, command.timeout_s
            self._profiler.ask(lambda: self._client.start_profiler(steps, limit_s))
        else:
            patience_s = command.timeout_s
            self._profiler.ask(lambda: self._client.stop_profiler(patience_s))

    def _explain(self, code: int) -> Termination:
        said = self._driver.explain(code, self._engine.last_words(_LAST_WORDS_S))
        kills = oom_kills()
        if kills is not None and self._oom_kills is not None and kills > self._oom_kills:
            text = "the kernel killed a process of the engine: the container's memory was used up"
            return Termination(TerminationReason.OUT_OF_MEMORY, f"{text}; last: {said.message}")
        if code != -signal.SIGKILL:
            return said
        if kills is None:
            text = "the engine was killed by signal 9, likely because memory was used up"
            return Termination(TerminationReason.OUT_OF_MEMORY, f"{text}; last: {said.message}")
        text = "the engine was killed by signal 9, and not because of memory"
        return Termination(TerminationReason.ENGINE_CRASHED, f"{text}; last: {said.message}")

    def _count(self, event: events.Event) -> None:
        counts = self._counts
        if isinstance(event, events.ProbeAnswered):
            counts = replace(counts, probes_answered=counts.probes_answered + 1)
        elif isinstance(event, events.ProbeFailed):
            counts = replace(counts, probes_failed=counts.probes_failed + 1)
        elif isinstance(event, events.Sampled) and event.sample is None:
            counts = replace(counts, samples_missed=counts.samples_missed + 1)
        elif isinstance(event, events.Sampled):
            counts = replace(counts, samples_read=counts.samples_read + 1)
        self._counts = counts

    def _heard(self, body: bytes) -> None:
        if self._load is not None:
            self._load.take(body)

    def _answer(self, path: str) -> Union[Response, Pending, None]:
        if path == PATH_LOAD and self._load is not None:
            return self._load.ask()
        view = report.View(
            self._config.engine,
            self._state,
            self._counts,
            time.monotonic(),
            self._container_started_at,
            None if self._group is None else self._group.member.rank,
            self._proof,
            None if self._keeper is None else self._keeper.kept,
        )
        return report.answer(path, view)
