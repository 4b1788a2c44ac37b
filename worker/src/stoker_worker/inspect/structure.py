"""What config.json says of a model's shape: everything but the sizes of its tensors."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Dict, List, Mapping, Tuple

from stoker_worker.inspect.architectures import KNOWN, Architecture
from stoker_worker.inspect.attention import query_heads
from stoker_worker.inspect.errors import InspectError, Reason
from stoker_worker.inspect.positions import max_positions
from stoker_worker.inspect.values import Values
from stoker_worker.modelfacts import Layers, merged

_HIDDEN = ("hidden_size", "n_embd", "d_model")
_WIDTH = ("intermediate_size_mlp", "intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim")
_EXPERTS = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")
_ACTIVE = ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_top_k")
_DRAFT = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_layers")
_TEXT = ("text_config", "llm_config", "language_config")
_DTYPES = ("bfloat16", "float16", "float32")
_MOST_KINDS = 8  # of layers; more would not fit a termination message
_SIZES = tuple(each.name for each in fields(Layers) if each.name not in {"count", "kind"})


@dataclass(frozen=True)
class Structure:
    """A model's shape. `dtype` is empty and `tied` None where the configuration is silent."""

    hidden: int
    heads: int
    vocab: int
    max_positions: int
    layers: Tuple[Layers, ...]
    intermediate: int
    experts: int
    experts_active: int
    draft_layers: int
    warnings: Tuple[str, ...] = ()


def architecture_name(config: Mapping[str, Any]) -> str:
    """The first of `architectures`, which is what an engine looks up; empty where there is none."""
    names = Values(config, "config.json").words("architectures")
    return names[0][:80] if names else ""


def text_values(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> Values:
    """The language model's own keys: nested in a multimodal model, with the family's defaults."""
    for name in _TEXT:
        inner = config.get(name)
        if isinstance(inner, dict):
            return Values({**defaults, **inner}, f"config.json: {name}")
    return Values({**defaults, **config}, "config.json")


def known_structure(config: Mapping[str, Any], architecture: Architecture) -> Structure:
    """The shape of a known architecture, from its configuration alone."""
    values = text_values(config, architecture.defaults)
    layers = merged(architecture.layers(values))
    return common(values, layers, query_heads(values))


def common(values: Values, layers: Tuple[Layers, ...], heads: int) -> Structure:
    """What all architectures name alike, around layers that are already told apart."""
    warnings: List[str] = []
    experts = values.whole("experts", *_EXPERTS, default=0, low=0)
    active = values.whole("experts", *_ACTIVE, default=0, low=0) if experts else 0
    if active > experts:
        raise InspectError(
            Reason.DIMENSION_ABSURD,
            f"{values.where}: a token meets {active} of {experts} experts; copy the file from the "
            "model's source again",
        )
    if experts and not active:
        active = experts
        warnings.append("config.json does not say how many experts a token meets: all assumed")
    positions, doubt = max_positions(values)
    kinds, merger = few_kinds(layers)
    return Structure(
        hidden=values.whole("hidden", *_HIDDEN),
        heads=heads,
        vocab=values.whole("vocab", "vocab_size"),
        max_positions=positions,
        layers=kinds,
        intermediate=values.whole("width", *_WIDTH, default=0, low=0),
        experts=experts,
        experts_active=active,
        draft_layers=values.whole("layers", *_DRAFT, default=0, low=0),
        warnings=(*warnings, *doubt, *merger),
    )


def few_kinds(
    layers: Tuple[Layers, ...], most: int = _MOST_KINDS
) -> Tuple[Tuple[Layers, ...], List[str]]:
    """At most so many kinds: beyond that, each layer counts as the largest of its kind."""
    if len({replace(run, count=1) for run in layers}) <= most:
        return layers, []
    largest: Dict[str, Layers] = {}
    for run in layers:
        held = largest.setdefault(run.kind, run)
        sizes = {name: max(getattr(held, name), getattr(run, name)) for name in _SIZES}
        largest[run.kind] = replace(held, **sizes)
    alike = (replace(largest[run.kind], count=run.count) for run in layers)
    return merged(alike), ["the layers differ much: each counts as the largest of its kind"]


def tied_embeddings(config: Mapping[str, Any], architecture: Architecture | None) -> bool | None:
    """Whether the output head is the input embedding; None where nothing says so."""
    for place in (text_values(config, {}).data, config):
        if isinstance(place.get("tie_word_embeddings"), bool):
            return bool(place["tie_word_embeddings"])
    return architecture.tied if architecture is not None else None


def model_dtype(config: Mapping[str, Any], bytes_by_dtype: Mapping[str, int]) -> str:
    """The type that the model asks to compute in; else that of most of its floating weights."""
    for place in (text_values(config, {}).data, config):
        for key in ("torch_dtype", "dtype"):
            named = place.get(key)
            if isinstance(named, str) and named.rpartition(".")[2] in _DTYPES:
                return named.rpartition(".")[2]
    names = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
    held = {dtype: size for dtype, size in bytes_by_dtype.items() if dtype in names}
    return names[max(sorted(held), key=lambda each: held[each])] if held else "bfloat16"


def find(config: Mapping[str, Any]) -> Architecture | None:
    """The known architecture, or None."""
    return KNOWN.get(architecture_name(config))
