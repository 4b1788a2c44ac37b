"""Where the job is, counted by its threads and told to whoever asks."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from stoker_worker.cachecontract import FetchReason, Progress
from stoker_worker.fetch import words
from stoker_worker.fetch.errors import FetchError

RESOLVING = "resolving"
DOWNLOADING = "downloading"
VERIFYING = "verifying"
PUBLISHING = "publishing"
WAITING = "waiting"
DONE = "done"
FAILED = "failed"

# Speed is that of so many seconds.
_WINDOW_S = 10.0
_SAMPLE_S = 0.5
_MESSAGE = 1000  # characters; a source may quote a page


class Meter:
    """Counts. All methods may be called by several threads."""

    def __init__(
        self,
        task: str,
        uid: str = "",
        *,
        clock: Callable[[], float] = time.time,
        clean: Callable[[str], str] = str,
    ) -> None:
        self._task = task
        self._uid = uid
        self._clock = clock
        self._clean = clean  # takes secrets out of messages
        self._lock = threading.Lock()
        self._state = RESOLVING
        self._bytes = 0
        self._files = 0
        self._done = 0
        self._files_done = 0
        self._moved = 0  # bytes that were downloaded or read, for the speed
        self._samples: deque[tuple[float, int]] = deque()
        self._reason = ""
        self._message = ""
        self._until: float | None = None
        self.fetched = 0  # bytes that came from the source

    def expect(self, size: int, files: int) -> None:
        """Say how large the model is."""
        with self._lock:
            self._bytes, self._files = size, files

    def enter(self, state: str, reason: str = "", message: str = "") -> None:
        """Say what the job does from now on."""
        with self._lock:
            self._enter(state, reason, message, None)

    def got(self, count: int) -> None:
        """Bytes came from the source and are on the volume."""
        with self._lock:
            self.fetched += count
            self._done += count
            self._move(count)
            if self._state == WAITING:
                self._enter(DOWNLOADING, "", "", None)

    def again(self, count: int) -> None:
        """Bytes came from the source that were on the volume already."""
        with self._lock:
            self.fetched += count
            self._move(count)

    def checked(self, count: int) -> None:
        """Bytes on the volume were read; they count as good until `lost` says otherwise."""
        with self._lock:
            self._done += count
            self._move(count)

    def kept(self, count: int, files: int = 0) -> None:
        """Bytes, and whole files, are there from before."""
        with self._lock:
            self._done += count
            self._files_done += files

    def lost(self, count: int) -> None:
        """Bytes that counted are bad."""
        with self._lock:
            self._done -= count

    def file_done(self) -> None:
        """A file is whole and good."""
        with self._lock:
            self._files_done += 1

    def restart(self) -> None:
        """Forget what counted so far: it is counted anew."""
        with self._lock:
            self._done = self._files_done = 0

    def waiting(self, until: float, why: FetchError | None) -> float:
        """Say that nothing goes on before that moment; return the seconds until then."""
        with self._lock:
            left = until - self._clock()
            if left > 0:
                reason = FetchReason.SOURCE_UNREACHABLE if why is None else why.reason
                self._enter(WAITING, reason, "" if why is None else why.message, until)
            return left

    def progress(self) -> Progress:
        """What the page shows."""
        with self._lock:
            speed = self._speed()
            left = max(0, self._bytes - self._done)
            moving = self._state in {DOWNLOADING, VERIFYING} and speed > 0
            return Progress(
                task=self._task,
                state=self._state,
                uid=self._uid,
                bytes=self._bytes,
                done=max(0, min(self._done, self._bytes)),
                files=self._files,
                files_done=self._files_done,
                speed=round(speed, 1),
                remaining_s=round(left / speed, 1) if moving else None,
                reason=self._reason,
                message=self._message,
                until=self._until,
            )

    def _enter(self, state: str, reason: str, message: str, until: float | None) -> None:
        if state != self._state and WAITING not in {state, self._state}:
            self._samples.clear()
        self._state, self._reason, self._until = state, reason, until
        self._message = self._clean(message)[:_MESSAGE]

    def _move(self, count: int) -> None:
        self._moved += count
        now = self._clock()
        if not self._samples:
            self._samples.append((now, self._moved - count))
        elif now - self._samples[-1][0] >= _SAMPLE_S:
            self._samples.append((now, self._moved))
            while now - self._samples[0][0] > _WINDOW_S:
                self._samples.popleft()

    def _speed(self) -> float:
        if not self._samples:
            return 0.0
        now = self._clock()
        begun, moved = next(
            (each for each in self._samples if now - each[0] <= _WINDOW_S), self._samples[-1]
        )
        # Half a second at least: the first bytes come out of buffers.
        return (self._moved - moved) / max(_SAMPLE_S, now - begun)


def sentence(progress: Progress) -> str:
    """One line for the log."""
    if progress.state == WAITING:
        until = "" if progress.until is None else f" until {words.moment(progress.until)}"
        return f"waiting{until}: {progress.reason} {progress.message}".rstrip()
    if not progress.bytes:
        return progress.state
    share = 100 * progress.done / progress.bytes
    text = (
        f"{progress.state}: {words.size(progress.done)} of {words.size(progress.bytes)} "
        f"({share:.0f} %), {progress.files_done} of {progress.files} files, "
        f"{words.size(progress.speed)}/s"
    )
    if progress.remaining_s is not None:
        text += f", {words.span(progress.remaining_s)} left"
    return text
