"""The command line as a process, without its two seconds of imports for each.

A server imports `stoker.cli` once and forks for each call; the program `stoker` that a shell finds
hands its arguments, folder, environment and standard streams over. What runs is a process of its
own, with the code and the exit status of the real one.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_START_SECONDS = 120
_CLIENT = """#!{python} -IS
import json, os, socket, sys
there = socket.socket(socket.AF_UNIX)
there.connect({path!r})
told = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(there, [len(told).to_bytes(4, "big") + told], [0, 1, 2])
status = there.recv(1)
sys.exit(status[0] if status else 70)
"""


class Forked:
    """Context manager: while it is open, `folder / "stoker"` is the command line."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        """`environment` is what libraries read when they are imported, as KUBECONFIG."""
        self._folder = folder
        self._environment = environment
        self._socket = folder / "socket"
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = self._folder / "stoker"
        program.write_text(_CLIENT.format(python=sys.executable, path=str(self._socket)))
        program.chmod(0o755)
        self._server = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "tests.support.forked", str(self._socket)],
            cwd=Path(__file__).parents[2],
            env={**os.environ, **self._environment},
        )
        wait_for(self._server, self._socket)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.terminate()
        self._server.wait()


def wait_for(server: subprocess.Popen[bytes], path: Path) -> None:
    """Until it has imported everything and listens there."""
    deadline = time.monotonic() + _START_SECONDS
    while not path.exists():
        assert server.poll() is None, "stoker cannot be imported"
        assert time.monotonic() < deadline, "stoker was not imported in time"
        time.sleep(0.05)


def listen(path: Path) -> socket.socket:
    """Under another name first: who sees the path may connect."""
    listener = socket.socket(socket.AF_UNIX)
    unready = path.with_suffix(".unready")
    listener.bind(str(unready))
    listener.listen()
    unready.rename(path)
    return listener


def status_of(end: SystemExit) -> int:
    """The exit status that Python makes of it."""
    return end.code if isinstance(end.code, int) else int(end.code is not None)


def serve(path: Path) -> None:
    """Fork for each call until somebody ends it."""
    from stoker.cli import main  # noqa: PLC0415 - the import that is to be made once

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = listen(path)
    while True:
        there, _ = listener.accept()
        if os.fork():
            there.close()
            continue
        listener.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        status = 1
        try:
            become(there)
            main()
        except SystemExit as end:
            status = status_of(end)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            there.send(bytes([status]))
            os._exit(status)


def become(there: socket.socket) -> None:
    """Take arguments, folder, environment and streams over from whoever called."""
    data, streams, _, _ = socket.recv_fds(there, 4, 3)
    length = int.from_bytes(data, "big")
    told = b""
    while len(told) < length:
        told += there.recv(length - len(told))
    arguments, folder, environment = json.loads(told)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["stoker", *arguments]


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
