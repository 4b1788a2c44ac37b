"""How long a step of the engine takes: a roofline with the terms that rooflines forget.

A step computes the next token of every running sequence and a chunk of waiting prompts. It takes
as long as its matrix products (weights read once, or their operations, whichever is slower), its
reads of the KV cache, its attention over prompts, its messages between ranks, and fixed costs per
step, layer and sequence. `Pace` holds these terms for one configuration; a step, a prompt, a whole
request and a simulated day all follow from it.

Mixture of experts: a batch of b tokens, each meeting k of E experts, reads E·(1-(1-k/E)^b) of
them, where E counts the experts that text meets at all: measured runs read fewer than all even in
large batches. Thin matrix products read weights the slower the more rows they have, up to some 48.
Pipeline: a token passes all stages, so they shorten no step; the batch is divided among as many
steps in flight. Weight-only quantization computes in 16 bits, so that its gain fades with batch.
Speculation: k drafts are verified like k+1 tokens per sequence, and yield
(1-a^(k+1))/(1-a) tokens at acceptance a; in a large batch the verification costs more than that.
"""

import math
from dataclasses import dataclass
from typing import Final

from stoker.catalog.gpus import Gpu
from stoker.model.sizing import Configuration, Expected, Range, Workload
from stoker.planner import memory
from stoker.planner.calibration import BATCH, Calibration
from stoker_worker import modelfacts
from stoker_worker.modelfacts import ModelFacts

# Share of drafted tokens that are accepted, one by one. Text decides; these are cautious means of
# the sources in docs/claims.md.
ACCEPTANCE: Final = {"ngram": 0.4, "draft": 0.6, "eagle": 0.7, "mtp": 0.8}
# Sharpness of the corner between memory-bound and compute-bound; infinity would be a maximum.
_CORNER: Final = 4.0
# An all-reduce over another link than NVLink, times NVLink's.
_LINK_LATENCY: Final = {"nvlink": 1.0, "xgmi": 1.5, "pcie": 2.5}
_SLOW_LINK: Final = 4.0
# Weights that are unpacked by kernels slower than 16 bit: seconds over those of 16-bit weights.
# bitsandbytes: 3,039 against 5,200 tokens/s of the same model (vLLM 0.32, a processor).
_UNPACKED_S: Final = {"bitsandbytes": 1.7}
_COMPUTE: Final = {"fp8": "fp8", "int8": "int8", "nvfp4": "fp4"}
_EAGER_S: Final = 0.00012  # per layer: launches by Python, without CUDA graphs
_HOP_S: Final = 0.00005  # hidden states from one pipeline stage to the next
_TTFT_EXTRA: Final = 1.5  # a first token's range over a later one's


@dataclass(frozen=True, slots=True)
class Attention:
    """Layers of one kind, on one accelerator."""

    bytes_per_token: float  # of the KV cache, of all these layers
    flops_per_pair: float  # per query token and key
    window: int  # 0: every key


