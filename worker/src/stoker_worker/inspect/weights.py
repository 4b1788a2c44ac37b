"""Which files hold a model's weights, and what their headers list.

The choice is the engine's: an index decides where there is one, else every safetensors file; the
same weights under a second name (`consolidated`, adapters) do not count.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from stoker_worker.inspect.errors import InspectError, Reason
from stoker_worker.inspect.files import read_header, read_object
from stoker_worker.inspect.headers import Tensor
from stoker_worker.model import SUFFIX, chosen

_INDEX = "model.safetensors.index.json"
_NUMBERED = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.safetensors")
_AGAIN = "copy the model from its source again"


def tensors_in(folder: Path, names: Sequence[str]) -> Tuple[List[Tensor], List[str]]:
    """Every tensor of the model's safetensors files, and what is doubtful about them."""
    index = read_object(folder / _INDEX, Reason.INDEX_INVALID)
    if index is None:
        shards = chosen(names)
        _check_numbers(folder, shards)
        return _listed(_headers(folder, shards)), []
    mapped = _weight_map(folder, index)
    shards = sorted(set(mapped.values()))
    missing = [shard for shard in shards if shard not in names]
    if missing:
        raise InspectError(
            Reason.SHARD_MISSING,
            f"{folder / _INDEX} names {missing[0]}, which is not there ({len(missing)} of "
            f"{len(shards)} files are missing); the copy did not finish: {_AGAIN}",
        )
    headers = _headers(folder, shards)
    _check_map(folder, mapped, headers)
    tensors = _listed(headers)
    return tensors, _doubts(index, mapped, tensors)


def _weight_map(folder: Path, index: Mapping[str, Any]) -> Dict[str, str]:
    mapped = index.get("weight_map")
    if not isinstance(mapped, dict) or not mapped:
        raise InspectError(Reason.INDEX_INVALID, f"{folder / _INDEX} has no weight_map; {_AGAIN}")
    for tensor, shard in mapped.items():
        if not isinstance(shard, str) or "/" in shard or not shard.endswith(SUFFIX):
            raise InspectError(
                Reason.INDEX_INVALID,
                f"{folder / _INDEX} places {tensor[:80]!r} in {str(shard)[:80]!r}, which is no "
                f"safetensors file of this folder; {_AGAIN}",
            )
    return mapped


def _headers(folder: Path, shards: Sequence[str]) -> Dict[str, List[Tensor]]:
    return {shard: read_header(folder / shard) for shard in shards}


def _listed(headers: Mapping[str, List[Tensor]]) -> List[Tensor]:
    tensors: List[Tensor] = []
    held: Dict[str, str] = {}
    for shard, listed in headers.items():
        for tensor in listed:
            other = held.setdefault(tensor.name, shard)
            if other != shard:
                raise InspectError(
                    Reason.TENSOR_MISPLACED,
                    f"{tensor.name[:80]!r} is in {other} and in {shard}; remove the files that are "
                    f"not of this model, or {_AGAIN}",
                )
        tensors += listed
    return tensors


def _check_numbers(folder: Path, shards: Sequence[str]) -> None:
    for shard in shards:
        match = _NUMBERED.fullmatch(shard)
        if match is None:
            continue
        for number in range(1, int(match[3]) + 1):
            expected = f"{match[1]}-{number:05}-of-{match[3]}{SUFFIX}"
            if expected not in shards:
                raise InspectError(
                    Reason.SHARD_MISSING,
                    f"{folder} holds {shard} and not {expected}; the copy did not finish: {_AGAIN}",
                )


def _check_map(
    folder: Path, mapped: Mapping[str, str], headers: Mapping[str, List[Tensor]]
) -> None:
    held = {shard: {tensor.name for tensor in listed} for shard, listed in headers.items()}
    for name, shard in mapped.items():
        if name in held[shard]:
            continue
        other = next((each for each in headers if name in held[each]), None)
        if other is not None:
            raise InspectError(
                Reason.TENSOR_MISPLACED,
                f"{folder / _INDEX} places {name[:80]!r} in {shard}, and it is in {other}; the "
                f"files are not of one version: {_AGAIN}",
            )
        raise InspectError(
            Reason.TENSOR_MISSING,
            f"{folder / _INDEX} places {name[:80]!r} in {shard}, which does not have it; the files "
            f"are not of one version: {_AGAIN}",
        )


def _doubts(
    index: Mapping[str, Any], mapped: Mapping[str, str], tensors: Sequence[Tensor]
) -> List[str]:
    doubts = []
    meta = index.get("metadata")
    named = meta.get("total_size") if isinstance(meta, dict) else None
    total = sum(tensor.size for tensor in tensors)
    if isinstance(named, (int, float)) and named != total:
        doubts.append(f"the index names a total size of {named:.4g} bytes, the files hold {total}")
    beyond = sum(tensor.name not in mapped for tensor in tensors)
    if beyond:
        doubts.append(f"the files hold {beyond} tensors that the index does not name")
    return doubts
