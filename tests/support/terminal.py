"""A pseudo-terminal with a program at it: keys go in, frames come out.

The program has the terminal as its own (`setsid --ctty`), so Ctrl-C and a new size reach it as
signals of the kernel, as on any terminal.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

CTRL_C, CTRL_D = "\x03", "\x04"
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|.)")
_HOME = "\x1b[H"
_ALTERNATE, _BACK = "\x1b[?1049h", "\x1b[?1049l"
_SHOW_CURSOR = "\x1b[?25h"
# On a machine with other work a program takes its time.
_PATIENCE_S = 120.0 * float(os.environ.get("STOKER_PATIENCE", "1"))


class Terminal:
    """Runs one program until it ends by itself; killed with the block."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], *, rows: int = 30, columns: int = 120
    ) -> None:
        self._master, self._slave = pty.openpty()
        self.resize(rows, columns)
        self._before = termios.tcgetattr(self._slave)
        self._raw = b""
        self._process = subprocess.Popen(  # noqa: S603
            ["setsid", "--ctty", *command],  # noqa: S607
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env={"TERM": "xterm-256color", "PATH": os.environ["PATH"], **env},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._slave)
        self._reader.join()
        os.close(self._master)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # both ends of the other side are closed
                return
            if not data:
                return
            self._raw += data

    @property
    def output(self) -> str:
        """All that was written, escapes too."""
        return self._raw.decode("utf-8", "replace")

    @property
    def text(self) -> str:
        """All that was written, without escapes."""
        return _ESCAPES.sub("", self.output).replace("\r", "")

    @property
    def frame(self) -> list[str]:
        """Lines of the last whole screen."""
        return _ESCAPES.sub("", self.output.rpartition(_HOME)[2]).replace("\r", "").splitlines()

    def resize(self, rows: int, columns: int) -> None:
        """Give the window another size."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        """Press these keys."""
        os.write(self._master, keys.encode())

    def wait_for(self, what: str, look: Callable[[], object]) -> None:
        """Until it is true, which the program's end does not hinder."""
        deadline = time.monotonic() + _PATIENCE_S
        while not look():
            if self._process.poll() is not None:
                self._reader.join(0.5)
                assert look(), f"{what}: it ended with {self._process.returncode}: {self.text}"
            assert time.monotonic() < deadline, f"{what}: {self.text[-2000:]}"
            time.sleep(0.05)

    def end(self) -> int:
        """Wait for its end; the exit status."""
        status = self._process.wait(_PATIENCE_S)
        deadline = time.monotonic() + 1.0
        seen = -1
        while seen != len(self._raw) and time.monotonic() < deadline:
            seen = len(self._raw)
            time.sleep(0.1)
        return status

    @property
    def after(self) -> str:
        """What was written on the screen that was there before, once the live one had gone."""
        assert _ALTERNATE in self.output
        return _ESCAPES.sub("", self.output.rpartition(_BACK)[2]).replace("\r", "")

    def is_sane(self) -> bool:
        """Whether the terminal is as it was: modes, screen and cursor."""
        same = termios.tcgetattr(self._slave) == self._before
        back = self.output.count(_ALTERNATE) == self.output.count(_BACK)
        shown = "\x1b[?25" not in self.output.rpartition(_SHOW_CURSOR)[2]
        return same and back and shown
