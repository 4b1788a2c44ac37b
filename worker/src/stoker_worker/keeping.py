"""When compiled kernels are taken and kept in an engine's life; `compiled` knows how.

before the engine starts   take what an earlier one left
it serves                  keep what is new, in the background, at the lowest priority
it fails before it served  give up what it began with, so that the next start goes without
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from stoker_worker.compiled import Compiled, Restored, key_of
from stoker_worker.contract import CACHE_DIR, WorkerConfig
from stoker_worker.lastwords import say

# After the first answer an engine may still write what it compiled for it.
_LATER_S = 10.0
_LOWEST = 19


@dataclass(frozen=True)
class Kept:
    """What is told of it."""

    restored: str  # the snapshot; empty: it began without
    files: int
    seconds: float  # what taking it cost the start


class Keeper:
    """One start's dealings with compiled kernels."""

    def __init__(self, compiled: Compiled, restored: Restored, later_s: float = _LATER_S) -> None:
        self._compiled = compiled
        self._later_s = later_s
        self._thread: Optional[threading.Thread] = None
        self.kept = Kept(
            "" if restored.fault else restored.name, restored.files, round(restored.seconds, 3)
        )

    def serves(self) -> None:
        """Keep what is new, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)
            self._thread.start()

    def failed(self) -> None:
        """Give up what this start began with, unless it served."""
        if self._thread is None and self._compiled.restored:
            say(self._compiled.discard())

    def _keep(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)
        time.sleep(self._later_s)
        said = self._compiled.save()
        if said:
            say(said)


def keeper_of(config: WorkerConfig, rank: int = 0) -> Optional[Keeper]:
    """Take what an earlier replica left; None where nothing is kept."""
    if not config.compiled_key:
        return None
    key = key_of(config.engine, config.compiled_key, str(config.nodes), str(rank))
    local = Path(os.environ.get("HOME") or CACHE_DIR)
    compiled = Compiled(Path(config.compiled_dir), local, key, config.compiled_bytes)
    restored = compiled.restore()
    if restored.fault:
        say(f"compiled kernels: {restored.fault}")
    elif restored.name:
        took = f"{restored.files} files in {restored.seconds:.1f} s"
        say(f"compiled kernels of an earlier start: {took}")
    return Keeper(compiled, restored)