@dataclass(frozen=True, slots=True)
class Pace:
    """One data parallel rank of a replica as coefficients; times in seconds, of one accelerator."""

    dense_s: float  # reading every weight that each step needs
    batch_s: float  # what reading them takes longer in a batch of BATCH tokens and more
    experts_s: float  # reading all routed experts that text meets, on this accelerator
    expert_share: float  # experts that one token meets, over those; 0 for a dense model
    token_s: float  # matrix products of one token
    head_s: float  # the output head for one sequence
    attention: tuple[Attention, ...]
    kv_bandwidth: float
    attention_flops: float
    fixed_s: float
    host_s: float  # a step takes at least as long as the host needs to launch it
    sequence_s: float
    message_s: float  # messages between ranks per step
    message_token_s: float  # the same per token
    ranks: int  # data parallel
    stages: int
    chunk: int  # tokens per step
    speculative_tokens: int
    acceptance: float
    draft_s: float  # of one drafted token, for the whole batch

    def step_s(
        self,
        decodes: float,
        context: float = 0.0,
        prompt_tokens: float = 0.0,
        prompt_keys: float = 0.0,
        sampled: float | None = None,
    ) -> float:
        """One engine step.

        `decodes` sequences of mean length `context` get one token each, while `prompt_tokens` of
        prompts, each attending to `prompt_keys` keys on average, are computed. `sampled` sequences
        get logits (default: the decodes).
        """
        tokens = decodes + prompt_tokens
        if tokens <= 0:
            return 0.0
        heads = decodes if sampled is None else sampled
        compute = tokens * self.token_s + heads * self.head_s
        seen = 1 - (1 - self.expert_share) ** (tokens * self.ranks)
        thin = min(1.0, max(0.0, tokens - 1) / (BATCH - 1))
        read = self.dense_s + self.batch_s * thin + self.experts_s * seen
        linear = _slower(compute, read)
        keys = 0.0
        for run in self.attention:
            kept = min(context, run.window) if run.window else context
            keys += decodes * kept * run.bytes_per_token / self.kv_bandwidth
            pairs = min(prompt_keys, run.window) if run.window else prompt_keys
            keys += prompt_tokens * pairs * run.flops_per_pair / self.attention_flops
        messages = self.message_s + tokens * self.message_token_s
        bookkeeping = self.fixed_s + (decodes + heads) / 2 * self.sequence_s
        return _slower(linear + keys + messages, self.host_s) + bookkeeping

    def prefill_s(
        self, tokens: float, context: float = 0.0, others: float = 0.0, keys: float = 0.0
    ) -> float:
        """One prompt, in chunks; `context` of its keys are there already.

        The engine is idle, or makes a token for each of `others` sequences of mean length `keys`
        in the same steps.
        """
        left, done, total = tokens, context, 0.0
        chunk = max(1.0, self.chunk - others)
        while left > 0:
            now = min(left, chunk)
            heads = others + (1 if now == left else 0)
            total += self.step_s(others, keys, now, done + now / 2, sampled=heads)
            left, done = left - now, done + now
        return total

    def first_token_s(self, tokens: float, found: float) -> float:
        """A prompt's first token where the keys of its first `found` tokens are in the cache."""
        return self.prefill_s(max(1.0, tokens - found), found)

    def gap_s(
        self, batch: float, prompt: float, generated: float, computed: float | None = None
    ) -> float:
        """Time between two tokens of a sequence, among `batch` of them that come and go.

        Prompts of the others are computed in between: over the life of a request, that of each of
        them once, as far as it is `computed` (default: all of it).
        """
        context = prompt + generated / 2
        added = prompt_work_s(self, prompt if computed is None else computed, batch, context)
        waits = added * (batch - 1) / max(1, generated) / self.stages
        return self.decode_s(batch, context) + waits

    def decode_s(self, batch: float, context: float) -> float:
        """Time between two tokens of a sequence, among `batch` sequences of mean `context`.

        The batch is that of one data parallel rank; speculation counts as the mean per token.
        """
        each = batch / self.stages
        if not self.speculative_tokens:
            return self.step_s(each, context)
        drafts = self.speculative_tokens
        # Verification reads the keys once, and computes k + 1 tokens per sequence.
        verify = self.step_s(each, context, each * drafts, 0.0, sampled=each * (drafts + 1))
        return (verify + drafts * self.draft_s) / self.tokens_per_step

    @property
    def tokens_per_step(self) -> float:
        """Tokens that a step yields per sequence."""
        accepted = self.acceptance
        if not self.speculative_tokens:
            return 1.0
        return float((1 - accepted ** (self.speculative_tokens + 1)) / (1 - accepted))


