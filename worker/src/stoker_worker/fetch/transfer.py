"""Brings files from a source onto the volume: many connections, hashed while they come.

Three kinds of threads meet at the board:

    connections   take runs of chunks, write them where they belong, and tell the journal
    hashing       follows the chunks of a file in order, as soon as they are there, in the buffers
                  that they were written from or else in the file (`buffers`); so verification ends
                  a moment after the last byte. A connection hashes what it brought itself, if
                  nobody hashes that file: the processor has it at hand
    flushing      sees data on the disk, now and then, and each file that is good

A chunk that an earlier job wrote is hashed like any other, and fetched again if it went bad. A file
that is not what was promised is fetched once more as a whole; then the source, or somebody on the
way, is at fault.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.board import RUN, Board
from stoker_worker.fetch.buffers import Buffers, ChunkWriter
from stoker_worker.fetch.chunks import CHUNK
from stoker_worker.fetch.disk import reserve_file
from stoker_worker.fetch.errors import FetchError
from stoker_worker.fetch.filework import FileWork
from stoker_worker.fetch.folder import Folder, failed
from stoker_worker.fetch.journal import Journal
from stoker_worker.fetch.listing import RemoteFile
from stoker_worker.fetch.pace import Bucket, Patience
from stoker_worker.fetch.progress import Meter
from stoker_worker.fetch.source import Source, SourceError
from stoker_worker.manifest import ManifestFile

FLUSH_S = 5.0
_BLOCK = 1 << 20
_TICK_S = 0.5
# A source that ends a file early so often, without an error, has a shorter file.
_SHORT = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """How the source may be used, and who may end it."""

    parallel: int  # connections
    hashers: int  # threads that hash
    bucket: Bucket
    patience: Patience
    stop: threading.Event
    say: Callable[[str], None]


class Transfer:
    """One go at a set of files. `run` returns what they are, once all of them are on the disk."""

    def __init__(
        self, source: Source, partial: Folder, journal: Journal, meter: Meter, limits: Limits
    ) -> None:
        self._source = source
        self._partial = partial
        self._journal = journal
        self._meter = meter
        self._limits = limits
        self._buffers = Buffers()
        self._good: dict[str, ManifestFile] = {}
        self._board = Board([], 0, self._lost)

    def run(self, files: Sequence[RemoteFile], revision: str) -> dict[str, ManifestFile]:
        """Fetch what is missing; FetchError says why it cannot be had. Blocks."""
        works = self._prepare(files, revision)
        limits = self._limits
        self._board = Board(works, limits.parallel, self._lost)
        threads = [
            *(self._thread(self._connecting, f"fetch-{n}") for n in range(limits.parallel)),
            *(self._thread(self._hashing, f"hash-{n}") for n in range(limits.hashers)),
            self._thread(self._flushing, "flush"),
        ]
        for thread in threads:
            thread.start()
        # After an error nobody waits for them: a connection may sit in a read for long, and what it
        # still gets is not written any more.
        self._board.wait_for_all(limits.stop)
        for thread in threads:
            thread.join()
        self._journal.close()
        return self._good

    def _thread(self, target: Callable[[], None], name: str) -> threading.Thread:
        def run() -> None:
            try:
                target()
            except OSError as error:
                self._board.fail(failed(self._partial.path, error))
            except BaseException as error:  # noqa: BLE001 - raised where `run` was called
                self._board.fail(error)

        return threading.Thread(target=run, name=name, daemon=True)

    # Before the first byte.

    def _prepare(self, files: Sequence[RemoteFile], revision: str) -> list[FileWork]:
        recorded = self._journal.read(revision)
        # What is small first. Of a compressed archive all files in their order, since it is read
        # again from its start for a file that was passed.
        ordered = sorted(files, key=lambda file: file.ranges and file.size > RUN * CHUNK)
        works = []
        for number, remote in enumerate(ordered):
            found = self._partial.state(remote.path)
            there = found is not None and found.st_size == remote.size
            known = recorded.get(remote.path)
            if not there or (known is not None and known.chunk != CHUNK):
                known = None
            works.append(FileWork.of(number, remote, known))
        for work in works:
            self._make_room(work)
            self._meter.kept(work.chunks.done_bytes())
        self._journal.begin(revision, [(work.remote.path, work.record()) for work in works])
        return works

    def _make_room(self, work: FileWork) -> None:
        """Make the file and take its room, so that nobody else can."""
        path, size = work.remote.path, work.remote.size
        try:
            found = self._partial.state(path)
            if found is not None and not stat.S_ISREG(found.st_mode):
                self._partial.remove(path)
            descriptor = self._partial.open_file(path, os.O_RDWR, create=True)
            try:
                if os.fstat(descriptor).st_size != size:
                    os.ftruncate(descriptor, 0)
                if not reserve_file(descriptor, size):
                    os.ftruncate(descriptor, size)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise failed(self._partial.path / path, error) from error

    # Connections.

    def _connecting(self) -> None:
        while (taken := self._board.take()) is not None:
            work, run = taken
            try:
                self._fetch(work, run)
            finally:
                self._board.leave(work, run)

    def _fetch(self, work: FileWork, run: range) -> None:
        """Fetch a run, with as many requests as it takes."""
        patience = self._limits.patience
        at, end = work.chunks.start(run.start), work.chunks.start(run.stop)
        writer = ChunkWriter(self._partial, work.remote.path, self._buffers)
        short = 0
        try:
            while at < end and not self._board.ended(work):
                self._wait_until(patience.closed_until(), work)
                begun = at
                try:
                    for reached in self._read(work, run, at, writer):
                        at, short = reached, 0
                except FetchError as error:
                    if error.reason == FetchReason.DIGEST_MISMATCH:
                        self._board.spoil(work, error.message)
                        return
                    self._wait_until(self._after(error, work), work)
                    continue
                short += at == begun
                if short >= _SHORT:
                    text = f"expected {work.remote.size} bytes, got {at}"
                    self._board.spoil(work, text)
        finally:
            writer.close()

    def _after(self, error: FetchError, work: FileWork) -> float:
        until = self._limits.patience.after(error)
        self._limits.say(f"{work.remote.path}: {error}; another try follows")
        return until

    def _read(self, work: FileWork, run: range, at: int, writer: ChunkWriter) -> Iterator[int]:
        """Make one request and write what comes; yields how far it is."""
        end = work.chunks.start(run.stop)
        with closing(self._stream(work, at, end)) as pieces:
            for piece in pieces:
                if self._board.ended(work):
                    return
                if at + len(piece) > end:
                    text = f"expected {end} bytes, got more"
                    raise FetchError(FetchReason.DIGEST_MISMATCH, text)
                self._limits.bucket.take(len(piece))
                self._gather(work, memoryview(piece), at, writer)
                at += len(piece)
                self._meter.got(len(piece))
                self._limits.patience.good()
                yield at

    def _gather(self, work: FileWork, piece: memoryview, at: int, writer: ChunkWriter) -> None:
        """Put a piece where it belongs, and write each chunk that is whole now."""
        chunks = work.chunks
        while piece:
            index = at // chunks.chunk
            start, length = chunks.start(index), chunks.length(index)
            part = piece[: start + length - at]
            writer.put(part, at - start)
            at, piece = at + len(part), piece[len(part) :]
            if at == start + length:
                kept = writer.write(start, length, due=self._board.is_due(work, index))
                if self._board.finish(work, index, kept):
                    self._journal.chunk(work.number, index)
                elif kept is not None:
                    self._buffers.release(kept)
                if self._board.take_hash(work):
                    self._hash(work)

    def _stream(self, work: FileWork, at: int, end: int) -> Generator[bytes | memoryview]:
        """Give bytes from `at` on, also of a file that can only be read from its start."""
        skip = 0 if work.remote.ranges else at
        try:
            with self._source.read(work.remote, at - skip, end) as pieces:
                for piece in pieces:
                    if skip >= len(piece):
                        skip -= len(piece)
                        self._meter.again(len(piece))
                        continue
                    yield memoryview(piece)[skip:] if skip else piece
                    skip = 0
        except OSError as error:
            raise SourceError(
                FetchReason.SOURCE_UNREACHABLE, f"the connection failed: {error}", passes=True
            ) from error

    def _wait_until(self, until: float, work: FileWork) -> None:
        """Wait for the source's sake, and say so."""
        while not self._board.ended(work):
            left = self._meter.waiting(until, self._limits.patience.why())
            if left <= 0:
                return
            self._limits.stop.wait(min(left, _TICK_S))

    def _lost(self, work: FileWork, count: int, why: str, whole: bool) -> None:  # noqa: FBT001
        self._meter.lost(count)
        self._limits.say(f"{work.remote.path}: {why}")
        if whole:
            self._journal.forget(work.number)
            while work.kept:
                self._buffers.release(work.kept.popitem()[1])

    # Hashing.

    def _hashing(self) -> None:
        while (work := self._board.next_to_hash()) is not None:
            self._hash(work)

    def _hash(self, work: FileWork) -> None:
        """Hash what is there of a file that this thread has taken."""
        try:
            self._hash_on(work)
        finally:
            self._board.stop_hashing(work)

    def _hash_on(self, work: FileWork) -> None:
        """Hash the chunks that are there, in order; judge the file after the last."""
        go_on = work.hashed < work.chunks.count
        while go_on:
            index = work.hashed
            known = work.recorded.get(index)
            before = work.hasher.copy()
            if not self._hash_chunk(work, index):
                work.hasher = before
                return
            if known is None:
                self._journal.digest(work.number, index, work.hasher.sha256)
            elif known != work.hasher.sha256:
                work.hasher = before
                self._board.lose_chunk(work, index)
                return
            go_on = self._board.hashed(work)
        if work.hashed == work.chunks.count:
            self._board.judge(work)

    def _hash_chunk(self, work: FileWork, index: int) -> bool:
        start, end = work.chunks.start(index), work.chunks.start(index + 1)
        kept = work.kept.pop(index, None)
        if kept is None:
            return self._read_again(work, start, end)
        work.hasher.update(kept[: end - start])
        self._buffers.release(kept)
        return True

    def _read_again(self, work: FileWork, at: int, end: int) -> bool:
        """Hash a chunk that is in the file alone."""
        block = memoryview(bytearray(_BLOCK))
        descriptor = self._partial.open_file(work.remote.path, os.O_RDONLY)
        try:
            while at < end:
                if self._board.ended(work):
                    return False
                count = os.preadv(descriptor, [block[: min(_BLOCK, end - at)]], at)
                if not count:
                    self._board.spoil(work, f"expected {work.remote.size} bytes, got {at}")
                    return False
                work.hasher.update(block[:count])
                at += count
        finally:
            os.close(descriptor)
        return True

    # Onto the disk.

    def _flushing(self) -> None:
        while (verified := self._board.verified(FLUSH_S)) is not None:
            for work in verified:
                self._settle(work)
            if not verified:
                self._flush()

    def _settle(self, work: FileWork) -> None:
        """See a good file on the disk, and note what the file system says of it."""
        path, size = work.remote.path, work.remote.size
        descriptor = self._partial.open_file(path, os.O_RDWR)
        try:
            os.fsync(descriptor)
            found = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        self._good[path] = ManifestFile(path, size, work.hasher.sha256).of(found)
        self._meter.file_done()
        self._board.settle(work)

    def _flush(self) -> None:
        """Let a machine that goes down lose a few seconds of work at most."""
        lines = self._journal.lines
        dirty = self._board.take_dirty()
        for work in dirty:
            descriptor = self._partial.open_file(work.remote.path, os.O_RDWR)
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        if dirty:
            self._journal.synced(lines)
