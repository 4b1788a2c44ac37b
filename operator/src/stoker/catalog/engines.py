"""What an engine can do on a type of accelerator. The data is `engines.yaml`.

`EngineFeatures` is one engine at one version, in one image. Decisions ask it questions and get a
`Support`: a state, a reason as a program reads it, and a sentence. An answer is about engine and
hardware alone; what a model or a plan makes of it is said elsewhere.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from stoker.catalog.gpus import Gpu

UNQUANTIZED = frozenset({"auto", "none", "bf16"})  # words for a KV cache as the model computes


class State(StrEnum):
    """How well something is supported."""

    NATIVE = "native"  # as it is meant
    STORED = "stored"  # saves memory; the computation is in 16 bit
    SLOW = "slow"  # works, and costs more time than it saves
    REFUSED = "refused"  # the engine would not start, or would not do it


@dataclass(frozen=True, slots=True)
class Support:
    """One answer."""

    state: State
    reason: str  # CamelCase
    why: str  # one sentence
    value: str = ""  # the engine's own word for it, as its flag takes it
    needs: str | None = None  # Python package that the engine's image must bring
    experts: bool = False  # of a model's layers, only routed experts

    @property
    def usable(self) -> bool:
        """Whether the engine does it at all."""
        return self.state is not State.REFUSED


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds on some accelerators: of one vendor, with capabilities in [since, below)."""

    state: State
    reason: str
    why: str
    vendor: str | None = None  # None: any
    since: tuple[int, int] | None = None
    below: tuple[int, int] | None = None
    value: str | None = None  # another word than the feature's
    first: bool = False  # the engine tries it before its siblings

    def holds(self, gpu: Gpu) -> bool:
        """Whether the rule is about this type. Bounds hold for no type without a capability."""
        if self.vendor is not None and self.vendor != gpu.vendor:
            return False
        if self.since is None and self.below is None:
            return True
        capability = gpu.compute_capability
        if capability is None:
            return False
        return (self.since or (0, 0)) <= capability and (
            self.below is None or capability < self.below
        )


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing an engine may do: the first rule that holds answers, or else `otherwise`."""

    rules: tuple[Rule, ...]
    otherwise: Rule
    value: str = ""
    needs: str | None = None
    experts: bool = False  # of a model's layers, only routed experts

    def first_on(self, gpu: Gpu) -> bool:
        """Whether the engine tries it before its siblings on this type."""
        return any(rule.first and rule.holds(gpu) for rule in self.rules)

    def on(self, gpu: Gpu, plugins: Collection[str] = ()) -> Support:
        """Whether it works on this type, in an image that brings `plugins`."""
        rule = next((rule for rule in self.rules if rule.holds(gpu)), self.otherwise)
        found = Support(
            rule.state,
            rule.reason,
            rule.why,
            self.value if rule.value is None else rule.value,
            self.needs,
            self.experts,
        )
        if found.usable and self.needs is not None and self.needs not in plugins:
            return replace(
                found,
                state=State.REFUSED,
                reason="NeedsPlugin",
                why=(
                    f"it needs the package {self.needs} in the engine's image: use an image that "
                    "brings it, and name it in engines.vllm.plugins of the chart's values "
                    "(stoker plan: --plugin)."
                ),
            )
        return found


@dataclass(frozen=True, slots=True)
class KvType:
    """One type of the KV cache."""

    feature: Feature
    bits: int  # of one value
    scale_bytes: int = 0  # beside the values of one head of one token, for K and for V each
    attention: str | None = None  # the only attention backend that has it
    latent: bool = True  # whether MLA's compressed vectors may be kept so
    # Vendors on which the engine takes the word and keeps something else: bits, bytes of scales.
    kept: Mapping[str, tuple[int, int]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class KvSupport:
    """The answer about a type of the KV cache, and what a head of a token takes in it."""

    support: Support
    bits: int  # that are really stored
    scale_bytes: int = 0  # beside the values of one head of one token, for K and for V each
    honoured: bool = True  # False: refused, or accepted and kept in more bits than it says
    attention: str | None = None  # the only attention backend that has it
    latent: bool = True  # whether MLA's compressed vectors may be kept so

    @property
    def usable(self) -> bool:
        """Whether the engine accepts it."""
        return self.support.usable

    @property
    def reason(self) -> str:
        """CamelCase."""
        return self.support.reason

    @property
    def why(self) -> str:
        """One sentence."""
        return self.support.why

    @property
    def value(self) -> str:
        """The engine's own word for it."""
        return self.support.value

    def head_bytes(self, head_dim: int) -> float:
        """Bytes of `head_dim` values, K or V, of one head of one token, scales included."""
        return head_dim * self.bits / 8 + self.scale_bytes

    def capacity(self, head_dim: int) -> float:
        """How many times the tokens of a 16-bit cache the same memory holds."""
        return 2 * head_dim / self.head_bytes(head_dim)


