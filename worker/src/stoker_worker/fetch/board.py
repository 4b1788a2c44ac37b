"""What the threads of a transfer share: who does which part of which file, under one lock.

No thread, no file and no source is touched here, so each step can be told by values. A file goes

    chunks missing -> taken -> there -> hashed, in order -> verified -> settled
          ^                      |                    |
          +---- one went bad ----+     all went bad --+-> begins again, once

and begins again only when no connection and no hashing thread has it any more: whoever was late
could otherwise write over what has been verified since.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.errors import FetchError
from stoker_worker.fetch.filework import FileWork

# One request is for so many chunks at most.
RUN = 8
_TICK_S = 0.5


class Board:
    """The state of a transfer. All methods may be called by several threads."""

    def __init__(
        self,
        files: Sequence[FileWork],
        parallel: int,
        lost: Callable[[FileWork, int, str, bool], None],
    ) -> None:
        self._files = files
        self._parallel = parallel
        self._lost = lost  # told of bytes that went bad, why, and whether that is all of the file
        self._changed = threading.Condition()
        self._waiting = deque(files)  # may have chunks to take, in order
        self._unjudged = deque(files)
        self._verified: deque[FileWork] = deque()
        self._unsettled = len(files)
        self._error: BaseException | None = None
        self._over = False

    def wait_for_all(self, stop: threading.Event) -> None:
        """Block until every file is settled; raise what ended the transfer before."""
        with self._changed:
            while self._unsettled and self._error is None:
                self._changed.wait(_TICK_S)
                if stop.is_set() and self._error is None:
                    text = "asked to end; the next job goes on from what is there"
                    self._error = FetchError(FetchReason.INTERRUPTED, text, passes=True)
            self._over = True
            self._changed.notify_all()
            if self._error is not None:
                raise self._error

    def fail(self, error: BaseException) -> None:
        """End the transfer; the first error counts."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def ended(self, work: FileWork) -> bool:
        """Whether what is done for a file now is in vain."""
        return self._over or self._error is not None or bool(work.spoiled)

    # For connections.

    def take(self) -> tuple[FileWork, range] | None:
        """Wait for chunks to fetch; None when there will be none any more."""
        with self._changed:
            while not self._over and self._error is None:
                while self._waiting and not self._has_work(self._waiting[0]):
                    self._waiting.popleft()
                # The file with fewest connections: one that has a file for itself brings its
                # chunks in the order in which they are hashed.
                open_ones = list(islice(self._open(), self._parallel))
                if open_ones:
                    work = min(open_ones, key=lambda each: each.connections)
                    run = work.chunks.take(self._most(work))
                    if run is not None:
                        work.connections += 1
                        return work, run
                self._changed.wait(_TICK_S)
        return None

    def is_due(self, work: FileWork, index: int) -> bool:
        """Whether all chunks before one are there, so that it waits for hashing alone."""
        with self._changed:
            return work.chunks.whole(index)

    def finish(self, work: FileWork, index: int, kept: memoryview | None = None) -> bool:
        """Say that a chunk was written; False where nobody wants it any more.

        `kept` are its bytes, if they need not be read again to be hashed.
        """
        with self._changed:
            if work.spoiled:
                return False
            if kept is not None:
                work.kept[index] = kept
            work.chunks.finish(index)
            work.dirty = True
            self._changed.notify_all()
            return True

    def leave(self, work: FileWork, run: range) -> None:
        """Say that a connection is done with its run, however it went."""
        with self._changed:
            work.connections -= 1
            work.chunks.give_back(run)
            self._resume(work)

    def spoil(self, work: FileWork, fault: str) -> None:
        """Say that a file is bad as a whole."""
        with self._changed:
            work.spoiled = work.spoiled or fault
            self._resume(work)

    # For hashing.

    def next_to_hash(self) -> FileWork | None:
        """Wait for a file whose next chunk is there; None when there will be none any more."""
        with self._changed:
            while not self._over and self._error is None:
                while self._unjudged and self._unjudged[0].verified:
                    self._unjudged.popleft()
                work = next((each for each in self._unjudged if each.can_hash()), None)
                if work is not None:
                    work.hashing = True
                    return work
                self._changed.wait(_TICK_S)
        return None

    def take_hash(self, work: FileWork) -> bool:
        """Take a file to hash it, if the next chunk is there and nobody else has it."""
        with self._changed:
            taken = self._error is None and work.can_hash()
            work.hashing = work.hashing or taken
            return taken

    def hashed(self, work: FileWork) -> bool:
        """Say that a chunk was hashed; return whether the next one is there."""
        with self._changed:
            work.hashed += 1
            return work.hashed < work.chunks.count and work.chunks.is_done(work.hashed)

    def stop_hashing(self, work: FileWork) -> None:
        """Say that a thread is done with a file for now."""
        with self._changed:
            work.hashing = False
            self._resume(work)

    def judge(self, work: FileWork) -> None:
        """Compare with what was promised, once all chunks are hashed."""
        fault = work.fault()
        with self._changed:
            if fault:
                work.spoiled = fault
                return
            work.verified = True
            self._verified.append(work)

    def lose_chunk(self, work: FileWork, index: int) -> None:
        """Say that a chunk is not what an earlier job read here."""
        with self._changed:
            # Once only: if the new one differs too, it is the record that is wrong.
            del work.recorded[index]
            work.chunks.spoil(index)
            why = "a part went bad since it was written; it is fetched again"
            self._lost(work, work.chunks.length(index), why, False)
            self._resume(work)

    # For flushing.

    def verified(self, wait_s: float) -> list[FileWork] | None:
        """Wait a while for files that are verified and not settled; None when it is over."""
        with self._changed:
            if not self._verified and not self._over and self._error is None:
                self._changed.wait_for(
                    lambda: self._verified or self._over or self._error is not None, wait_s
                )
            if self._over or self._error is not None:
                return None
            return list(self._verified)

    def settle(self, work: FileWork) -> None:
        """Say that a file is good and on the disk."""
        with self._changed:
            work.dirty = False
            self._verified.remove(work)
            self._unsettled -= 1
            self._changed.notify_all()

    def take_dirty(self) -> list[FileWork]:
        """Return files that were written to since the last call."""
        with self._changed:
            dirty = [each for each in self._files if each.dirty]
            for work in dirty:
                work.dirty = False
            return dirty

    # With the lock.

    def _has_work(self, work: FileWork) -> bool:
        return bool(work.chunks.missing or work.spoiled)

    def _open(self) -> Iterator[FileWork]:
        return (each for each in self._waiting if each.chunks.missing and not each.spoiled)

    def _most(self, work: FileWork) -> int:
        """Chunks for one request: few enough that all connections have some at the end."""
        if not work.remote.ranges:
            return work.chunks.count
        left = 0
        for each in self._open():
            left += each.chunks.missing
            if left >= RUN * self._parallel:
                return RUN
        return max(1, left // self._parallel)

    def _resume(self, work: FileWork) -> None:
        """Offer a file's chunks again, or begin it again, as soon as nobody has it."""
        if work.spoiled and not work.connections and not work.hashing:
            self._begin_again(work)
        if work.chunks.missing and work not in self._waiting:
            self._waiting.appendleft(work)
        self._changed.notify_all()

    def _begin_again(self, work: FileWork) -> None:
        if not work.resumed:
            work.mismatches += 1
        if work.mismatches > 1:
            text = (
                f"{work.remote.path}: {work.spoiled}, twice; the source does not hold what it "
                "promises, or something on the way changes it"
            )
            self._error = self._error or FetchError(FetchReason.DIGEST_MISMATCH, text)
            return
        self._lost(work, work.chunks.done_bytes(), f"{work.spoiled}; it is fetched again", True)
        work.begin_again()
