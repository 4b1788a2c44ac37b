"""The engine's process: start, logs, signals, reaping, and what the kernel knows about its end."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Deque, List, Mapping, Optional, Sequence

LOG_LINES = 600  # two tracebacks of vLLM, each told by three processes
LINE_BYTES = 4096
READ_BYTES = 65536

# Where a container finds its own memory accounting, version 2 first.
MEMORY_EVENTS = (
    Path("/sys/fs/cgroup/memory.events"),
    Path("/sys/fs/cgroup/memory/memory.oom_control"),
)


class Ring:
    """The last lines of a byte stream that comes in pieces."""

    def __init__(self, lines: int = LOG_LINES) -> None:
        self._lines: Deque[bytes] = deque(maxlen=lines)
        self._lock = threading.Lock()

    def add(self, lines: Sequence[bytes]) -> None:
        """Keep whole lines, each cut to a sane length."""
        with self._lock:
            self._lines.extend(line[:LINE_BYTES] for line in lines)

    def text(self) -> List[str]:
        """Return the lines so far, oldest first."""
        with self._lock:
            return [line.decode("utf-8", "replace") for line in self._lines]


class Pump(threading.Thread):
    """Owns one stream of the engine: passes it through unchanged and keeps its last lines."""

    def __init__(self, source: int, sink: int, ring: Ring) -> None:
        super().__init__(name=f"pump-{sink}", daemon=True)
        self._source = source
        self._sink: Optional[int] = sink
        self._ring = ring

    def run(self) -> None:
        """Copy until every writer has closed its end."""
        rest = b""
        while True:
            try:
                data = os.read(self._source, READ_BYTES)
            except OSError:
                data = b""
            if not data:
                break
            self._pass_on(data)
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[:LINE_BYTES]
            self._ring.add(lines)
        os.close(self._source)
        if rest:
            self._ring.add([rest])

    def _pass_on(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self._sink is not None:
            try:
                view = view[os.write(self._sink, view) :]
            except OSError:
                # Nobody reads any more; the engine must not block because of that.
                self._sink = None


class EngineProcess:
    """The engine in a session of its own, so that all it starts can be killed together."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self.ring = Ring()
        self._started_at = time.monotonic()
        outputs = [os.pipe(), os.pipe()]
        try:
            # Never waited for through Popen: the worker is PID 1, and one loop reaps all children.
            self._popen = subprocess.Popen(
                list(argv),
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=outputs[0][1],
                stderr=outputs[1][1],
                start_new_session=True,
            )
        except OSError:
            for reading, _ in outputs:
                os.close(reading)
            raise
        finally:
            for _, writing in outputs:
                os.close(writing)
        self.pid = self._popen.pid
        sinks = ((outputs[0][0], 1), (outputs[1][0], 2))
        self._pumps = [Pump(reading, sink, self.ring) for reading, sink in sinks]
        for pump in self._pumps:
            pump.start()

    def age_s(self) -> float:
        """How long ago the engine was started."""
        return time.monotonic() - self._started_at

    def reap(self) -> Optional[int]:
        """Collect every dead child; return the engine's exit code once it is among them."""
        code = None
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return code
            if pid == 0:
                return code
            if pid == self.pid:
                code = os.waitstatus_to_exitcode(status)
                self._popen.returncode = code

    def terminate(self) -> None:
        """Ask the engine's main process; it tells its own children."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill the engine's session, whatever groups it has split into."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        for pid in _session_members(self.pid):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def last_words(self, wait_s: float) -> List[str]:
        """Return the end of the log, once the streams are read to their end."""
        for pump in self._pumps:
            pump.join(wait_s)
        return self.ring.text()


def _session_members(session: int) -> List[int]:
    members = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_bytes()
        except OSError:
            continue
        # The name in parentheses may hold anything: count from its end.
        fields = stat[stat.rindex(b")") + 2 :].split()
        if int(fields[3]) == session:
            members.append(int(entry.name))
    return members


def age_s() -> float:
    """How long this process has existed, which in a container is how long the container has."""
    try:
        stat = Path("/proc/self/stat").read_bytes()
        uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        started = int(stat[stat.rindex(b")") + 2 :].split()[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0  # a sandbox without these files; only the reported start-up times suffer
    return max(0.0, uptime - started)


def oom_kills(paths: Sequence[Path] = MEMORY_EVENTS) -> Optional[int]:
    """How many processes of this container the kernel has killed for memory; None: unknown."""
    for path in paths:
        with suppress(OSError, ValueError):
            for line in path.read_text(encoding="ascii").splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
    return None
