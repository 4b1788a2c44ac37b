"""A pod that lands on a node before the model waits here; it does not fail.

A model is published whole, by one rename, so its manifest is there or it is not.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from stoker_worker.cachecontract import MANIFEST
from stoker_worker.contract import ENV_TERMINATION_LOG, TERMINATION_LOG
from stoker_worker.lastwords import leave, say

LOOK_EVERY_S = 1.0
SAY_EVERY_S = 30.0


def wait_for(folder: Path) -> int:
    """Return 0 once the model is published, or when the pod is asked to end."""
    # Blocked, they stay pending until they are waited for; a handler could come at a bad moment.
    numbers = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    began = time.monotonic()
    told = began - SAY_EVERY_S
    while True:
        now = time.monotonic()
        if (folder / MANIFEST).exists():
            if now - began > LOOK_EVERY_S:
                text = f"waited {now - began:.0f} s until the model was on this node"
                say(text)
                leave(os.environ.get(ENV_TERMINATION_LOG, TERMINATION_LOG), text)
            return 0
        if now - told >= SAY_EVERY_S:
            say(f"{folder} is not on this node yet: its ModelCache fills it, {now - began:.0f} s")
            told = now
        if signal.sigtimedwait(numbers, LOOK_EVERY_S) is not None:
            return 0