def pace_of(
    facts: ModelFacts, gpu: Gpu, configuration: Configuration, calibration: Calibration
) -> Pace:
    """The coefficients of one configuration."""
    dense, experts, embedding = memory.stored_bytes(facts, configuration)
    width = memory.dtype_bytes(configuration.dtype)
    slow = _UNPACKED_S.get(configuration.quantization)
    if slow is not None:
        packed = facts.quantization.bits if facts.quantization is not None else 0.0
        bits = packed or memory.WEIGHT_BITS[configuration.quantization]
        dense, experts = (each * slow * width * 8 / bits for each in (dense, experts))
    head_parameters = facts.vocab * facts.hidden if facts.task == "generate" else 0
    head = min(embedding, float(head_parameters * width))
    tensor, stages = configuration.tensor, configuration.pipeline
    bandwidth = gpu.bandwidth * calibration.mbu_weights
    rate = rate_of(gpu, configuration.dtype) * calibration.mfu
    linear_rate = linear_rate_of(facts, gpu, configuration) * calibration.mfu
    linear_parameters = max(0, facts.active_parameters - facts.embedding_parameters)
    latency = calibration.allreduce_s * _LINK_LATENCY.get(gpu.link_kind, _SLOW_LINK)
    link = max(1.0, gpu.link * calibration.link_share)
    layers = facts.layer_count
    message = 2 * (tensor - 1) / tensor * facts.hidden * width / link
    parallel = 2 * layers if tensor > 1 else 0
    draft = memory.draft_of(facts, configuration)
    read = (dense + head) / tensor
    slower = max(0.0, 1 / calibration.mbu_batch - 1 / calibration.mbu_weights)
    share = facts.experts_active / facts.experts if facts.experts else 0.0
    reach = max(calibration.expert_reach, share) if share else 1.0
    per_layer = calibration.layer_s + (calibration.expert_layer_s if share else 0.0)
    return Pace(
        dense_s=read / bandwidth,
        batch_s=read / gpu.bandwidth * slower,
        experts_s=experts * reach / (tensor * configuration.data) / bandwidth,
        expert_share=share / reach,
        token_s=2 * linear_parameters / tensor / linear_rate,
        head_s=2 * head_parameters / tensor / rate,
        attention=_attention(facts, configuration),
        kv_bandwidth=gpu.bandwidth * calibration.mbu_kv,
        attention_flops=rate,
        fixed_s=calibration.step_s + layers * per_layer + (stages - 1) * _HOP_S,
        host_s=layers * max(calibration.host_layer_s, 0.0 if configuration.compile else _EAGER_S),
        sequence_s=calibration.sequence_s,
        message_s=parallel * latency,
        message_token_s=parallel * message if gpu.link else 0.0,
        ranks=configuration.data,
        stages=stages,
        chunk=max(1, configuration.max_num_batched_tokens),
        speculative_tokens=(
            configuration.speculative_tokens if configuration.speculation != "none" else 0
        ),
        acceptance=ACCEPTANCE.get(configuration.speculation, 0.5),
        draft_s=draft / bandwidth + (calibration.layer_s * 4 if draft else 0.0),
    )


def decode_step_s(  # noqa: PLR0917 - what, where, how; then the load
    facts: ModelFacts,
    gpu: Gpu,
    configuration: Configuration,
    calibration: Calibration,
    batch: float,
    context: float,
) -> float:
    """Seconds between two tokens, `batch` sequences per data parallel rank of mean `context`."""
    pace = pace_of(facts, gpu, configuration, calibration)
    return pace.decode_s(batch, context) * calibration.residual_of(configuration).itl


def prefill_s(  # noqa: PLR0917 - what, where, how; then the load
    facts: ModelFacts,
    gpu: Gpu,
    configuration: Configuration,
    calibration: Calibration,
    tokens: float,
    context: float = 0.0,
) -> float:
    """Seconds to the first token of a prompt on an idle engine, of which `context` is cached."""
    pace = pace_of(facts, gpu, configuration, calibration)
    return pace.prefill_s(tokens, context) * calibration.residual_of(configuration).ttft


