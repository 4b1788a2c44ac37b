"""The command `fetch`: reads its configuration, runs the job, and leaves one word why it ended.

The job runs in a thread of its own, and another one waits for the signal to end. Whichever comes
first, the main thread leaves at once, in the middle of whatever the others do, as a killed job
would. What is on the volume is right at every moment, and the next job goes on from it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue

from stoker_worker.cachecontract import (
    CA_FILE,
    ENV_FETCH,
    EXIT_PASSES,
    EXIT_STANDS,
    SECRET_DIR,
    SOURCE_DIR,
    VOLUME_DIR,
    FetchConfig,
    FetchReason,
    FetchResult,
)
from stoker_worker.contract import (
    ENV_POD_UID,
    ENV_TERMINATION_LOG,
    TERMINATION_BYTES,
    TERMINATION_LOG,
    ContractError,
    Termination,
)
from stoker_worker.fetch import page, words
from stoker_worker.fetch import progress as states
from stoker_worker.fetch.errors import FetchError
from stoker_worker.fetch.job import Job, Tools
from stoker_worker.fetch.progress import Meter
from stoker_worker.fetch.redact import Redactor, public
from stoker_worker.fetch.source import Source
from stoker_worker.lastwords import leave, say


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are in the job's pod."""

    volume: Path = Path(VOLUME_DIR)
    source: Path = Path(SOURCE_DIR)
    secret: Path = Path(SECRET_DIR)
    ca: Path = Path(CA_FILE)


def main(environ: Mapping[str, str], places: Places | None = None) -> int:
    """Run the job that the environment describes; return the exit code."""
    where = places or Places()
    log = environ.get(ENV_TERMINATION_LOG, TERMINATION_LOG)
    redactor = Redactor.of(where.secret)
    try:
        config = FetchConfig.from_json(environ.get(ENV_FETCH, ""))
    except (ContractError, TypeError) as error:
        return _failed(log, redactor, FetchError(FetchReason.CONFIG_INVALID, str(error)))
    ended: SimpleQueue[FetchResult | FetchError] = SimpleQueue()
    stop = threading.Event()
    _await_signals(ended, stop)

    def tell(text: str) -> None:
        say(redactor.clean(text))

    meter = Meter(config.task, environ.get(ENV_POD_UID, ""), clean=redactor.clean)
    port = page.serve(config.host, config.port, meter.progress, tell)
    page.heartbeat(meter.progress, tell, stop)
    tell(f"{config.task} of {public(config.uri)} {config.revision}".rstrip() + f", page on {port}")

    def source() -> Source:
        # Only here: libraries come with the scheme that needs them.
        from stoker_worker.fetch.sources import open_source  # noqa: PLC0415

        return open_source(config, where.secret, where.source, where.ca)

    job = Job(config, Tools(source, meter, tell, stop, where.volume, where.source))
    threading.Thread(target=_run, args=(job, ended, tell), name="job", daemon=True).start()
    result = ended.get()
    if isinstance(result, FetchError):
        meter.enter(states.FAILED, result.reason, result.message)
        return _failed(log, redactor, result)
    meter.enter(states.DONE)
    tell(_summary(result))
    leave(log, redactor.clean(_fitting(result)))
    return _leave(0)


def _run(
    job: Job, ended: SimpleQueue[FetchResult | FetchError], tell: Callable[[str], None]
) -> None:
    try:
        ended.put(job.run())
    except FetchError as error:
        ended.put(error)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the job must not hang
        for line in traceback.format_exc().splitlines():
            tell(line)
        text = f"{type(error).__name__}: {error}; this is a mistake in Stoker, the log has more"
        ended.put(FetchError(FetchReason.INTERNAL, text, passes=True))


def _await_signals(ended: SimpleQueue[FetchResult | FetchError], stop: threading.Event) -> None:
    """Have a thread wait for the signal to end. Call it before any other thread is started.

    A handler would run in the main thread once that wakes up, and a signal that came a moment
    before it went to sleep, or to another thread, wakes nobody. So every thread blocks the signals,
    and they stay pending until they are taken here.
    """
    numbers = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    text = "asked to end; the next job goes on from what is there"
    word = FetchError(FetchReason.INTERRUPTED, text, passes=True)

    def end() -> None:
        signal.sigwait(numbers)
        stop.set()
        ended.put(word)

    threading.Thread(target=end, name="signals", daemon=True).start()


def _failed(log: str, redactor: Redactor, error: FetchError) -> int:
    termination = Termination(error.reason, redactor.clean(error.message))
    say(f"{termination.reason}: {termination.message}")
    leave(log, termination.to_json())
    return _leave(EXIT_PASSES if error.passes else EXIT_STANDS)


def _leave(code: int) -> int:
    """End the process now: a thread may sit in a read that nobody can end, and that is no harm."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    if threading.active_count() > 1:
        os._exit(code)
    return code


def _fitting(result: FetchResult) -> str:
    """The result, without names of files that the kubelet would cut its message for."""
    while len(result.to_json()) > TERMINATION_BYTES and result.repaired:
        result = replace(result, repaired=result.repaired[:-1])
    return result.to_json()


def _summary(result: FetchResult) -> str:
    repaired = f", {len(result.repaired)} files repaired" if result.repaired else ""
    return (
        f"done in {words.span(result.seconds)}: {result.files} files, {words.size(result.bytes)}, "
        f"{words.size(result.fetched)} fetched{repaired}"
    )
