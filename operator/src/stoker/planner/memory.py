"""Where the memory of an accelerator goes, and how much context is left.

All numbers are of the fullest accelerator of a replica. Weights come from bytes in the files (or
parameters times bits, where they are quantized at load), the KV cache from the kinds of layers, the
activation peak from the larger of one forward pass and the sampler. What is left is the KV budget;
the engine divides it into blocks as here.

Sources: vLLM's own profile run (peak of a dummy batch and of the sampler with `max_num_seqs` rows
of logits); llm-d's capacity planner for the constants of NCCL and driver; KAITO's documentation for
loaded size over file size and for latent layers, which every tensor parallel rank repeats.
"""

import math
from typing import Final

from stoker.catalog.gpus import Gpu
from stoker.model.sizing import GIB, Configuration, Memory, Workload
from stoker.planner import lora
from stoker.planner.calibration import Calibration
from stoker_worker import modelfacts
from stoker_worker.modelfacts import Layers, ModelFacts

_DTYPE_BYTES: Final = {"float32": 4, "float16": 2, "bfloat16": 2, "half": 2, "float": 4}
# Bits per weight of a linear layer with its scales: groups of 128 for int4, blocks of 64 with a
# float32 maximum for bitsandbytes, blocks of 32 and of 16 for the micro-scaled formats.
WEIGHT_BITS: Final = {
    "fp8": 8.0,
    "int8": 8.0,
    "int4": 4.25,
    "awq": 4.25,
    "gptq": 4.25,
    "bitsandbytes": 4.5,
    "mxfp4": 4.25,
    "nvfp4": 4.5,
}
# What the engine makes at load of routed experts alone.
_EXPERTS_ALONE: Final = frozenset({"int8"})
_KV_BITS: Final = {"fp8": 8, "int8": 8, "int4": 4, "bf16": 16, "bfloat16": 16, "float16": 16}
_SCALED: Final = ("int8", "int4")  # one float32 scale per token and head, for keys and for values
_SCALE_BYTES: Final = 4
_DRAFT_SHARE: Final = 0.08  # a separate draft model's size over the model's (1B beside 8B to 13B)
_HOST_BYTES: Final = int(1.5 * GIB)  # Python, torch and libraries where memory is the machine's
# Batches up to this size get a CUDA graph; the memory of graphs grows with the largest.
_GRAPH_BATCH: Final = 512
_GRAPH_LEAST: Final = 0.25


def memory_of(
    facts: ModelFacts, gpu: Gpu, configuration: Configuration, calibration: Calibration
) -> Memory:
    """Memory of the fullest accelerator, and the tokens that the whole replica can keep.

    Tokens are what vLLM prints as the size of its KV cache: requests of `max_model_len` that fit at
    once, times `max_model_len`; for layers that all keep every token that is budget over bytes.
    """
    usable = int(gpu.visible_bytes * configuration.gpu_memory_utilization)
    weights = weights_of(facts, configuration, calibration)
    activations = activations_of(facts, configuration, calibration)
    non_torch = (
        calibration.non_torch_parallel if configuration.tensor > 1 else calibration.non_torch
    )
    graphs = graphs_of(configuration, calibration)
    if gpu.shared_memory:
        non_torch, graphs = _HOST_BYTES, 0
    adapters = lora.room_bytes(facts, configuration, dtype_bytes(configuration.dtype))
    draft = draft_of(facts, configuration)
    reserve = int(usable * calibration.reserve)
    taken = weights + activations + non_torch + graphs + adapters + draft + reserve
    budget = usable - taken
    if configuration.kv_space_gib is not None:
        wanted = int(configuration.kv_space_gib * GIB)
        budget = wanted if wanted <= budget else budget - wanted
    if budget > 0:
        budget = int(budget * calibration.residual_of(configuration).kv)
    length = configuration.max_model_len
    request = request_bytes(facts, configuration, length)
    state = state_bytes(facts, configuration)
    return Memory(
        total=gpu.memory_bytes,
        usable=usable,
        weights=weights,
        activations=activations,
        non_torch=non_torch,
        graphs=graphs,
        adapters=adapters,
        draft=draft,
        reserve=reserve,
        kv_per_token=(request - state) / max(1, length),
        kv_budget=budget,
        kv_tokens=_tokens(budget, facts, configuration) * configuration.data,
        state_per_request=state,
    )


def weights_of(facts: ModelFacts, configuration: Configuration, calibration: Calibration) -> int:
    """Bytes of weights on the fullest accelerator.

    Tensor parallel ranks share every linear layer and the vocabulary; keys and values of a head are
    repeated where ranks outnumber KV heads, and so is the projection into MLA's latent. Experts are
    spread over the data parallel ranks as well. Of pipeline stages the fullest counts, which also
    holds one embedding.
    """
    dense, experts, embedding = stored_bytes(facts, configuration)
    layers = max(1, facts.layer_count)
    stage = math.ceil(layers / configuration.pipeline) / layers
    if configuration.pipeline > 1 and not facts.tied_embeddings:
        embedding /= 2
    repeated = _repeated_parameters(facts, configuration.tensor)
    per_weight = dense / max(1, _dense_parameters(facts))
    share = (
        (dense / configuration.tensor + repeated * per_weight) * stage
        + experts * stage / (configuration.tensor * configuration.data)
        + embedding / configuration.tensor
    )
    return max(0, int(share * calibration.loaded - configuration.cpu_offload_gib * GIB))


