"""How far a download was, for the job that goes on after this one was killed.

A text file beside the partial model, only ever appended to:

    v 1 REVISION BOOT       what it is of, and which run of which kernel wrote it
    f NUMBER SIZE CHUNK PATH
    c NUMBER INDEX          a chunk was written
    d NUMBER INDEX SHA256   the file up to the end of that chunk was read again, in order
    x NUMBER                forget the file: it was bad
    s LINES                 so many lines of this file tell of what is on the disk

A line is appended once its chunk is written, so a killed process loses what was under way and no
more. A machine that goes down may also lose what the kernel had not written yet: another kernel
believes the lines that an `s` counts, and no other. The `d` lines let the next job find the very
chunk that went bad meanwhile, since sha256 over the whole file only says that one did.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stoker_worker.fetch.folder import Folder, failed

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MOST_BYTES = 256 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(slots=True)
class Recorded:
    """What a journal says of one file."""

    size: int
    chunk: int
    done: set[int] = field(default_factory=set)
    digests: dict[int, str] = field(default_factory=dict)  # of the file up to the end of a chunk


def boot_id() -> str:
    """Which run of the kernel this is; empty where the system does not tell."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def read_journal(text: str, revision: str, boot: str) -> dict[str, Recorded]:
    """Files by path; empty where the text is of something else. Never raises."""
    lines = text.split("\n")[:-1]  # a line without an end was cut
    if not lines:
        return {}
    match lines[0].split(" "):
        case ["v", "1", of, written_by] if of == _word(revision):
            same = bool(boot) and written_by == boot
        case _:
            return {}
    if not same:
        lines = lines[: max(_synced(lines), 1)]
    files: dict[int, tuple[str, Recorded]] = {}
    for line in lines[1:]:
        _read_line(line, files)
    return dict(files.values())


def _synced(lines: Sequence[str]) -> int:
    told = (line[2:] for line in lines if line.startswith("s "))
    return max((int(count) for count in told if count.isdecimal()), default=0)


def _read_line(line: str, files: dict[int, tuple[str, Recorded]]) -> None:
    try:
        match line.split(" ", 4):
            case ["f", number, size, chunk, path] if int(chunk) > 0:
                files[int(number)] = (path, Recorded(int(size), int(chunk)))
            case ["c", number, index]:
                files[int(number)][1].done.add(int(index))
            case ["d", number, index, digest] if _DIGEST.fullmatch(digest):
                files[int(number)][1].digests[int(index)] = digest
            case ["x", number]:
                recorded = files[int(number)][1]
                recorded.done.clear()
                recorded.digests.clear()
            case _:
                pass
    except (ValueError, KeyError):
        return  # somebody wrote into it; what it hides is fetched again


def _word(text: str) -> str:
    return text.replace(" ", "_").replace("\n", "_") or "-"


class Journal:
    """The journal of the download that runs. Methods may be called by several threads."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self._name = name
        self._descriptor = -1
        self._lines = 0
        self._lock = threading.Lock()

    def read(self, revision: str) -> dict[str, Recorded]:
        """What an earlier job left; nothing where it left nothing to believe."""
        try:
            descriptor = self._folder.open_file(self._name, os.O_RDONLY)
        except OSError:
            return {}
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
            text = file.read(_MOST_BYTES).decode("utf-8", "replace")
        return read_journal(text, revision, boot_id())

    def begin(self, revision: str, files: Sequence[tuple[str, Recorded]]) -> None:
        """Write it anew with what is known now; a file's number is its place in the sequence."""
        lines = [f"v 1 {_word(revision)} {boot_id() or '-'}"]
        for number, (path, recorded) in enumerate(files):
            lines.append(f"f {number} {recorded.size} {recorded.chunk} {path}")
            lines += [f"c {number} {index}" for index in sorted(recorded.done)]
            lines += [f"d {number} {index} {d}" for index, d in sorted(recorded.digests.items())]
        self._lines = len(lines)
        try:
            self._folder.write(self._name, "\n".join(lines) + "\n")
            self._descriptor = self._folder.open_file(self._name, os.O_WRONLY | os.O_APPEND)
        except OSError as error:
            raise failed(self._folder.path / self._name, error) from error

    def chunk(self, number: int, index: int) -> None:
        """A chunk was written."""
        self._append(f"c {number} {index}\n")

    def digest(self, number: int, index: int, sha256: str) -> None:
        """The file was hashed up to the end of a chunk."""
        self._append(f"d {number} {index} {sha256}\n")

    def forget(self, number: int) -> None:
        """The file was bad."""
        self._append(f"x {number}\n")

    @property
    def lines(self) -> int:
        """How many lines it has: to be asked before the data is synced."""
        with self._lock:
            return self._lines

    def synced(self, lines: int) -> None:
        """What so many lines tell of is on the disk."""
        self._append(f"s {lines}\n")
        with self._lock:
            if self._descriptor >= 0:
                os.fdatasync(self._descriptor)

    def close(self) -> None:
        """End it, without removing it."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, line: str) -> None:
        with self._lock:
            if self._descriptor < 0:
                return
            try:
                os.write(self._descriptor, line.encode())
                self._lines += 1
            except OSError as error:
                if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                    raise failed(self._folder.path / self._name, error) from error
                # The model's own room was taken before. All that the rest of the journal is for is
                # that a job which is killed goes on from here, and not from the beginning.
                os.close(self._descriptor)
                self._descriptor = -1
