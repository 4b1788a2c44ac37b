"""Which parts of a file are there, which are under way, and which come next.

A file is cut into chunks. A connection takes a run of neighbouring chunks; hashing follows the
chunks in their order, however they arrive. Pure: no thread, no file.
"""

from __future__ import annotations

CHUNK = 8 << 20  # bytes; what a killed job loses at most, for each connection
_MISSING, _TAKEN, _DONE = 0, 1, 2


class Chunks:
    """One file's chunks."""

    def __init__(self, size: int, chunk: int = CHUNK) -> None:
        self.size = size
        self.chunk = chunk
        self.count = -(-size // chunk)
        self._states = bytearray(self.count)
        self._first = 0  # no chunk before it is missing
        self.missing = self.count

    def start(self, index: int) -> int:
        """Where a chunk begins, in bytes; the file's size for the one after the last."""
        return min(index * self.chunk, self.size)

    def length(self, index: int) -> int:
        """Bytes of a chunk."""
        return self.start(index + 1) - self.start(index)

    def take(self, most: int) -> range | None:
        """Take the first run of chunks that nobody has, at most so many."""
        first = self._states.find(_MISSING, self._first)
        if first < 0:
            return None
        end = first + 1
        while end < self.count and end - first < most and self._states[end] == _MISSING:
            end += 1
        for index in range(first, end):
            self._states[index] = _TAKEN
        self.missing -= end - first
        self._first = end
        return range(first, end)

    def give_back(self, indices: range) -> None:
        """Leave chunks to somebody else, unless they are done."""
        for index in indices:
            if self._states[index] == _TAKEN:
                self._lose(index)

    def finish(self, index: int) -> None:
        """Say that a chunk is there, whoever had it."""
        if self._states[index] == _MISSING:
            self.missing -= 1
        self._states[index] = _DONE

    def spoil(self, index: int) -> None:
        """Say that a chunk is not there after all."""
        if self._states[index] != _MISSING:
            self._lose(index)

    def is_done(self, index: int) -> bool:
        """Whether a chunk is there."""
        return self._states[index] == _DONE

    def done_bytes(self) -> int:
        """Bytes of the chunks that are there."""
        done = self._states.count(_DONE)
        short = self.count * self.chunk - self.size
        return done * self.chunk - (short if done and self._states[-1] == _DONE else 0)

    def whole(self, end: int | None = None) -> bool:
        """Whether all are there, or all before one."""
        end = self.count if end is None else end
        return self._states.count(_DONE, 0, end) == end

    def _lose(self, index: int) -> None:
        self._states[index] = _MISSING
        self.missing += 1
        self._first = min(self._first, index)