def stored_bytes(facts: ModelFacts, configuration: Configuration) -> tuple[float, float, float]:
    """Bytes of the whole model as the engine keeps it: linear layers, routed experts, embeddings.

    A quantized checkpoint is kept as it is in the files. Otherwise weights have the type that is
    computed with, or the bits of a quantization at load, which leaves embeddings alone.
    """
    width = dtype_bytes(configuration.dtype)
    embedding = float(facts.embedding_parameters * width)
    linear = _dense_parameters(facts)
    if facts.quantization is not None:
        files = facts.weight_bytes - facts.draft_bytes
        experts = float(facts.expert_bytes)
        if not experts:
            share = facts.expert_parameters / max(1, linear + facts.expert_parameters)
            experts = max(0.0, files - embedding) * share
        return max(0.0, files - embedding - experts), experts, embedding
    per_weight = WEIGHT_BITS.get(configuration.quantization, width * 8.0) / 8
    alone = facts.experts and configuration.quantization in _EXPERTS_ALONE
    dense = width if alone else per_weight
    return linear * dense, facts.expert_parameters * per_weight, embedding


def activations_of(
    facts: ModelFacts, configuration: Configuration, calibration: Calibration
) -> int:
    """The peak of a step: a forward pass of a full batch of tokens, or the sampler's logits.

    Tensors alive at once in a layer: residual, normed input and output (hidden wide), and the gate,
    up and activated projections (intermediate wide, shared by ranks). The sampler keeps logits of
    every sequence over the whole vocabulary, on each rank: with the default limits of a large GPU
    this dominates. Buffers of the experts (per token and expert that it meets: gate, up and
    activated projections) are kept throughout, so they come on top of either.
    """
    width = dtype_bytes(configuration.dtype)
    tokens = configuration.max_num_batched_tokens
    wide = max(facts.intermediate, _attention_width(facts)) / configuration.tensor
    forward = tokens * (4.0 * facts.hidden + 3.0 * wide) * width
    logits = configuration.max_num_seqs * facts.vocab * calibration.logit_bytes
    routed = 0.0
    if facts.experts:
        own = expert_width(facts) / configuration.tensor
        forward = tokens * 4.0 * facts.hidden * width
        routed = tokens * facts.experts_active * (max(2 * own, facts.hidden) + own) * width
    return int(max(forward, logits if facts.task == "generate" else 0.0) + routed)


def graphs_of(configuration: Configuration, calibration: Calibration) -> int:
    """What CUDA graphs take; the engine captures batches up to twice the sequences, at most 512."""
    if not configuration.compile:
        return 0
    largest = min(1.0, 2 * configuration.max_num_seqs / _GRAPH_BATCH)
    return int(calibration.graphs * max(_GRAPH_LEAST, largest))


def draft_of(facts: ModelFacts, configuration: Configuration) -> int:
    """Bytes of what drafts tokens, per accelerator. A draft head or model is not sharded here.

    EAGLE: one layer and the projection of two hidden states into one; the head is the model's.
    """
    width = dtype_bytes(configuration.dtype)
    if configuration.speculation == "mtp":
        return (facts.draft_bytes or facts.draft_parameters * width) // configuration.tensor
    if configuration.speculation == "eagle":
        dense = _dense_parameters(facts) / max(1, facts.layer_count)
        return int((dense + 2 * facts.hidden**2) * width)
    if configuration.speculation == "draft":
        return int(facts.parameters * _DRAFT_SHARE * width)
    return 0


