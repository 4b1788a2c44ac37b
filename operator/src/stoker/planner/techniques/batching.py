"""Batching: how many requests and tokens share a step, how prompts are cut, how big a block is."""

from typing import Final

from stoker.catalog.gpus import Gpu
from stoker.model import reasons
from stoker.model.plan import Verdict
from stoker.model.sizing import GIB, Configuration, Objective, Technique
from stoker.planner import words
from stoker.planner.ask import Ask, Decided

SEQUENCES: Final = "maxNumSeqs"
TOKENS: Final = "maxNumBatchedTokens"
CHUNKED: Final = "chunkedPrefill"
BLOCKS: Final = "blockSize"
UTILIZATION: Final = "gpuMemoryUtilization"
# What the planner keeps free beyond what the engine accounts for: fragmentation, other processes,
# what the calibration does not know.
UTILIZATION_DEFAULT: Final = 0.9
_SMALL_STEPS: Final = (2048, 1024, 512)
# vLLM's block on a GPU and on a processor.
_BLOCK: Final = 16
_CPU_BLOCK: Final = 128


def token_choices(ask: Ask, gpu: Gpu) -> tuple[int, ...]:
    """Tokens of one step, the wanted number first, smaller ones for when it does not fit.

    Large steps compute prompts best; but a running request waits for the whole step that carries
    another's prompt, so that latency wants them small. The large numbers are vLLM's own.
    """
    if ask.request.max_num_batched_tokens is not None:
        return (ask.request.max_num_batched_tokens,)
    if ask.request.objective is Objective.LATENCY or gpu.shared_memory:
        return _SMALL_STEPS
    if gpu.visible_bytes >= 160 * GIB:
        return (16384, 8192, *_SMALL_STEPS)
    if gpu.visible_bytes >= 70 * GIB:
        return (8192, *_SMALL_STEPS)
    return _SMALL_STEPS


def block_size(ask: Ask, gpu: Gpu) -> int:
    """Tokens of a block, as the engine takes by itself."""
    if ask.request.block_size is not None:
        return ask.request.block_size
    return _CPU_BLOCK if gpu.shared_memory else _BLOCK


def utilization(ask: Ask) -> float:
    """Share of the memory for the engine."""
    wanted = ask.request.gpu_memory_utilization
    return UTILIZATION_DEFAULT if wanted is None else wanted


def chunked(ask: Ask) -> bool:
    """On where the model generates, as the engine has it."""
    wanted = ask.request.chunked_prefill
    return ask.generates if wanted is None else wanted


def refuse(ask: Ask, gpu: Gpu) -> Verdict | None:
    """Numbers that contradict each other; the engine would end at start."""
    del gpu
    request = ask.request
    tokens, seqs = request.max_num_batched_tokens, request.max_num_seqs
    if tokens is not None and seqs is not None and tokens < seqs:
        return Verdict(
            reasons.BATCH_TOO_SMALL,
            f"optimization.batching: maxNumBatchedTokens {tokens} is below maxNumSeqs {seqs}, so "
            "that not every request could have a token per step; raise one or lower the other",
        )
    length = request.max_model_len
    whole = request.chunked_prefill is False or not chunked(ask)
    if whole and tokens is not None and length is not None and tokens < length:
        return Verdict(
            reasons.BATCH_TOO_SMALL,
            f"optimization.batching: without chunked prefill maxNumBatchedTokens {tokens} has to "
            f"hold a whole request of {length} tokens; raise it, or remove chunkedPrefill: off",
        )
    return None


def tokens_for(configuration: Configuration, tokens: int) -> int:
    """A step that is cut into no chunks has to hold the longest prompt."""
    if configuration.chunked_prefill:
        return tokens
    return max(tokens, configuration.max_model_len)


