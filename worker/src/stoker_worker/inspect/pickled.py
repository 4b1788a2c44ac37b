"""Sizes of weights in PyTorch's pickle format, without unpickling: a pickle is a program.

Since PyTorch 1.6 such a file is an uncompressed zip with one member per storage; the zip's own
directory says how large they are. Types and shapes stay unknown, so parameters are bytes over the
width of the model's type.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, List, Mapping, Sequence

from stoker_worker.inspect.files import unreadable
from stoker_worker.inspect.headers import DTYPE_BITS, Tensor
from stoker_worker.inspect.structure import model_dtype

_NAMES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}


def tensors_of(folder: Path, files: Sequence[str], config: Mapping[str, Any]) -> List[Tensor]:
    """One stand-in per file, of as many elements as fit its bytes."""
    dtype = _NAMES[model_dtype(config, {})]
    width = DTYPE_BITS[dtype] // 8
    found = []
    for name in files:
        elements = _bytes_of(folder / name) // width
        found.append(Tensor(name, dtype, (elements,), elements * width))
    return found


def _bytes_of(file: Path) -> int:
    try:
        whole = file.stat().st_size
        if not zipfile.is_zipfile(file):
            return whole
        with zipfile.ZipFile(file) as archive:
            stored = [each for each in archive.infolist() if "/data/" in each.filename]
    except OSError as error:
        raise unreadable(file, error) from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return whole
    # A directory may claim anything; no more is stored than the file has.
    return min(whole, sum(each.file_size for each in stored)) or whole
