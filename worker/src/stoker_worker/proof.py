"""Whether the model's files are what its manifest says, before an engine answers with them.

no manifest ──► as it is: the user's own folder
manifest ──► a look at every file's state (milliseconds)
    │ missing or of another size ──► refused, before the engine starts
    │ touched since it was hashed ──► hashed while the engine loads; see `reading`
    └ untouched ──► proven
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Tuple

from stoker_worker.cachecontract import MANIFEST
from stoker_worker.contract import Termination, TerminationReason

if TYPE_CHECKING:
    from stoker_worker.manifest import ManifestFile

_SHOWN = 4


@dataclass(frozen=True)
class Proof:
    """What a look at the files has found. Times in seconds, `at` on the monotonic clock."""

    at: float
    files: int
    seconds: float
    suspects: Tuple[ManifestFile, ...] = ()  # touched since they were hashed
    fault: Optional[Termination] = None


def prove(folder: Path) -> Optional[Proof]:
    """Compare every file's state with the manifest; None where the folder has none."""
    if not (folder / MANIFEST).exists():
        return None
    # Only here: most of what it imports is of no use where there is no manifest.
    from stoker_worker.manifest import (  # noqa: PLC0415
        ManifestError,
        quick_check,
        read_manifest,
    )

    began = time.monotonic()
    try:
        manifest = read_manifest(folder)
        found = quick_check(folder, manifest)
    except ManifestError as error:
        return Proof(began, 0, 0.0, fault=corrupt(str(error)))
    except OSError as error:
        return Proof(began, 0, 0.0, fault=corrupt(f"{folder} cannot be listed: {error.strerror}"))
    bad = [f"{each.path} {each.fault}" for each in found if each.certain]
    touched = {each.path for each in found}
    at = time.monotonic()
    return Proof(
        at,
        len(manifest.files),
        at - began,
        tuple(file for file in manifest.files if file.path in touched),
        corrupt(_listed(bad)) if bad else None,
    )


def corrupt(what: str) -> Termination:
    """Say which file is not what its manifest says, and who puts it right."""
    text = (
        f"{what}. The model is not what was fetched, so it is not served; a verify job of its "
        "ModelCache puts bad files aside and fetches them again"
    )
    return Termination(TerminationReason.MODEL_CORRUPT, text)


def _listed(bad: list[str]) -> str:
    more = f"; and {len(bad) - _SHOWN} more files" if len(bad) > _SHOWN else ""
    return "; ".join(bad[:_SHOWN]) + more
