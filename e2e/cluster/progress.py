"""Tell the person who waits what is going on: one line a step, with the seconds it took.

On a terminal the running line is redrawn every second. Elsewhere (a log, a test run) a step says
so when it begins, every half minute while it lasts, and when it ends. Everything goes to stderr:
stdout belongs to the answers that another program may read.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

QUIET_INTERVAL = 30.0


class Progress:
    """A step under way, shown while the block lasts."""

    def __init__(self, title: str, index: int = 0, total: int = 0) -> None:
        self._title = f"[{index}/{total}] {title}" if total else title
        self._begin = time.monotonic()
        self._done = threading.Event()
        self._live = sys.stderr.isatty()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        self._ticker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._ticker.join()
        self._show("failed after" if kind else "done in", last=True)

    def _show(self, words: str, *, last: bool = False) -> None:
        line = f"  {self._title} … {words} {time.monotonic() - self._begin:.0f} s"
        start, end = ("\r\033[K", "\n" if last else "") if self._live else ("", "\n")
        sys.stderr.write(f"{start}{line}{end}")
        sys.stderr.flush()

    def _tick(self) -> None:
        interval = 1.0 if self._live else QUIET_INTERVAL
        while not self._done.wait(interval):
            self._show("running for")


def say(words: str) -> None:
    """Say one line."""
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()
