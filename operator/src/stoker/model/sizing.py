"""What the planner is asked, and what it answers. Values only; `stoker.planner` makes the answers.

Sizes in bytes (`*_bytes`) or GiB (`*_gib`, 2**30), times in seconds, rates per second, prices in
US dollars, lengths in tokens. An absent wish (None) is the planner's to decide; a present one is
obeyed or refused, never changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from stoker.model.plan import Verdict
from stoker.model.work import Work

GIB = 2**30


class Objective(StrEnum):
    """What matters most. Default: balanced."""

    BALANCED = "balanced"
    LATENCY = "latency"
    THROUGHPUT = "throughput"
    COST = "cost"
    MEMORY = "memory"
    LONG_CONTEXT = "longContext"
    MULTI_TENANT = "multiTenant"


@dataclass(frozen=True, slots=True)
class Range:
    """An estimate that knows what it does not know: low ≤ typical ≤ high."""

    low: float
    typical: float
    high: float


@dataclass(frozen=True, slots=True)
class Workload:
    """The requests that a plan is made for; means."""

    input_tokens: int = 1024
    output_tokens: int = 256
    concurrency: int | None = None  # requests at once per replica; None: as many as pay off


@dataclass(frozen=True, slots=True)
class Targets:
    """Bounds that a plan has to keep; None: no bound."""

    ttft_s: float | None = None
    itl_s: float | None = None
    cost_per_million_tokens: float | None = None  # of output
    price_per_hour: float | None = None  # of one replica


@dataclass(frozen=True, slots=True)
class Speculation:
    """Speculative decoding that was asked for."""

    method: str  # none, ngram, draft, eagle, mtp
    tokens: int | None = None
    model: str | None = None  # folder of the draft, for draft and eagle


class Adapter(NamedTuple):
    """A LoRA adapter that is served under a name of its own."""

    name: str  # as clients write it
    folder: str  # below the model's, as the facts name it
    path: str  # as the engine finds it


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for, from the spec alone. None and empty mean: planned."""

    engine: str = "vllm"
    engine_version: str = ""  # of the image; "" where it cannot be told
    accelerators: tuple[str, ...] = ()  # catalogue names in order of preference; empty: any
    per_replica: int | None = None
    tensor: int | None = None
    pipeline: int | None = None
    data: int | None = None
    expert: bool | None = None
    max_model_len: int | None = None
    objective: Objective = Objective.BALANCED
    workload: Workload = Workload()
    targets: Targets = Targets()
    quantization: str | None = None  # none, fp8, int8, int4, awq, gptq, bitsandbytes
    kv_dtype: str | None = None  # auto means None; fp8, int8, int4, or bf16 for unquantized
    kv_offload_gib: float | None = None
    cpu_offload_gib: float | None = None
    speculation: Speculation | None = None
    prefix_caching: bool | None = None
    chunked_prefill: bool | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    block_size: int | None = None
    compile: bool | None = None
    attention_backend: str | None = None
    gpu_memory_utilization: float | None = None
    loader: str | None = None
    max_quality_loss: float | None = None  # percent of a benchmark's score
    kv_space_gib: float | None = None  # of processor memory, on accelerator cpu
    adapters: tuple[Adapter, ...] = ()


