"""Make smaller checkpoints of one model: quantized ones by llm-compressor, and a pruned one.

Runs on the engine's own Python, whose packages it shares but for a few of its own:

    PYTHONPATH=<quantizer's packages>:<engine's> python3.11 quantize.py order.json source folder

`order.json` is a list of `quantized.Format` as JSON and the texts to calibrate with; `folder` gets
a Hugging Face checkpoint for each, in a folder by its name.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch  # type: ignore[import-not-found]
from transformers import AutoModelForCausalLM, AutoTokenizer  # type: ignore[import-not-found]

LENGTH = 256
"""Tokens of a calibration row; the rows are the text that the model knows."""


def load(source: Path) -> Any:
    """Read the model in the precision that it is stored in."""
    return AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)


def quantize(model: Any, each: dict[str, Any], rows: Any) -> None:
    """Quantize every linear layer but the output head, which is the embedding's other name."""
    from compressed_tensors.quantization import preset_name_to_scheme  # type: ignore[import-not-found]  # noqa: PLC0415
    from llmcompressor import oneshot  # type: ignore[import-not-found]  # noqa: PLC0415
    from llmcompressor.modifiers.quantization import (  # type: ignore[import-not-found]  # noqa: PLC0415
        GPTQModifier,
        QuantizationModifier,
    )

    scheme = preset_name_to_scheme(each["scheme"], ["Linear"])
    if each["group"]:
        # The presets take 128, and 192 is no multiple of it.
        scheme.weights.group_size = each["group"]
    modifier = GPTQModifier if each["calibrated"] else QuantizationModifier
    recipe = modifier(config_groups={"group_0": scheme}, ignore=["lm_head"])
    data = {"dataset": rows, "num_calibration_samples": len(rows)} if each["calibrated"] else {}
    oneshot(model=model, recipe=recipe, **data)


def calibration(texts: list[str], tokenizer: Any) -> Any:
    """Cut the texts into rows, one a batch."""
    ids = [token for text in texts for token in tokenizer(text)["input_ids"]]
    rows = torch.tensor([ids[at : at + LENGTH] for at in range(0, len(ids) - LENGTH, LENGTH)])
    batches = [{"input_ids": row[None], "attention_mask": torch.ones_like(row[None])}
               for row in rows]  # fmt: skip
    return torch.utils.data.DataLoader(batches, batch_size=None)


def prune(model: Any, heads: int, width: int) -> None:
    """Cut every layer alike: query heads with their KV heads, and neurons of the MLP.

    What is left is what weighs most. The same number goes in each layer, because an engine reads
    one number from the configuration.
    """
    config = model.config
    size = config.head_dim
    shared = config.num_attention_heads // config.num_key_value_heads
    kept = heads // shared
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        weight = attention.o_proj.weight.view(config.hidden_size, -1, shared * size)
        groups = weight.float().norm(dim=(0, 2)).topk(kept).indices.sort().values
        queries = _span(groups, shared * size)
        keys = _span(groups, size)
        for linear, rows in ((attention.q_proj, queries), (attention.k_proj, keys),
                             (attention.v_proj, keys)):  # fmt: skip
            _keep(linear, rows, 0)
        _keep(attention.o_proj, queries, 1)
        neurons = mlp.down_proj.weight.float().norm(dim=0).topk(width).indices.sort().values
        _keep(mlp.gate_proj, neurons, 0)
        _keep(mlp.up_proj, neurons, 0)
        _keep(mlp.down_proj, neurons, 1)
    config.num_attention_heads = heads
    config.num_key_value_heads = kept
    config.intermediate_size = width


def _span(groups: Any, size: int) -> Any:
    """Rows of these groups, each of so many rows."""
    return (groups[:, None] * size + torch.arange(size)).flatten()


def _keep(linear: Any, rows: Any, axis: int) -> None:
    weight = linear.weight.data.index_select(axis, rows)
    linear.weight = torch.nn.Parameter(weight.contiguous(), requires_grad=False)
    linear.out_features, linear.in_features = weight.shape


def main() -> None:
    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    source, folder = Path(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)  # on busy cores several wait for each other
    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(source)
    rows = calibration(order["texts"], tokenizer)
    for each in order["formats"]:
        begun = time.monotonic()
        target = folder / each["name"]
        model = load(source)
        if each["scheme"]:
            quantize(model, each, rows)
            model.save_pretrained(target, save_compressed=True)
        else:
            prune(model, each["heads"], each["width"])
            model.save_pretrained(target)
        for path in source.iterdir():
            # The tokenizer and the generation's settings, as they are.
            if not (target / path.name).exists() and path.suffix != ".safetensors":
                shutil.copy(path, target / path.name)
        print(f"{each['name']} took {time.monotonic() - begun:.1f} s", flush=True)


if __name__ == "__main__":
    main()
