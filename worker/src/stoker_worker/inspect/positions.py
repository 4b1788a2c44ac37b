"""How many tokens a request may have, as vLLM derives it from a configuration."""

from __future__ import annotations

from typing import List, Tuple

from stoker_worker.inspect.values import BOUNDS, Values

_KEYS = (
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "max_sequence_length",
    "max_seq_length",
    "seq_len",
)
# What vLLM takes where a configuration is silent.
_SILENT = 2048
# These types have their stretched length in the configuration already.
_STRETCHED = {"su", "longrope", "llama3", "default", "mrope"}
# Position numbers of these families begin behind their padding token's.
_OFFSET = {"roberta", "xlm-roberta", "camembert"}


def max_positions(values: Values) -> Tuple[int, List[str]]:
    """The longest request, and what is doubtful about it."""
    lengths = [values.whole("tokens", name) for name in _KEYS if values.has(name)]
    if values.has("model_max_length"):
        lengths = [values.whole("tokens", "model_max_length")]
    if not lengths:
        return _SILENT, [f"config.json names no maximum length: {_SILENT} assumed"]
    length = min(lengths)
    kind = values.text("model_type")
    if kind in _OFFSET:
        padding = values.whole("vocab", "pad_token_id", default=1, low=0)
        return max(1, length - padding - 1), []
    rope = values.inner("rope_parameters" if values.has("rope_parameters") else "rope_scaling")
    factor = rope.number("factor", 1.0)
    rope_type = rope.text("rope_type", rope.text("type", "default"))
    if rope_type in _STRETCHED or "gemma3" in kind:
        return length, []
    if rope_type == "yarn":
        length = rope.whole("tokens", "original_max_position_embeddings", default=length)
    return min(BOUNDS["tokens"], max(1, int(length * factor))), []
