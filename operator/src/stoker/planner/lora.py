"""LoRA adapters: which ones are served, the rank that the engine makes room for, and that room.

Only adapters that the service names are served. vLLM keeps room for `max_loras` adapters of
`max_lora_rank` beside every linear layer, whatever the adapters themselves train: each gets a
matrix from its input to the rank and one from the rank to its output (`vllm/lora/layers`, read in
0.32 and 0.33). Of a layer that is cut by columns (queries, keys, values, gate, up) the ranks of a
replica repeat the first matrix and share the second; of one that is cut by rows (output, down) the
other way round.
"""

from typing import Final

from stoker.model.sizing import Configuration
from stoker_worker import modelfacts
from stoker_worker.modelfacts import ModelFacts

# vLLM makes room for these ranks and no others.
RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_ATTENTION: Final = frozenset({modelfacts.FULL, modelfacts.SLIDING, modelfacts.LATENT})


def served(facts: ModelFacts, configuration: Configuration) -> tuple[tuple[str, int, int], ...]:
    """Name, rank and bytes of the adapters that are served, as far as the facts tell of them."""
    names = {each.folder: each.name for each in configuration.adapters}
    return tuple(
        (names[folder], rank, size) for folder, rank, size in facts.adapters if folder in names
    )


def room_rank(facts: ModelFacts, configuration: Configuration) -> int:
    """The rank that the engine makes room for: the largest adapter's, as the engine rounds it."""
    largest = max((rank for _, rank, _ in served(facts, configuration)), default=1)
    return next((rank for rank in RANKS if rank >= largest), RANKS[-1])


def room_bytes(facts: ModelFacts, configuration: Configuration, width: int) -> int:
    """Bytes per accelerator of all slots, in a type of `width` bytes; 0 without adapters.

    Never less than the adapters' own files.
    """
    slots = len(configuration.adapters)
    if not slots:
        return 0
    ranks = configuration.tensor
    hidden, values = facts.hidden, 0.0
    for run in facts.layers:
        if run.kind in _ATTENTION:
            queries = facts.heads * run.head_dim
            kept = run.kv_heads * (run.head_dim + (run.value_dim or run.head_dim))
            # Queries, keys and values from the hidden state, and the output back to it.
            values += run.count * (3 * hidden + (queries + kept) / ranks + queries / ranks + hidden)
        wide = facts.intermediate
        if facts.experts:
            own = facts.experts * max(1, facts.layer_count)
            wide = int(facts.expert_parameters / max(1, 3 * own * hidden))
        # Gate and up from the hidden state, and down back to it; of each expert.
        values += run.count * max(1, facts.experts) * (3 * hidden + 3 * wide / ranks)
    slot = int(room_rank(facts, configuration) * values * width)
    files = sum(size for _, _, size in served(facts, configuration))
    return max(slots * slot, files // ranks)
