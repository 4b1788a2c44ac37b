"""What a user may say about how a model is run. All of it is optional: Stoker plans what is absent.

`auto` in a choice means the same as leaving the field out; it is there so that a value of another
owner (a base in GitOps, a Helm default) can be taken back. A number has no `auto`: remove it.
Switches are auto, on and off rather than booleans, because an absent boolean looks like false; the
words need quotes in YAML, which each description says.

Amounts of money are text, so that 0.10 stays 0.10. What none of the engine's numbers can tell by
itself, whether the whole fits and how fast it is, is the planner's answer and stands in the status.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from stoker.api.fields import Duration, Resource, between, cel, rules

Switch = Literal["auto", "on", "off"]
Objective = Literal[
    "balanced", "latency", "throughput", "cost", "memory", "longContext", "multiTenant"
]
QuantizationMethod = Literal["auto", "none", "fp8", "int8", "int4", "awq", "gptq", "bitsandbytes"]
KvDtype = Literal["auto", "none", "fp8", "int8", "int4"]
SpeculativeMethod = Literal["auto", "none", "ngram", "draft", "eagle", "mtp"]
Loader = Literal[
    "auto",
    "safetensors",
    "runai_streamer",
    "fastsafetensors",
    "instanttensor",
    "sharded_state",
]
Staging = Literal["auto", "none", "memory"]
# As in model.uri: no part begins with a dot.
_FOLDER_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$"
_DRAFT = "method draft or eagle and model belong together: write both or neither"
_TOKENS = "tokens belongs to a method: write method ngram, draft, eagle or mtp too"
QUOTED = 'Quote "on" and "off", which YAML takes for booleans.'
GiB = Annotated[int, Field(ge=0, le=4096)]
Money = Annotated[str, Field(pattern=r"^[0-9]{1,6}([.][0-9]{1,4})?$", max_length=11)]


class KvCache(Resource):
    """The memory of running conversations. Planned when absent."""

    dtype: KvDtype = Field(
        default_factory=lambda: "auto",
        description=(
            "Type of the cached values: none keeps the model's own, fp8 and int8 halve the memory, "
            "int4 quarters it."
        ),
    )
    offload_gib: GiB | None = Field(
        default=None,
        alias="offloadGiB",
        description=(
            "Processor memory for parts of the cache that the accelerator has no room for, in GiB "
            "per replica. 0 turns it off. Planned when absent."
        ),
    )


class Speculative(Resource):
    """Speculative decoding: several tokens are guessed and checked at once. Planned when absent."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        json_schema_extra=rules(
            cel(
                "has(self.model) == (has(self.method) && self.method in ['draft', 'eagle'])",
                _DRAFT,
                field_path=".model",
            ),
            cel(
                "!has(self.tokens) || (has(self.method) && !(self.method in ['auto', 'none']))",
                _TOKENS,
                field_path=".tokens",
            ),
        ),
    )

    method: SpeculativeMethod = Field(
        default_factory=lambda: "auto",
        description=(
            "Who guesses: ngram repeats what the prompt holds, draft is a small model, eagle a "
            "trained head, mtp the prediction layers that some checkpoints carry; none turns it "
            "off."
        ),
    )
    model: Annotated[str, Field(pattern=_FOLDER_PATTERN, max_length=253)] | None = Field(
        default=None,
        description=(
            "Folder of the draft or of the head, in the claim that holds the model. Methods draft "
            "and eagle need it, the others refuse it."
        ),
    )
    tokens: Annotated[int, Field(ge=1, le=16)] | None = Field(
        default=None, description="Tokens that are guessed at once. Planned when absent."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.model is not None) != (self.method in {"draft", "eagle"}):
            raise ValueError(_DRAFT)
        if self.tokens is not None and self.method in {"auto", "none"}:
            raise ValueError(_TOKENS)
        return self


class Batching(Resource):
    """How requests share one step of the engine. Planned when absent."""

    max_num_seqs: Annotated[int, Field(ge=1, le=8192)] | None = Field(
        default=None, description="Requests that are computed at once. Planned when absent."
    )
    max_num_batched_tokens: Annotated[int, Field(ge=16, le=1_048_576)] | None = Field(
        default=None, description="Tokens of one step, over all requests. Planned when absent."
    )
    block_size: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="Tokens of one block of the KV cache. Planned when absent."
    )
    chunked_prefill: Switch = Field(
        default_factory=lambda: "auto",
        description=(
            f"Cut long prompts into pieces, so that they do not hold up the others. {QUOTED}"
        ),
    )


