"""The head of a safetensors file: names, types, shapes and places of its tensors.

Format: eight bytes with the header's length (little endian), the header as a JSON object, the
tensors' bytes. https://github.com/huggingface/safetensors#format. A header that this module takes
is one that the engine's own reader takes: no overlap, no hole, no byte too few or too many.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from stoker_worker.inspect.errors import InspectError, Reason

LENGTH_BYTES = 8
# The format's own bound; the largest public models have headers of a few megabytes.
MAX_HEADER = 100_000_000
# Sums of sizes stay exact in every reader of JSON.
MAX_FILE = 2**53

# Bits of one element.
DTYPE_BITS: Mapping[str, int] = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
    "C64": 64,
}
FLOATS = frozenset(name for name in DTYPE_BITS if name.startswith(("F", "BF")))

_AGAIN = "copy the file from the model's source again"


class Tensor(NamedTuple):
    """One tensor of a file."""

    name: str
    dtype: str  # safetensors' name
    shape: Tuple[int, ...]
    size: int  # bytes in the file

    @property
    def elements(self) -> int:
        """The product of its shape."""
        product = 1
        for each in self.shape:
            product *= each
        return product


def header_length(start: bytes, file_size: int, where: str) -> int:
    """Length of the header, from a file's first eight bytes."""
    if file_size < LENGTH_BYTES or len(start) < LENGTH_BYTES:
        raise InspectError(
            Reason.FILE_TRUNCATED,
            f"{where} has {file_size} bytes, too few for a safetensors file; its copy did not "
            f"finish: {_AGAIN}",
        )
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if length > MAX_HEADER:
        raise InspectError(
            Reason.HEADER_TOO_LONG,
            f"{where} announces a header of {length} bytes, more than {MAX_HEADER}; it is no "
            f"safetensors file, or damaged: {_AGAIN}",
        )
    if LENGTH_BYTES + length > file_size:
        raise InspectError(
            Reason.FILE_TRUNCATED,
            f"{where} announces a header of {length} bytes and has {file_size} bytes in all; its "
            f"copy did not finish: {_AGAIN}",
        )
    return length


def parse_header(header: bytes, data_size: int, where: str) -> List[Tensor]:
    """Tensors of a header whose file holds `data_size` bytes behind it."""
    try:
        data = json.loads(header.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _invalid(where, f"is not JSON ({type(error).__name__})") from error
    if not isinstance(data, dict):
        raise _invalid(where, "is not a JSON object")
    data.pop("__metadata__", None)
    spans: List[Tuple[int, int, str]] = []
    tensors: List[Tensor] = []
    for name, entry in data.items():
        tensor, begin = _tensor(name, entry, where)
        tensors.append(tensor)
        spans.append((begin, begin + tensor.size, name))
    _check_spans(sorted(spans), data_size, where)
    return tensors


def _tensor(name: str, entry: Any, where: str) -> Tuple[Tensor, int]:  # noqa: ANN401 - any JSON
    fields: Dict[str, Any] = entry if isinstance(entry, dict) else {}
    dtype = fields.get("dtype")
    shape, offsets = _sizes(fields.get("shape")), _sizes(fields.get("data_offsets"))
    if not isinstance(dtype, str) or shape is None or offsets is None or len(offsets) != 2:
        raise _invalid(where, f"has no dtype, shape and data_offsets for {_named(name)}")
    begin, end = offsets
    tensor = Tensor(name, dtype[:16], shape, end - begin)
    bits = DTYPE_BITS.get(dtype)
    if tensor.elements > MAX_FILE or end > MAX_FILE:
        raise _invalid(where, f"gives {_named(name)} an absurd size")
    if end < begin or (bits is not None and -(-tensor.elements * bits // 8) != tensor.size):
        what = f"gives {_named(name)} {end - begin} bytes, which do not fit its shape and type"
        raise _invalid(where, what)
    return tensor, begin


def _check_spans(spans: List[Tuple[int, int, str]], data_size: int, where: str) -> None:
    at = 0
    for begin, end, name in spans:
        if begin != at:
            what = "overlaps another tensor" if begin < at else "leaves a hole before it"
            raise _invalid(where, f"places {_named(name)} so that it {what}")
        at = end
    if at > data_size:
        raise InspectError(
            Reason.FILE_TRUNCATED,
            f"{where} has {data_size} bytes of tensors and its header describes {at}; its copy did "
            f"not finish: {_AGAIN}",
        )
    if at < data_size:
        raise _invalid(where, f"describes {at} bytes of tensors and the file has {data_size}")


def _sizes(value: Any) -> Optional[Tuple[int, ...]]:  # noqa: ANN401 - any JSON
    # No tensor has more dimensions than these libraries can hold.
    if not isinstance(value, list) or len(value) > 64:
        return None
    good = all(type(each) is int and 0 <= each <= MAX_FILE for each in value)
    return tuple(value) if good else None


def _named(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:80]}…")


def _invalid(where: str, what: str) -> InspectError:
    return InspectError(Reason.HEADER_INVALID, f"the header of {where} {what}; {_AGAIN}")
