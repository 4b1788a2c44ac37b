"""A whole screen of a terminal, drawn again and again; at its end the terminal is as it was before.

Keys are read one by one and not shown, or what is typed would stand in the middle of the screen.
`q` ends it, and so does Ctrl-C, which stays a signal. A window of another size is drawn at once.
"""

import asyncio
import contextlib
import os
import signal
import sys
import termios
import tty
from types import TracebackType
from typing import Final, Self

from rich.console import Console, RenderableType
from rich.live import Live

_QUIT: Final = frozenset(b"qQ")


def can_live(console: Console) -> bool:
    """Whether the screen can be drawn again; a terminal without a cursor to move is as a pipe."""
    return console.is_terminal and not console.is_dumb_terminal


class Screen:
    """The screen, for as long as the block lasts; inside of a running loop alone."""

    def __init__(self, console: Console) -> None:
        self.ended = False
        self._live = Live(console=console, auto_refresh=False, screen=True)
        self._woken = asyncio.Event()
        self._restore = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._read_keys(stack)
            self._see_size(stack)
            stack.enter_context(self._live)
            self._restore = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore.__exit__(kind, error, trace)

    def draw(self, view: RenderableType) -> None:
        """Show this instead."""
        self._live.update(view, refresh=True)

    async def wait(self, seconds: float) -> bool:
        """Wait so long; True at once where there is something to be drawn again, or to end."""
        try:
            await asyncio.wait_for(self._woken.wait(), max(0.0, seconds))
        except TimeoutError:
            return False
        self._woken.clear()
        return True

    def _read_keys(self, stack: contextlib.ExitStack) -> None:
        if not sys.stdin.isatty():
            return
        loop, keyboard = asyncio.get_running_loop(), sys.stdin.fileno()
        before = termios.tcgetattr(keyboard)

        def read() -> None:
            keys = os.read(keyboard, 1024)
            if not keys:  # nobody is there any more
                loop.remove_reader(keyboard)
            if _QUIT & set(keys):
                self.ended = True
                self._woken.set()

        # What was typed and not read is dropped: it was not meant for the shell.
        stack.callback(termios.tcsetattr, keyboard, termios.TCSAFLUSH, before)
        tty.setcbreak(keyboard, termios.TCSANOW)
        loop.add_reader(keyboard, read)
        stack.callback(loop.remove_reader, keyboard)

    def _see_size(self, stack: contextlib.ExitStack) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, self._woken.set)
        stack.callback(loop.remove_signal_handler, signal.SIGWINCH)