def request_bytes(facts: ModelFacts, configuration: Configuration, tokens: int) -> int:
    """KV cache and state of one request of this length, on one accelerator; whole blocks."""
    if tokens <= 0:
        return state_bytes(facts, configuration)
    block = configuration.block_size
    per_block = sum(
        run.count * token_bytes(run, configuration) * -(-_kept(run, tokens, configuration) // block)
        for run in facts.layers
    )
    kept = per_block * block * _stage(facts, configuration)
    return int(kept * _draft_share(facts, configuration)) + state_bytes(facts, configuration)


def token_bytes(run: Layers, configuration: Configuration) -> float:
    """Bytes per token and layer on one accelerator, of a layer of this kind."""
    kind, per_value, scale = run.kind, kv_bits(configuration) / 8, 0
    if configuration.kv_dtype in _SCALED or configuration.kv_dtype.endswith("per_token_head"):
        scale = _SCALE_BYTES
    if kind == modelfacts.LATENT:
        return run.latent * per_value + scale
    if kind in (modelfacts.FULL, modelfacts.SLIDING):
        heads = math.ceil(run.kv_heads / configuration.tensor)
        values = run.value_dim or run.head_dim
        return heads * ((run.head_dim + values) * per_value + 2 * scale)
    return 0.0


def state_bytes(facts: ModelFacts, configuration: Configuration) -> int:
    """Bytes of a request however long, on one accelerator: state-space and linear attention."""
    width = dtype_bytes(configuration.dtype)
    values = sum(run.count * run.state_values for run in facts.layers if run.state_values)
    return int(values * width * _stage(facts, configuration) / configuration.tensor)


def concurrency_of(
    memory: Memory, facts: ModelFacts, configuration: Configuration, workload: Workload
) -> int:
    """Requests of the workload that the whole replica holds at once, each at its full length.

    Full length, although not all are at their end at once: so that none is ever put off again.
    """
    length = workload.input_tokens + workload.output_tokens
    request = request_bytes(facts, configuration, length)
    if memory.kv_budget <= 0:
        return 0
    fit = configuration.max_num_seqs
    if request:
        fit = min(fit, memory.kv_budget // request)
    return fit * configuration.data


def longest_context(memory: Memory, facts: ModelFacts, configuration: Configuration) -> int:
    """The longest request that fits, in whole blocks, at most what the model was made for."""
    if memory.kv_budget <= 0:
        return 0
    block = configuration.block_size
    low, high = 0, max(1, facts.max_positions // block)
    while low < high:
        middle = (low + high + 1) // 2
        if request_bytes(facts, configuration, middle * block) <= memory.kv_budget:
            low = middle
        else:
            high = middle - 1
    if low == facts.max_positions // block:
        return facts.max_positions
    return low * block


def kv_bits(configuration: Configuration) -> int:
    """Bits per value of the KV cache."""
    name = configuration.kv_dtype.split("_")[0]
    return _KV_BITS.get(name, dtype_bytes(configuration.dtype) * 8)


def dtype_bytes(dtype: str) -> int:
    """Bytes of a type of computation; 2 for one that is not known."""
    return _DTYPE_BYTES.get(dtype, 2)


def expert_width(facts: ModelFacts) -> float:
    """Width of one expert's MLP, from its parameters (gate, up and down projection)."""
    experts = facts.experts * max(1, facts.layer_count)
    return facts.expert_parameters / max(1, 3 * experts * facts.hidden)


def _tokens(budget: int, facts: ModelFacts, configuration: Configuration) -> int:
    length = max(1, configuration.max_model_len)
    request = request_bytes(facts, configuration, length)
    if budget <= 0:
        return 0
    if not request:
        return configuration.max_num_seqs * length
    uniform = all(run.kind in (modelfacts.FULL, modelfacts.LATENT) for run in facts.layers)
    if uniform:
        block = configuration.block_size
        return budget // request_bytes(facts, configuration, block) * block
    return int(budget / request * length)


def _kept(run: Layers, tokens: int, configuration: Configuration) -> int:
    """Tokens of a request that a layer keeps; a window still holds the chunk that is computed."""
    if run.kind != modelfacts.SLIDING or not run.window:
        return tokens
    return min(tokens, run.window - 1 + configuration.max_num_batched_tokens)


def _draft_share(facts: ModelFacts, configuration: Configuration) -> float:
    """KV cache with that of the draft over that of the model: a drafting layer keeps its own."""
    layers = max(1, facts.layer_count)
    if configuration.speculation == "eagle":
        return 1 + 1 / layers
    if configuration.speculation == "mtp":
        return 1 + max(1, facts.draft_layers) / layers
    if configuration.speculation == "draft":
        return 1 + _DRAFT_SHARE
    return 1.0


def _stage(facts: ModelFacts, configuration: Configuration) -> float:
    layers = max(1, facts.layer_count)
    return math.ceil(layers / configuration.pipeline) / layers


def _dense_parameters(facts: ModelFacts) -> int:
    """Parameters that are neither embeddings nor routed experts."""
    return max(0, facts.parameters - facts.embedding_parameters - facts.expert_parameters)


def _attention_width(facts: ModelFacts) -> int:
    """Width of queries, keys and values together, of the widest kind of layer."""
    return max(
        (facts.heads * run.head_dim + 2 * run.kv_heads * run.head_dim for run in facts.layers),
        default=0,
    )


def _repeated_parameters(facts: ModelFacts, tensor: int) -> float:
    """What a rank holds beyond its share, over all layers."""
    extra = 0.0
    for run in facts.layers:
        if run.kind in (modelfacts.FULL, modelfacts.SLIDING) and run.kv_heads:
            own = math.ceil(run.kv_heads / tensor) - run.kv_heads / tensor
            extra += (
                run.count * facts.hidden * own * (run.head_dim + (run.value_dim or run.head_dim))
            )
        elif run.kind == modelfacts.LATENT:
            extra += run.count * facts.hidden * run.latent * (1 - 1 / tensor)
    return extra
