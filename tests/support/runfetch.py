"""`python -m tests.support.runfetch FOLDER`: the command `fetch` with its pod's paths in FOLDER."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from stoker_worker.fetch.main import Places, main

if __name__ == "__main__":
    pod = Path(sys.argv[1])
    raise SystemExit(
        main(os.environ, Places(pod / "volume", pod / "source", pod / "secret", pod / "ca.crt"))
    )