def expected_of(  # noqa: PLR0917 - what, where, how; then the load
    facts: ModelFacts,
    gpu: Gpu,
    configuration: Configuration,
    workload: Workload,
    concurrency: int,
    calibration: Calibration,
    price_per_hour: float | None,
) -> Expected:
    """Times of the workload with `concurrency` requests at once on the whole replica.

    A first token is that of a prompt on an idle engine.
    """
    pace = pace_of(facts, gpu, configuration, calibration)
    batch = max(1.0, concurrency / configuration.data)
    outputs = max(1, workload.output_tokens)
    residual = calibration.residual_of(configuration)
    first = pace.prefill_s(max(1, workload.input_tokens)) * residual.ttft
    itl = pace.gap_s(batch, workload.input_tokens, workload.output_tokens) * residual.itl
    whole = first + itl * (outputs - 1)
    rate = concurrency * outputs / whole if concurrency > 0 and whole > 0 else 0.0
    spread = calibration.spread
    cost = None
    if price_per_hour is not None and rate > 0:
        cost = _range(price_per_hour / 3600 / rate * 1e6, spread)
    return Expected(
        concurrency=concurrency,
        ttft_s=_range(first, spread * _TTFT_EXTRA),
        itl_s=_range(itl, spread),
        e2e_s=_range(whole, spread),
        output_tokens_per_s=_range(rate, spread),
        price_per_hour=price_per_hour,
        cost_per_million_tokens=cost,
    )


def prompt_work_s(pace: Pace, tokens: float, batch: float, context: float) -> float:
    """What a prompt adds to the steps of a running batch that carry it in chunks.

    Those run anyway, so it is its compute, not the weights or fixed costs.
    """
    chunk = max(1.0, pace.chunk - batch)
    steps = math.ceil(tokens / chunk) if tokens > 0 else 0
    if not steps:
        return 0.0
    with_prompt = pace.step_s(batch, context, tokens / steps, tokens / 2)
    return steps * (with_prompt - pace.step_s(batch, context))


def rate_of(gpu: Gpu, dtype: str) -> float:
    """Operations per second in a type of computation; the slowest known where it has none."""
    known = gpu.flops.get({"half": "float16", "float": "float32"}.get(dtype, dtype))
    return known or min(gpu.flops.values(), default=1e12)


def linear_rate_of(facts: ModelFacts, gpu: Gpu, configuration: Configuration) -> float:
    """Operations per second of matrix products: the weights' type where activations have it too."""
    name = configuration.quantization
    if facts.quantization is None and name == "int8":
        name = "none"  # made at load of experts alone
    if facts.quantization is not None:
        eight = facts.quantization.activation_bits == 8
        stored = facts.quantization.method
        name = stored if stored in _COMPUTE else ("int8" if eight else "none")
        if not eight and name in {"fp8", "int8"}:
            name = "none"
    kind = _COMPUTE.get(name, "")
    return gpu.flops.get(kind) or rate_of(gpu, configuration.dtype)


def _attention(facts: ModelFacts, configuration: Configuration) -> tuple[Attention, ...]:
    found: dict[int, list[float]] = {}
    for run in facts.layers:
        if run.kind not in (modelfacts.FULL, modelfacts.SLIDING, modelfacts.LATENT):
            continue
        window = run.window if run.kind == modelfacts.SLIDING else 0
        dims = run.head_dim + (run.value_dim or run.head_dim)
        dims = dims or 2 * facts.hidden // max(1, facts.heads)
        sums = found.setdefault(window, [0.0, 0.0])
        sums[0] += run.count * memory.token_bytes(run, configuration)
        sums[1] += run.count * 2 * facts.heads * dims / configuration.tensor
    return tuple(Attention(kv, flops, window) for window, (kv, flops) in found.items())


def _slower(one: float, other: float) -> float:
    """The larger of two times that hide each other, with a round corner."""
    return math.pow(one**_CORNER + other**_CORNER, 1 / _CORNER)


def _range(typical: float, spread: float) -> Range:
    return Range(typical / (1 + spread), typical, typical * (1 + spread))
