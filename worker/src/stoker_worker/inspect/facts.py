"""From parsed files to facts: pure, and the same for a folder, a test and a table of families."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Mapping, Optional, Sequence, Tuple

from stoker_worker.inspect import shapes
from stoker_worker.inspect.architectures import EMBED, GENERATE
from stoker_worker.inspect.errors import InspectError, Reason
from stoker_worker.inspect.fit import fitted
from stoker_worker.inspect.headers import Tensor
from stoker_worker.inspect.quantized import quantization
from stoker_worker.inspect.sizes import sizes
from stoker_worker.inspect.structure import (
    architecture_name,
    find,
    known_structure,
    model_dtype,
    text_values,
    tied_embeddings,
)
from stoker_worker.inspect.values import Values
from stoker_worker.modelfacts import ModelFacts

Adapter = Tuple[str, int, int]  # name, rank, bytes

# Keys that change from copy to copy of the same model.
_VOLATILE = frozenset({"_name_or_path", "transformers_version", "_commit_hash"})


def facts_of(
    config: Mapping[str, Any],
    tensors: Sequence[Tensor],
    *,
    separate: Optional[Mapping[str, Any]] = None,
    adapters: Sequence[Adapter] = (),
    embedder: bool = False,
    warnings: Sequence[str] = (),
) -> ModelFacts:
    """Facts of a model whose tensors are listed.

    Parameters
    ----------
    config
        config.json, parsed.
    tensors
        Every tensor of every shard, in any order.
    separate
        A quantization file of its own, parsed.
    embedder
        Whether the folder says that the model's answers are vectors (modules.json).
    """
    architecture = find(config)
    _refuse_remote_code(config, known=architecture is not None)
    quant, doubts = quantization(config, separate)
    said = list(warnings) + doubts
    if architecture is not None:
        structure = known_structure(config, architecture)
        task = EMBED if embedder else architecture.task
    else:
        structure = shapes.structure(config, tensors, quant)
        task = EMBED if embedder else GENERATE
    depth = _depth(config)
    tied = tied_embeddings(config, architecture)
    sums = sizes(tensors, quant, tied=tied, layer_count=depth)
    said += structure.warnings
    if depth is not None and sums.layers and sums.layers < depth:
        said.append(f"config.json names {depth} layers, the weights have {sums.layers}")
    facts = ModelFacts(
        digest=digest(config, tensors, separate, adapters),
        architecture=architecture_name(config),
        model_type=Values(config, "config.json").text("model_type")[:80],
        dtype=model_dtype(config, sums.bytes_by_dtype),
        hidden=structure.hidden,
        heads=structure.heads,
        vocab=structure.vocab,
        max_positions=structure.max_positions,
        layers=structure.layers,
        parameters=sums.parameters,
        embedding_parameters=sums.embedding_parameters,
        weight_bytes=sums.weight_bytes,
        bytes_by_dtype=dict(sorted(sums.bytes_by_dtype.items())),
        known=architecture is not None,
        task=task,
        tied_embeddings=not sums.has_head if tied is None else tied,
        intermediate=structure.intermediate,
        experts=structure.experts,
        experts_active=structure.experts_active,
        expert_parameters=sums.expert_parameters,
        expert_bytes=sums.expert_bytes,
        draft_layers=structure.draft_layers if sums.draft_parameters else 0,
        draft_parameters=sums.draft_parameters,
        draft_bytes=sums.draft_bytes,
        quantization=quant,
        adapters=tuple(sorted(adapters)),
        warnings=tuple(said),
    )
    return fitted(facts)


def digest(
    config: Mapping[str, Any],
    tensors: Sequence[Tensor],
    separate: Optional[Mapping[str, Any]] = None,
    adapters: Sequence[Adapter] = (),
) -> str:
    """Sha256 over what the facts follow from.

    Hashed are the configuration as canonical JSON (sorted keys, without the keys that tell where a
    copy came from), a separate quantization file, the adapters, and name, type and shape of each
    tensor in the order of their names. How tensors are spread over files, and in which order, does
    not count; a tensor more, less or of another shape does.
    """
    kept = {name: value for name, value in config.items() if name not in _VOLATILE}
    head = [kept, separate or {}, sorted(adapters)]
    hashed = hashlib.sha256(json.dumps(head, sort_keys=True, separators=(",", ":")).encode())
    for tensor in sorted(tensors):
        line = f"\n{tensor.name}\t{tensor.dtype}\t{','.join(map(str, tensor.shape))}"
        hashed.update(line.encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()


def _depth(config: Mapping[str, Any]) -> Optional[int]:
    architecture = find(config)
    if architecture is None:
        return None  # all layers that there are
    values = text_values(config, architecture.defaults)
    names = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
    return values.whole("layers", *names) if any(map(values.has, names)) else None


def _refuse_remote_code(config: Mapping[str, Any], *, known: bool) -> None:
    """A model may bring code of its own, which no engine here runs; a known one needs none."""
    if known or not config.get("auto_map"):
        return
    raise InspectError(
        Reason.REMOTE_CODE,
        f"config.json asks for code of the model's own (auto_map) for architecture "
        f"{architecture_name(config)!r}, which engines do not know; such code is never run: use a "
        "model of an architecture that vLLM implements",
    )
