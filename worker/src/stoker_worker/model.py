"""A look at the model's folder before the engine spends half a minute to find the same fault."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import List, Optional, Sequence

from stoker_worker.contract import Termination, TerminationReason

# Hugging Face's and Mistral's own layout.
_CONFIGS = ("config.json", "params.json")
SUFFIX = ".safetensors"
_PICKLE = re.compile(r".*\.(bin|pt|pth)")
# What trainers leave beside a model; no weights.
_NO_WEIGHTS = re.compile(r"(training_args|optimizer|scheduler|rng_state|scaler|adapter_model).*")
_SHOWN = 8


def check_model(path: Path, *, allow_pickle: bool = False) -> Optional[Termination]:
    """Say what is wrong with the model; None when the engine may try.

    An engine takes pickles where a folder holds no safetensors, so without `allow_pickle` such a
    folder is refused here, also where nobody has read the model's facts before.
    """
    if path.suffix == ".gguf" and path.is_file():
        return None
    if not path.is_dir():
        return Termination(
            TerminationReason.MODEL_NOT_FOUND,
            f"there is no folder {path}: {_nearest(path)}; check the model's path and that the "
            "volume holds it",
        )
    config = next((path / name for name in _CONFIGS if (path / name).exists()), None)
    if config is None:
        return Termination(
            TerminationReason.MODEL_NOT_FOUND,
            f"{path} has no config.json, so it is not a model's folder ({_listing(path)}); check "
            "the model's path, and that the copy into the volume is complete",
        )
    try:
        parsed = json.loads(config.read_text(encoding="utf-8"))
    except PermissionError:
        return Termination(
            TerminationReason.MODEL_INVALID,
            f"{config} cannot be read by user {os.getuid()}; check the files' owner and mode",
        )
    except (OSError, ValueError) as error:
        return Termination(TerminationReason.MODEL_INVALID, f"{config} cannot be read: {error}")
    if not isinstance(parsed, dict):
        return Termination(TerminationReason.MODEL_INVALID, f"{config} holds no JSON object")
    return None if allow_pickle else _refuse_pickles(path)


def chosen(names: Sequence[str]) -> List[str]:
    """Return the safetensors files that are the model, where no index says so."""
    files = [name for name in names if name.endswith(SUFFIX)]
    own = [name for name in files if not name.startswith(("consolidated", "adapter_model"))]
    return own or [name for name in files if not name.startswith("adapter_model")]


def pickles(names: Sequence[str]) -> List[str]:
    """Return the files in PyTorch's own format, which runs code when it is read."""
    found = [name for name in names if _PICKLE.fullmatch(name)]
    return [name for name in found if not _NO_WEIGHTS.fullmatch(name)]


def pickles_alone(path: Path, found: Sequence[str]) -> str:
    """Say why weights that are pickles are refused, and both ways out."""
    shown = ", ".join(found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return (
        f"{path} holds weights as pickles alone ({shown}{more}), and a pickle runs code when it is "
        "read; convert them to safetensors, or have the administrator allow pickles "
        "(models.allowPickle in the values of Stoker's chart)"
    )


def _refuse_pickles(path: Path) -> Optional[Termination]:
    try:
        names = sorted(entry.name for entry in path.iterdir())
    except OSError as error:
        text = f"{path} cannot be listed: {error.strerror}; check the folder's owner and mode"
        return Termination(TerminationReason.MODEL_INVALID, text)
    found = [] if chosen(names) else pickles(names)
    if not found:
        return None
    return Termination(TerminationReason.PICKLE_WEIGHTS, pickles_alone(path, found))


def _nearest(path: Path) -> str:
    parent = path.parent
    while not parent.is_dir() and parent != parent.parent:
        parent = parent.parent
    return f"{parent} holds {_listing(parent)}"


def _listing(folder: Path, most: int = _SHOWN) -> str:
    try:
        # What begins with a dot is a lock or a cache, and no path of a spec may name it.
        names = sorted(e.name for e in folder.iterdir() if not e.name.startswith("."))
    except OSError as error:
        return f"cannot be listed: {error.strerror}"
    if not names:
        return "it is empty"
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def memory_limit() -> Optional[int]:
    """Bytes that this container may use, page cache included; None when there is no limit."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (Path("/sys/fs/cgroup") / name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return min(int(text), physical) if text.isdigit() else physical
    return None