@dataclass(frozen=True, slots=True)
class Configuration:
    """One way to run one replica: every number that memory, time and flags follow from."""

    accelerator: str  # catalogue name
    tensor: int = 1
    pipeline: int = 1
    data: int = 1
    expert_parallel: bool = False
    dtype: str = "bfloat16"
    quantization: str = "none"  # none, or made at load or found in the checkpoint: fp8, int8, …
    kv_dtype: str = "auto"  # auto: as the model computes; fp8, int8, int4
    max_model_len: int = 4096
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 2048
    block_size: int = 16
    gpu_memory_utilization: float = 0.9
    prefix_caching: bool = True
    chunked_prefill: bool = True
    speculation: str = "none"
    speculative_tokens: int = 0
    speculative_until: int = 0  # requests at once up to which it speculates; 0: always
    speculative_model: str | None = None  # folder of the draft, for draft and eagle
    compile: bool = True
    attention_backend: str | None = None  # None: the engine chooses
    kv_offload_gib: float = 0.0
    cpu_offload_gib: float = 0.0
    loader: str = "auto"
    kv_space_gib: float | None = None  # VLLM_CPU_KVCACHE_SPACE; None: what is left of the memory
    adapters: tuple[Adapter, ...] = ()

    @property
    def accelerators(self) -> int:
        """Accelerators of one replica."""
        return self.tensor * self.pipeline * self.data


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of the fullest accelerator of a replica, in bytes; tokens are of the whole replica."""

    total: int  # what the device has
    usable: int  # total · gpu_memory_utilization
    weights: int
    activations: int  # peak of one step
    non_torch: int  # driver, NCCL
    graphs: int
    adapters: int
    draft: int
    reserve: int  # what the calibration does not explain
    kv_per_token: float  # per accelerator
    kv_budget: int  # what is left for the KV cache; negative where the rest does not fit
    kv_tokens: int  # tokens that the budget holds; 0 where nothing is left
    state_per_request: int = 0  # constant memory of a request (state-space layers)

    @property
    def shortage(self) -> int:
        """Bytes that are missing before a single token can be kept; 0 where it fits."""
        return max(0, -self.kv_budget)


@dataclass(frozen=True, slots=True)
class Expected:
    """How fast and how dear, at the workload and at the planned concurrency."""

    concurrency: int  # requests at once that the times are for
    ttft_s: Range  # at low load
    itl_s: Range
    e2e_s: Range
    output_tokens_per_s: Range  # of the whole replica at that concurrency
    price_per_hour: float | None  # of one replica; None: the catalogue has no price
    cost_per_million_tokens: Range | None  # of output


@dataclass(frozen=True, slots=True)
class Reuse:
    """What a prompt of the workload gains where its beginning was computed before; seconds.

    First tokens on an idle engine. How many prompts begin alike, nobody but the user knows, so the
    expected times count none.
    """

    whole_s: float  # nothing is found
    half_s: float  # half of it is found in the accelerator's cache
    found_s: float  # all of it, but for what the engine computes anew anyway
    fetched_s: float | None = None  # half of it is fetched from processor memory; None: not kept
    kept: int = 0  # requests of the workload that processor memory keeps


@dataclass(frozen=True, slots=True)
class Technique:
    """One technique and what became of it."""

    name: str  # as in docs/techniques.md: weightQuantization, kvCacheDtype, prefixCaching, …
    state: str  # on, off, refused
    reason: str  # CamelCase
    why: str  # one sentence with the number that decided, and the quality it costs


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another way that would do, or a way out."""

    change: str  # what to write: "parallelism.tensor: 2"
    configuration: Configuration
    expected: Expected
    kv_tokens: int
    concurrency: int  # requests of the workload that fit at once


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan that fits, with reasons."""

    configuration: Configuration
    memory: Memory
    expected: Expected
    concurrency: int  # requests of the workload that fit at once
    techniques: tuple[Technique, ...]
    alternatives: tuple[Alternative, ...]
    args: Mapping[str, str]  # engine flags without dashes
    env: Mapping[str, str] = field(default_factory=dict)
    verdict: Verdict = field(default_factory=lambda: Verdict("Planned", ""))
    # What a request takes of a replica; None where the hardware's pace is not known.
    work: Work | None = None


@dataclass(frozen=True, slots=True)
class Infeasible:
    """No plan, and why: what was asked cannot be had, or nothing fits."""

    verdict: Verdict
    shortage_gib: float = 0.0  # of the best candidate
    remedies: tuple[Alternative, ...] = ()  # cheapest first
