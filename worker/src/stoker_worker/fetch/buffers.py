"""Chunks on their way: gathered in memory, written past the kernel's cache, hashed from memory.

A chunk that goes through the page cache is copied into pages that the kernel has to find first, and
copied out again to be hashed. Here it stays in one buffer: the connection fills it, the disk takes
it from there (O_DIRECT), and the hashing thread reads it there. So a download does not drive out
what the engines of the node have in the page cache, and memory that was touched once is used again.

Two things make it hard:

    order    a hash follows the file, connections do not. A chunk waits in its buffer until the
             hash comes to it. A chunk is due when all before it are there: then hashing alone is
             what it waits for, and where there is no room its connection waits a moment. An early
             one waits for other connections, and nobody may wait for that: `EARLY` chunks are
             kept, and one more goes through the page cache, which keeps it as long as it can. The
             room of `DUE` chunks is kept from early ones, or they could stop the hash that they
             wait for.
    support  some file systems cannot write past the cache, and none can for the odd end of a file.
             What cannot is written as usual.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from contextlib import suppress

from stoker_worker.fetch.chunks import CHUNK
from stoker_worker.fetch.folder import Folder

# Chunks. Two connections for each of four files bring four runs of eight early.
EARLY = 32
DUE = 8
# Addresses, lengths and places in a file of direct writes: a multiple of every disk's block.
_ALIGNED = 4096
# What is smaller is not worth a buffer of its own.
_SMALL = 1 << 20
# Hashing a chunk takes milliseconds, where the processor is free.
_HASH_S = 2.0
_DIRECT = getattr(os, "O_DIRECT", 0)


class Buffers:
    """Memory for chunks: one for each connection, and those that wait for their hash."""

    def __init__(self, early: int = EARLY, due: int = DUE) -> None:
        self._early, self._all = early, early + due
        self._kept = 0
        self._free: list[memoryview] = []
        self._lock = threading.Condition()

    def take(self) -> memoryview:
        """Return one; a connection has one at a time."""
        with self._lock:
            if self._free:
                return self._free.pop()
        memory = mmap.mmap(-1, CHUNK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
        return memoryview(memory)

    def give(self, buffer: memoryview) -> None:
        """Let a connection's be used again."""
        with self._lock:
            self._free.append(buffer)

    def keep(self, *, due: bool, wait_s: float = 0.0) -> bool:
        """Whether one more chunk may wait; a due one perhaps after another was hashed."""
        room = self._all if due else self._early
        with self._lock:
            if due and self._kept >= room:
                self._lock.wait_for(lambda: self._kept < room, wait_s)
            if self._kept >= room:
                return False
            self._kept += 1
            return True

    def release(self, buffer: memoryview) -> None:
        """Let one be used again that waited."""
        with self._lock:
            self._kept -= 1
            self._free.append(buffer)
            self._lock.notify()


class ChunkWriter:
    """Gathers a run's chunks and writes each as a whole. Of one connection."""

    def __init__(self, folder: Folder, path: str, buffers: Buffers) -> None:
        self._buffers = buffers
        self._plain = folder.open_file(path, os.O_WRONLY)
        self._direct = _open_direct(folder, path)
        self._buffer = buffers.take()

    def close(self) -> None:
        """Let go of the file; a chunk that is not whole is lost."""
        self._buffers.give(self._buffer)
        os.close(self._plain)
        self._close_direct()

    def put(self, piece: memoryview, at: int) -> None:
        """Gather a piece, `at` bytes after the chunk's beginning."""
        self._buffer[at : at + len(piece)] = piece

    def write(self, at: int, length: int, *, due: bool) -> memoryview | None:
        """Write the chunk that begins at that byte of the file.

        Returns its bytes where they may wait for their hash; whoever takes them releases them.
        Otherwise the hash finds them in the file.
        """
        if length < _SMALL or not self._buffers.keep(due=due, wait_s=_HASH_S):
            _write(self._plain, self._buffer[:length], at)
            return None
        full = self._buffer
        self._buffer = self._buffers.take()
        try:
            done = self._write_past(full[: length - length % _ALIGNED], at)
            _write(self._plain, full[done:length], at + done)
        except BaseException:
            self._buffers.release(full)
            raise
        return full

    def _write_past(self, view: memoryview, at: int) -> int:
        """Write past the page cache as far as the file system can; return how far."""
        done = 0
        while done < len(view) and self._direct >= 0 and not done % _ALIGNED:
            try:
                done += os.pwrite(self._direct, view[done:], at + done)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                self._close_direct()
        return done

    def _close_direct(self) -> None:
        if self._direct >= 0:
            os.close(self._direct)
            self._direct = -1


def _open_direct(folder: Folder, path: str) -> int:
    """Return a descriptor for writes past the page cache, -1 where there are none."""
    if not _DIRECT:
        return -1
    try:
        return folder.open_file(path, os.O_WRONLY | _DIRECT)
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.EOPNOTSUPP}:
            return -1
        raise


def _write(descriptor: int, view: memoryview, at: int) -> None:
    while view:
        count = os.pwrite(descriptor, view, at)
        view = view[count:]
        at += count
