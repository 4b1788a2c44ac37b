"""LoRA adapters in folders below the model's: name, rank and bytes of each.

An adapter that cannot be read is none of the model's faults, so it is a warning.
"""

from __future__ import annotations

from pathlib import Path
from typing import List, Tuple

from stoker_worker.inspect.errors import InspectError
from stoker_worker.inspect.facts import Adapter
from stoker_worker.inspect.files import names_in, read_header, read_object
from stoker_worker.inspect.values import Values

CONFIG = "adapter_config.json"
_DEPTH = 2
_MOST_FOLDERS = 1000


def adapters_below(folder: Path) -> Tuple[List[Adapter], List[str]]:
    """Adapters in the folders below, at most two levels deep."""
    found: List[Adapter] = []
    doubts: List[str] = []
    waiting = [(folder, 0)]
    seen = 0
    while waiting and seen < _MOST_FOLDERS:
        current, depth = waiting.pop(0)
        seen += 1
        try:
            names = names_in(current)
            if depth and CONFIG in names:
                found.append(_adapter(folder, current, names))
        except InspectError as error:
            doubts.append(f"adapter left out: {error.message}")
            continue
        if depth < _DEPTH:
            waiting += [(current / name, depth + 1) for name in names if _is_folder(current / name)]
    return found, doubts


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _adapter(folder: Path, current: Path, names: List[str]) -> Adapter:
    values = Values(read_object(current / CONFIG) or {}, str(current / CONFIG))
    pattern = values.inner("rank_pattern")
    ranks = [pattern.whole("width", name) for name in pattern.data if pattern.has(name)]
    rank = max([values.whole("width", "r"), *ranks])
    if "adapter_model.safetensors" in names:
        size = sum(each.size for each in read_header(current / "adapter_model.safetensors"))
    else:
        size = sum((current / name).stat().st_size for name in names if name.endswith(".bin"))
    return str(current.relative_to(folder)), rank, size