def explain_sequences(ask: Ask, decided: Decided) -> Technique:
    """How many requests at once, and what bounds them."""
    used = decided.configuration.max_num_seqs
    fit = words.count(decided.concurrency, "request")
    if ask.request.max_num_seqs is not None:
        why = f"{used} as asked; {fit} of the workload fit"
        return Technique(SEQUENCES, "on", reasons.AS_ASKED, why)
    pace = words.seconds(decided.expected.itl_s.typical)
    why = f"{used}: {fit} of the workload fit, {pace} per token at {decided.expected.concurrency}"
    if decided.residual.itl != 1:
        why += f" (measured: {decided.residual.itl:.2f} of the estimate)"
    return Technique(SEQUENCES, "on", reasons.FOLLOWS_LOAD, why)


def explain_tokens(ask: Ask, decided: Decided) -> Technique:
    """Tokens of a step, and the memory that they take."""
    used = decided.configuration.max_num_batched_tokens
    peak = words.gib(decided.memory.activations)
    why = f"{used} tokens per step; activations of {peak}"
    if ask.request.max_num_batched_tokens is not None:
        return Technique(TOKENS, "on", reasons.AS_ASKED, why)
    if used < token_choices(ask, decided.gpu)[0]:
        why += ", because larger steps leave too little for the KV cache"
        return Technique(TOKENS, "on", reasons.FITS_ONLY_SO, why)
    if ask.request.objective is Objective.LATENCY:
        return Technique(TOKENS, "on", reasons.OBJECTIVE_PREFERS, f"{why}; short waits for others")
    return Technique(TOKENS, "on", reasons.ENGINE_DECIDES, why)


def explain_chunked(ask: Ask, decided: Decided) -> Technique:
    """Whether prompts are cut into steps."""
    used = decided.configuration.chunked_prefill
    state = "on" if used else "off"
    if ask.request.chunked_prefill is not None:
        return Technique(CHUNKED, state, reasons.AS_ASKED, f"{state} as asked")
    if not used:
        why = "the model reads a text as a whole"
        return Technique(CHUNKED, state, reasons.NOT_NEEDED, why)
    why = "long prompts are cut, so that running requests keep getting tokens"
    return Technique(CHUNKED, state, reasons.ENGINE_DECIDES, why)


def explain_blocks(ask: Ask, decided: Decided) -> Technique:
    """Tokens of a block."""
    used = decided.configuration.block_size
    if ask.request.block_size is not None:
        return Technique(BLOCKS, "on", reasons.AS_ASKED, f"{used} tokens as asked")
    why = f"{used} tokens, as the engine takes on {decided.gpu.name}"
    return Technique(BLOCKS, "off", reasons.ENGINE_DECIDES, why)


def explain_utilization(ask: Ask, decided: Decided) -> Technique:
    """Share of the memory, and what stays free."""
    used = decided.configuration.gpu_memory_utilization
    space = decided.configuration.kv_space_gib
    if decided.gpu.shared_memory and space is not None:
        # vLLM's CPU worker looks at the share only where the cache has no size.
        why = (
            f"not passed: on {decided.gpu.name} the engine is told the size of the KV cache, "
            f"{space:g} GiB; the plan keeps within {used:g} of {words.gib(decided.memory.total)}"
        )
        asked = ask.request.gpu_memory_utilization is not None
        reason = reasons.AS_ASKED if asked else reasons.HARDWARE_DECIDES
        return Technique(UTILIZATION, "off", reason, why)
    free = words.gib(decided.memory.total - decided.memory.usable)
    why = f"{used:g} of {words.gib(decided.memory.total)}; {free} stay free"
    measured = decided.residual.kv
    told = "" if measured == 1 else f"; measured: {measured:.2f} of the predicted KV cache"
    if ask.request.gpu_memory_utilization is not None:
        return Technique(UTILIZATION, "on", reasons.AS_ASKED, f"{why}{told}")
    why += f" for what the estimate does not know{told}"
    return Technique(UTILIZATION, "on", reasons.HARDWARE_DECIDES, why)
