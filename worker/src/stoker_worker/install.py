"""Put the worker into a folder as one file that any Python from 3.9 runs.

A zip and not a tree: it replaces an older one in a single rename, needs no PYTHONPATH (which
belongs to the engine), and is imported without a look at the file system for each module.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import stoker_worker

APP = "stoker-worker.pyz"
_MAIN = b"from stoker_worker.cli import main\nraise SystemExit(main())\n"
_FETCH = "fetch"  # another program, with libraries that an engine's image does not have
# A fixed time makes equal content equal bytes.
_TIME = (2020, 1, 1, 0, 0, 0)


def install(folder: Path) -> Path:
    """Write the worker into the folder; return the file."""
    source = Path(stoker_worker.__file__).parent
    target = folder / APP
    building = folder / f".{APP}.{os.getpid()}"
    with zipfile.ZipFile(building, "w") as archive:
        for path in sorted(source.rglob("*.py")):
            if _FETCH in path.relative_to(source).parts:
                continue
            name = Path(source.name) / path.relative_to(source)
            archive.writestr(zipfile.ZipInfo(str(name), _TIME), path.read_bytes())
        archive.writestr(zipfile.ZipInfo("__main__.py", _TIME), _MAIN)
    building.chmod(0o644)  # the engine may run as another user
    building.replace(target)
    return target