@dataclass(frozen=True, slots=True)
class EngineFeatures:
    """One engine at one version, with the packages that its image brings beyond the stock ones."""

    engine: str
    version: str  # as it was asked for; "" where it cannot be told
    since: str  # first version that these facts hold for
    assumed: bool  # the version is unknown, or newer than the newest that was looked at
    offered: bool  # whether Stoker runs it
    way_out: str  # for people, where it is not offered
    gpu_memory_utilization: float  # its own default
    driver: int | None  # oldest NVIDIA driver branch of the stock image
    hardware: Feature
    sparse_checkpoints: Support
    dtypes: Mapping[str, Feature] = field(default_factory=dict, hash=False)
    weights: Mapping[str, Feature] = field(default_factory=dict, hash=False)
    loadtime: Mapping[str, Feature] = field(default_factory=dict, hash=False)
    kv: Mapping[str, KvType] = field(default_factory=dict, hash=False)
    speculations: Mapping[str, Feature] = field(default_factory=dict, hash=False)
    loaders: Mapping[str, Feature] = field(default_factory=dict, hash=False)
    attention: Mapping[str, Feature] = field(default_factory=dict, hash=False)  # engine's order
    parallel: Mapping[str, Feature] = field(default_factory=dict, hash=False)
    techniques: Mapping[str, Feature] = field(default_factory=dict, hash=False)
    plugins: frozenset[str] = frozenset()  # Python packages

    def runs_on(self, gpu: Gpu) -> Support:
        """Whether the stock image runs on the type at all."""
        if not self.offered:
            return Support(State.REFUSED, "EngineNotOffered", self.way_out)
        return self.hardware.on(gpu)

    def dtype(self, name: str, gpu: Gpu) -> Support:
        """Whether it computes in float32, float16 or bfloat16."""
        return self._ask(self.dtypes, "DtypeUnknown", name, gpu)

    def quantization(self, name: str, gpu: Gpu) -> Support:
        """Whether a checkpoint with such weights is served: fp8, int8, int4, awq, gptq, …."""
        if name == "none":
            return Support(State.NATIVE, "Unquantized", "the weights are as they are computed.")
        return self._ask(self.weights, "QuantizationUnknown", name, gpu)

    def made_at_load(self, name: str, gpu: Gpu) -> Support:
        """Whether it makes such weights from a 16-bit checkpoint; `value` is for its flag.

        Refused with `NeedsCheckpoint` where the weights must come quantized.
        """
        served = self.quantization(name, gpu)
        if not served.usable or name == "none":
            return served
        if name not in self.loadtime:
            why = (
                f"{self.engine} does not make {name} weights at load: name a checkpoint in {name}."
            )
            return Support(State.REFUSED, "NeedsCheckpoint", why)
        return self.loadtime[name].on(gpu, self.plugins)

    def sparse_checkpoint(self) -> Support:
        """Whether a checkpoint with a non-empty `sparsity_config` is served, on any type."""
        return self.sparse_checkpoints

    def kv_dtype(self, name: str, gpu: Gpu) -> KvSupport:
        """Whether it keeps keys and values so: fp8, int8, int4, or as it computes (auto, none)."""
        if name in UNQUANTIZED:
            why = "keys and values are kept as they are computed."
            return KvSupport(Support(State.NATIVE, "Unquantized", why, "auto"), 16)
        if name not in self.kv:
            return KvSupport(self._unknown("KvDtypeUnknown", name, self.kv), 16, honoured=False)
        kind = self.kv[name]
        support = kind.feature.on(gpu)
        bits, scales = kind.kept.get(gpu.vendor, (kind.bits, kind.scale_bytes))
        if bits > kind.bits:
            why = f"{self.engine} accepts {name} on {gpu.vendor} and keeps {bits} bits."
            support = replace(support, state=State.STORED, reason="KvDtypeNotHonoured", why=why)
        honoured = support.usable and bits <= kind.bits
        attention = kind.attention if kind.attention in self.attention_backends(gpu) else None
        return KvSupport(support, bits, scales, honoured, attention, kind.latent)

    def speculation(self, method: str, gpu: Gpu) -> Support:
        """Whether it speculates by ngram, draft, eagle or mtp; `value` is its name for it."""
        if method == "none":
            return Support(State.NATIVE, "NoSpeculation", "one token per step.")
        return self._ask(self.speculations, "SpeculationUnknown", method, gpu)

    def loader(self, name: str, gpu: Gpu) -> Support:
        """Whether it reads weights so: auto, runai_streamer, fastsafetensors, …."""
        return self._ask(self.loaders, "LoaderUnknown", name, gpu)

    def attention_backend(self, name: str, gpu: Gpu) -> Support:
        """Whether the attention backend, by the engine's name, runs on the type."""
        return self._ask(self.attention, "AttentionBackendUnknown", name, gpu)

    def attention_backends(self, gpu: Gpu) -> tuple[str, ...]:
        """Attention backends of the type, in the order in which the engine tries them."""
        usable = [name for name, feature in self.attention.items() if feature.on(gpu).usable]
        return tuple(sorted(usable, key=lambda name: not self.attention[name].first_on(gpu)))

    def parallelism(self, kind: str, gpu: Gpu) -> Support:
        """Whether ranks may be tensor, pipeline, data or expert parallel."""
        return self._ask(self.parallel, "ParallelismUnknown", kind, gpu)

    def technique(self, name: str, gpu: Gpu) -> Support:
        """Whether it has compile, graphs, prefixCaching, chunkedPrefill, kvOffload, cpuOffload."""
        return self._ask(self.techniques, "TechniqueUnknown", name, gpu)

    def _ask(
        self,
        among: Mapping[str, Feature],
        reason: str,
        name: str,
        gpu: Gpu,
    ) -> Support:
        if name not in among:
            return self._unknown(reason, name, among)
        return among[name].on(gpu, self.plugins)

    def _unknown(self, reason: str, name: str, among: Collection[str]) -> Support:
        known = ", ".join(sorted(among)) or "none"
        return Support(State.REFUSED, reason, f"{self.engine} has no {name!r}; known: {known}.")
