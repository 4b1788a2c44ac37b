"""Model folders without weights: real configurations and headers, and files that are all holes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stoker_worker.inspect.headers import Tensor
from tests.support.families import layout

# A model as small as one gets.
SMALL: Mapping[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "max_position_embeddings": 512,
    "torch_dtype": "bfloat16",
}
SMALL_TENSORS = tuple(layout(SMALL))


def write_header(file: Path, tensors: Iterable[Tensor]) -> None:
    """A safetensors file of the right length whose tensors take no space on disk."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for each in tensors:
        header[each.name] = {
            "dtype": each.dtype,
            "shape": list(each.shape),
            "data_offsets": [at, at + each.size],
        }
        at += each.size
    raw = json.dumps(header).encode()
    with file.open("wb") as opened:
        opened.write(len(raw).to_bytes(8, "little") + raw)
        opened.truncate(8 + len(raw) + at)


def write_model(
    folder: Path, config: Mapping[str, Any], tensors: Sequence[Tensor], shards: int = 1
) -> Path:
    """A folder with config.json and the tensors, spread over numbered files with an index."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if shards == 1:
        write_header(folder / "model.safetensors", tensors)
        return folder
    weight_map = {}
    for number in range(shards):
        name = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = tensors[number::shards]
        write_header(folder / name, part)
        weight_map.update({each.name: name for each in part})
    index = {
        "metadata": {"total_size": sum(each.size for each in tensors)},
        "weight_map": weight_map,
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder
