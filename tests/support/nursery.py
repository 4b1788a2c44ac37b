"""Processes of the operator, without its two seconds of imports for each.

A server imports what `stoker run` needs, once, and forks. What comes of it is a process of its own,
with the code, the signals and the exit status of one that was started as usual; it ends with the
server, and the server with whoever started that. For tests of how a process starts this is nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.forked import become, listen, status_of, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO, Self

_PR_SET_PDEATHSIG = 1


class Child:
    """As much of `subprocess.Popen` as tests use."""

    def __init__(self, there: socket.socket) -> None:
        told, (self._handle,), _, _ = socket.recv_fds(there, 4, 1)
        self.pid = int.from_bytes(told, "big")
        self._there = there
        self._status: int | None = None

    def poll(self) -> int | None:
        """The exit status, or minus a signal; None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """The same, once it has ended."""
        status = self._ended(timeout)
        if status is None:
            raise subprocess.TimeoutExpired("stoker", timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, to this process and none that has its number later."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        if self._status is None and select.select([self._there], [], [], timeout)[0]:
            # Nothing, where the server is gone, and its children with it.
            told = self._there.recv(4) or (-signal.SIGKILL).to_bytes(4, "big", signed=True)
            self._status = int.from_bytes(told, "big", signed=True)
            self._there.close()
            os.close(self._handle)
        return self._status


class Nursery:
    """Context manager around the server."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "nursery"
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        server = [sys.executable, "-m", "tests.support.nursery", str(self._path)]
        self._server = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *server])  # noqa: S603, S607
        wait_for(self._server, self._path)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.terminate()
        self._server.wait()

    def start(self, arguments: Sequence[str], environment: dict[str, str], log: IO[bytes]) -> Child:
        """Start `stoker` with these arguments, in this folder."""
        there = socket.socket(socket.AF_UNIX)
        there.connect(str(self._path))
        told = json.dumps([arguments, str(Path.cwd()), environment]).encode()
        with Path(os.devnull).open("rb") as nothing:
            streams = [nothing.fileno(), log.fileno(), log.fileno()]
            socket.send_fds(there, [len(told).to_bytes(4, "big") + told], streams)
        return Child(there)


def serve(path: Path) -> None:
    """Fork for each call, and tell how each ended, until somebody ends it."""
    import uvloop  # noqa: F401, PLC0415 - the imports that are to be made once

    from stoker.cli import main  # noqa: PLC0415
    from stoker.handlers import operator  # noqa: F401, PLC0415
    from stoker.telemetry import logs  # noqa: F401, PLC0415

    listener = listen(path)
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        ready: list[int] = select.select([listener.fileno(), *running], [], [])[0]
        for handle in ready:
            if handle not in running:
                there, _ = listener.accept()
                pid = os.fork()
                if not pid:
                    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
                    listener.close()
                    _run(there, main)
                born = os.pidfd_open(pid)
                running[born] = (pid, there)
                socket.send_fds(there, [pid.to_bytes(4, "big")], [born])
            else:
                pid, there = running.pop(handle)
                _, status = os.waitpid(pid, 0)
                with contextlib.suppress(BrokenPipeError), there:  # nobody may want to know
                    told = os.waitstatus_to_exitcode(status)
                    there.send(told.to_bytes(4, "big", signed=True))
                os.close(handle)


def _run(there: socket.socket, main: Callable[[], None]) -> None:
    status = 1
    try:
        become(there)
        there.close()
        main()
    except SystemExit as end:
        status = status_of(end)
    except BaseException:  # noqa: BLE001 - said as Python says it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
