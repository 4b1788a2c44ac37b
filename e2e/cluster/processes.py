"""Long-lived processes: started detached, known by a pid file, ended by that pid alone.

A pid file holds the pid and the process's start time (clock ticks since boot), because a pid by
itself may belong to a stranger by the time we read it. A process leads its own session, so it
outlives the shell that started it, and its output goes to one log file.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster.settings import ClusterError, state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

STOP_SECONDS = 10.0


def log_path(name: str) -> Path:
    """File that a part's output goes to."""
    return state() / "log" / f"{name}.log"


def _pid_file(name: str) -> Path:
    return state() / "run" / f"{name}.pid"


def _start_time(pid: int) -> str | None:
    """Return when a process began, or None when there is none (a zombie is none)."""
    try:
        # The second field may hold blanks and brackets; the last closing one ends it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def running(name: str) -> int | None:
    """Return the pid of a part that runs, else None."""
    try:
        pid, began = _pid_file(name).read_text().split()
    except (OSError, ValueError):
        return None
    return int(pid) if _start_time(int(pid)) == began else None


def start(
    name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None
) -> bool:
    """Start a part unless it runs already; say whether it was started now."""
    if running(name):
        return False
    for path in (log_path(name), _pid_file(name)):
        path.parent.mkdir(parents=True, exist_ok=True)
    with log_path(name).open("ab") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
    _pid_file(name).write_text(f"{process.pid} {_start_time(process.pid)}")
    # It outlives us on purpose: tell Python not to warn about a child that nobody waits for.
    process.returncode = 0
    return True


def stop(name: str) -> None:
    """End a part: ask, wait, insist."""
    pid = running(name)
    if pid:
        end([pid])
    _pid_file(name).unlink(missing_ok=True)


def end(pids: Sequence[int], seconds: float = STOP_SECONDS) -> None:
    """End processes by pid: SIGTERM to all, SIGKILL to those that are still there."""
    left = {pid: _start_time(pid) for pid in pids}
    left = {pid: began for pid, began in left.items() if began is not None}
    for wish, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, seconds)):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, wish)
        deadline = time.monotonic() + patience
        while left and time.monotonic() < deadline:
            _reap(left)
            left = {pid: began for pid, began in left.items() if _start_time(pid) == began}
            time.sleep(0.05)


def _reap(pids: Mapping[int, str | None]) -> None:
    """Collect those that are our own children, or they stay as zombies until we end."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def wait_for(name: str, ready: Callable[[], bool], seconds: float) -> None:
    """Wait until a part is ready; if it dies or takes too long, quote its log."""
    deadline = time.monotonic() + seconds
    while not ready():
        alive = running(name)
        if alive and time.monotonic() < deadline:
            time.sleep(0.1)
            continue
        why = f"was not ready after {seconds:.0f} s" if alive else "ended at once"
        raise ClusterError(
            f"{name} {why}; its log is {log_path(name)} and ends with: {last_words(name)}"
        )


def check_alive(name: str) -> None:
    """Raise if a part has ended, quoting its log."""
    if not running(name):
        wait_for(name, lambda: False, 0)


def last_words(name: str, lines: int = 3) -> str:
    """Return the end of a part's log on one line."""
    try:
        text = log_path(name).read_text(errors="replace")
    except OSError:
        return "(no log)"
    return " / ".join(text.strip().splitlines()[-lines:])[-600:]