class Targets(Resource):
    """Bounds that the plan has to keep. A plan that cannot is not made, and the status says why."""

    ttft: Annotated[Duration, between("1ms", "10m")] | None = Field(
        default=None,
        description="Time to first token at low load, at most. 1ms to 10m. Example: 800ms.",
    )
    itl: Annotated[Duration, between("1ms", "1m")] | None = Field(
        default=None, description="Time between two tokens, at most. 1ms to 1m. Example: 40ms."
    )
    cost_per_million_tokens: Money | None = Field(
        default=None,
        description="Price of a million tokens of output, in US dollars, at most. Example: '0.80'.",
    )
    price_per_hour: Money | None = Field(
        default=None,
        description="Price of one replica for one hour, in US dollars, at most. Example: '12.50'.",
    )


class Workload(Resource):
    """The requests that the plan is made for, on average."""

    input_tokens: Annotated[int, Field(ge=1, le=10_485_760)] = Field(
        default=1024, description="Tokens of a prompt."
    )
    output_tokens: Annotated[int, Field(ge=1, le=10_485_760)] = Field(
        default=256, description="Tokens of an answer."
    )
    concurrency: Annotated[int, Field(ge=1, le=8192)] | None = Field(
        default=None,
        description="Requests at once that one replica must carry. Absent: as many as pay off.",
    )


class Optimization(Resource):
    """What matters, and what is fixed. Everything that is absent or auto is planned."""

    objective: Objective = Field(
        default="balanced",
        description=(
            "What matters most where several ways fit: latency, throughput, cost, memory, "
            "longContext (the longest conversations), multiTenant (the most conversations at once) "
            "or balanced."
        ),
    )
    quantization: QuantizationMethod = Field(
        default_factory=lambda: "auto",
        description=(
            "Precision of the weights. none forbids to quantize at load; a checkpoint that is "
            "quantized already stays what it is."
        ),
    )
    kv_cache: KvCache = Field(default_factory=KvCache)
    speculative: Speculative = Field(default_factory=Speculative)
    prefix_caching: Switch = Field(
        default_factory=lambda: "auto",
        description=(
            f"Keep the cache of prompts, so that a common beginning is computed once. {QUOTED}"
        ),
    )
    batching: Batching = Field(default_factory=Batching)
    compile: Switch = Field(
        default_factory=lambda: "auto",
        description=f"Compile the model and capture graphs: a slower start, faster steps. {QUOTED}",
    )
    cpu_offload_gib: GiB | None = Field(
        default=None,
        alias="cpuOffloadGiB",
        description=(
            "Weights that stay in processor memory, in GiB per accelerator. 0 turns it off. "
            "Planned when absent."
        ),
    )
    attention_backend: (
        Annotated[str, Field(pattern="^(auto|[A-Z][A-Z0-9_]*)$", max_length=64)] | None
    ) = Field(
        default=None,
        description=(
            "Name of the engine's attention implementation, for example FLASHINFER. auto leaves it "
            "to the engine."
        ),
    )
    gpu_memory_utilization: Annotated[float, Field(ge=0.05, le=0.99)] | None = Field(
        default=None,
        description=(
            "Share of the accelerator's memory that the engine may use, for example 0.9. Planned "
            "when absent."
        ),
    )
    loader: Loader = Field(
        default_factory=lambda: "auto", description="How weights get from the volume into memory."
    )
    staging: Staging = Field(
        default_factory=lambda: "auto",
        description=(
            "memory copies the weights into memory before the engine starts, for volumes that are "
            "slow to map. They count as the pods' memory for as long as these run. auto and none "
            "do not."
        ),
    )
    max_quality_loss: Annotated[float, Field(ge=0, le=100)] | None = Field(
        default=None,
        description=(
            "Typical loss of quality, in percent of a benchmark's score, that the planner may "
            "accept for a technique. Absent: what counts as lossless for most uses."
        ),
    )
    targets: Targets = Field(default_factory=Targets)
    workload: Workload = Field(default_factory=Workload)
