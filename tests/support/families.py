"""Public models as facts: the keys of their configurations that are read, and their tensors.

`public_models/*.json` hold, per model, where it is published, how many parameters its makers or the
model hub give it, and those keys of its config.json that the inspection reads. The tensors are laid
out from these, so that the totals are checked against a number that was not computed here.
`FAMILIES[name].facts` are what `stoker_worker.inspect` says of the model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from stoker_worker.inspect import facts_of
from stoker_worker.inspect.headers import Tensor
from stoker_worker.modelfacts import ModelFacts
from tests.support import tensors as common
from tests.support import tensors_other as other

_FOLDER = Path(__file__).parent / "public_models"
_LAYOUTS: Mapping[str, Callable[[Mapping[str, Any], common.Store], Iterator[Tensor]]] = {
    "bert": other.bert,
    "deepseek_v2": common.deepseek,
    "deepseek_v3": common.deepseek,
    "falcon": other.falcon,
    "gemma2": common.gemma,
    "gemma3": common.gemma3_vision,
    "gpt_oss": common.gpt_oss,
    "jamba": other.jamba,
    "llama": common.llama,
    "llama4": other.llama4,
    "mistral": common.llama,
    "mixtral": common.mixtral,
    "nemotron_h": other.nemotron_h,
    "phi3": other.phi3,
    "qwen2": common.qwen2,
    "qwen3": common.qwen3,
    "qwen3_moe": common.qwen3_moe,
}


@dataclass(frozen=True)
class Family:
    """One public model."""

    name: str
    source: str  # where it is published
    published: int  # parameters, without a draft head
    config: Mapping[str, Any]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What the headers of its files list."""
        return _tensors(self.name)

    @property
    def facts(self) -> ModelFacts:
        """What the inspection says of it."""
        return _facts(self.name)


def layout(config: Mapping[str, Any], store: common.Store = common.bf16) -> Iterator[Tensor]:
    """The tensors of a model of a known family, its linear layers stored as told."""
    return _LAYOUTS[config["model_type"]](config, store)


@cache
def _facts(name: str) -> ModelFacts:
    return facts_of(FAMILIES[name].config, FAMILIES[name].tensors)


@lru_cache(maxsize=2)
def _tensors(name: str) -> tuple[Tensor, ...]:
    config = FAMILIES[name].config
    method = config.get("quantization_config", {}).get("quant_method")
    return tuple(layout(config, common.fp8_blocks if method == "fp8" else common.bf16))


def _read(file: Path) -> Family:
    data = json.loads(file.read_text(encoding="utf-8"))
    return Family(file.stem, data["source"], data["parameters"], data["config"])


FAMILIES: Mapping[str, Family] = {file.stem: _read(file) for file in sorted(_FOLDER.glob("*.json"))}
