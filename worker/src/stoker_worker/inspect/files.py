"""Reading a model's folder: small files whole, large ones by their heads alone."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, Dict, List, Optional

from stoker_worker.inspect.errors import InspectError, Reason
from stoker_worker.inspect.headers import LENGTH_BYTES, Tensor, header_length, parse_header

# Configurations have kilobytes; the index of a thousand shards has some megabytes.
_MOST_JSON = 100_000_000
_AGAIN = "copy the file from the model's source again"


def names_in(folder: Path) -> List[str]:
    """Names in a folder, sorted, without those that begin with a dot (locks and caches)."""
    try:
        return sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))
    except OSError as error:
        raise unreadable(folder, error) from error


def read_object(file: Path, reason: str = Reason.MODEL_CONFIG_INVALID) -> Optional[Dict[str, Any]]:
    """A JSON object from a file; None where there is no such file."""
    try:
        size = _size(file)
    except FileNotFoundError as error:
        if file.is_symlink():
            raise unreadable(file, error) from error
        return None
    except OSError as error:
        raise unreadable(file, error) from error
    if size > _MOST_JSON:
        raise InspectError(reason, f"{file} has {size} bytes, too many for its kind; {_AGAIN}")
    try:
        # Some tools write a byte order mark; the engine's reader would stumble over it.
        parsed = json.loads(file.read_bytes().decode("utf-8"))
    except OSError as error:
        raise unreadable(file, error) from error
    except (ValueError, RecursionError) as error:
        what = "is empty" if size == 0 else f"is not JSON: {str(error)[:120]}"
        raise InspectError(reason, f"{file} {what}; {_AGAIN}") from error
    if not isinstance(parsed, dict):
        raise InspectError(reason, f"{file} holds no JSON object; {_AGAIN}")
    return parsed


def read_header(file: Path) -> List[Tensor]:
    """Tensors of a safetensors file: reads its header and nothing behind it."""
    try:
        size = _size(file)
        with file.open("rb", buffering=0) as opened:
            length = header_length(opened.read(LENGTH_BYTES), size, str(file))
            header = bytearray()
            while len(header) < length:
                piece = opened.read(length - len(header))
                if not piece:
                    break
                header += piece
    except OSError as error:
        raise unreadable(file, error) from error
    return parse_header(bytes(header), size - LENGTH_BYTES - length, str(file))


def unreadable(path: Path, error: OSError) -> InspectError:
    """What the system says of a path that it does not let us read."""
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        target = path.readlink()
        return InspectError(
            Reason.UNREADABLE,
            f"{path} is a link to {target}, which is not there; copy the files and not the links",
        )
    return InspectError(
        Reason.UNREADABLE,
        f"{path} cannot be read by user {os.getuid()}: {error.strerror}; check the files' owner "
        "and mode",
    )


def _size(file: Path) -> int:
    found = file.stat()
    # A pipe would be waited for, and a folder read in vain.
    if not stat.S_ISREG(found.st_mode):
        raise InspectError(Reason.UNREADABLE, f"{file} is no regular file; {_AGAIN}")
    return found.st_size
