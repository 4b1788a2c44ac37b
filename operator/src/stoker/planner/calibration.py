"""How far real runs stay below the hardware's peaks, and what the planner does not know.

The estimates are arithmetic over peaks of the catalogue; this module holds what was measured of
the distance: shares of the peak (MFU of matrix products, MBU of memory), fixed times per step and
per message, sizes of activations. The data is `calibration.yaml`, one entry per source. A parameter
is taken from the nearest entries that have it: same GPU, architecture and engine, then same GPU and
kind of model, then same generation of GPU, then any; their mean is used. Entries of other GPUs are
averaged with the default, which counts as one of them, and their MFU is carried over by operations
per byte of bandwidth: the more of them a GPU has, the smaller the share that it reaches. The
farther the entry, the wider the range that an estimate gets.

What a running engine reports (KV blocks, times) becomes a `Residual` (`planner.feedback`), kept in
status and given to the next plan of the same service.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Final

import yaml

from stoker.catalog.gpus import Gpu
from stoker.model.sizing import Configuration
from stoker_worker.modelfacts import ModelFacts


@dataclass(frozen=True, slots=True)
class Residual:
    """Observed over planned, as factors; 1 where nothing was observed."""

    kv: float = 1.0  # of the KV budget
    ttft: float = 1.0
    itl: float = 1.0


# What changes an engine's kernels and buffers: the model's cut, the types of weights and cache.
Way = tuple[str, str, str]


def way_of(configuration: Configuration) -> Way:
    """What an observation of this configuration is about."""
    cut = f"{configuration.tensor}x{configuration.pipeline}x{configuration.data}"
    return cut, configuration.quantization, configuration.kv_dtype


@dataclass(frozen=True, slots=True)
class Calibration:
    """Everything between the datasheet and a real engine, for one GPU, engine and architecture."""

    mfu: float = 0.60  # share of peak that large matrix products reach
    mbu_weights: float = 0.85  # share of bandwidth when weights are read
    mbu_batch: float = 0.75  # the same for a batch of `BATCH` and more: thin matrix products
    mbu_kv: float = 0.85  # share of bandwidth when attention reads the KV cache
    step_s: float = 0.0008  # per engine step: scheduling, launch, sampling
    layer_s: float = 0.000015  # per layer and step: small kernels
    sequence_s: float = 0.00001  # per sequence and step: bookkeeping, sampling
    host_layer_s: float = 0.0  # per layer, what a step takes at least: launches by the host
    expert_reach: float = 1.0  # experts that a large batch of text meets, over all of them
    expert_layer_s: float = 0.00006  # per layer with experts and step: routing, more kernels
    allreduce_s: float = 0.000015  # per all-reduce, on NVLink
    link_share: float = 0.7  # of the link's bandwidth
    loaded: float = 1.01  # loaded weights over bytes in the files
    logit_bytes: float = 15.3  # per sequence and vocabulary entry, at the sampler's peak
    non_torch: int = 0  # driver and libraries, with one accelerator
    non_torch_parallel: int = 0  # the same with tensor parallel ranks: NCCL's buffers
    graphs: int = 0  # what CUDA graphs of the full range of batches take out of the budget
    reserve: float = 0.0  # share of the usable memory that stays unplanned
    spread: float = 0.35  # a time's range is typical / (1 + spread) to typical · (1 + spread)
    source: str = "defaults"
    residual: Residual = Residual()  # of ways that were not observed
    residuals: Mapping[Way, Residual] = field(default_factory=dict)

    def residual_of(self, configuration: Configuration) -> Residual:
        """What was observed of this way, else of the type."""
        return self.residuals.get(way_of(configuration), self.residual)


# MFU of another GPU times the ratio of operations per byte to this power; and no more than so much.
_INTENSITY: Final = 0.6
_MOST_MFU: Final = 0.9
_EXPERTS_MFU: Final = 0.35  # of the small matrix products of experts, before anything is known
_SAME_GPU: Final = 1  # distances up to this are entries of the GPU itself
BATCH: Final = 48  # tokens of a step from which on weights are read at `mbu_batch`
_PARAMETERS: Final = (
    "mfu",
    "mbu_weights",
    "mbu_batch",
    "mbu_kv",
    "sequence_s",
    "host_layer_s",
    "expert_reach",
    "expert_layer_s",
    "allreduce_s",
)
_GIB: Final = 2**30
# How wide a range is when the nearest entry is this far away (see `_distances`).
_SPREADS: Final = (0.12, 0.15, 0.25, 0.35, 0.45)
_UNKNOWN_SPREAD: Final = 0.5  # another vendor, or nothing at all
_UNKNOWN_RESERVE: Final = 0.05  # of the usable memory, for an architecture that is not known
# Engines before this minor version were another program; their entries serve only each other.
_MODERN: Final = (0, 6)


@dataclass(frozen=True, slots=True)
class Entry:
    """One measured source; None for a parameter that it does not tell."""

    source: str
    gpu: str
    capability: tuple[int, int] | None
    intensity: float  # operations in 16 bits per byte of bandwidth, of the catalogue then
    engine: tuple[int, int]
    architecture: str
    moe: bool
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Era:
    """What engines from this version on have in common on every GPU."""

    since: tuple[int, int]
    step_s: float
    logit_bytes: float
    non_torch: int
    non_torch_parallel: int
    graphs: int


def builtin_entries() -> tuple[Entry, ...]:
    """The measured times that the package carries."""
    return _builtin()[0]


def builtin_eras() -> tuple[Era, ...]:
    """What engines take by version, oldest first."""
    return _builtin()[1]


@cache
def _builtin() -> tuple[tuple[Entry, ...], tuple[Era, ...]]:
    text = files("stoker.planner").joinpath("calibration.yaml").read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    eras = sorted((_era(each) for each in data["engines"]), key=lambda era: era.since)
    return tuple(_entry(each) for each in data["times"]), tuple(eras)


def calibration_of(
    gpu: Gpu,
    facts: ModelFacts,
    engine_version: str = "",
    entries: Sequence[Entry] | None = None,
) -> Calibration:
    """The nearest measurements for this GPU, model and engine; the residual is the caller's."""
    version = _version(engine_version)
    known = tuple(
        entry
        for entry in (builtin_entries() if entries is None else entries)
        if _same_program(entry.engine, version)
    )
    distances = _distances(gpu, facts, version)
    values: dict[str, float] = {}
    sources: dict[str, None] = {}
    farthest = 0
    for name in _PARAMETERS:
        if name.startswith("expert_") and not facts.experts:
            continue
        distance, found = _nearest(name, known, distances)
        if name == "mfu" and any((entry.moe != (facts.experts > 0)) for entry in found):
            found = ()
        if name == "mfu" and not found and facts.experts:
            values[name] = _EXPERTS_MFU
        if not found:
            continue
        values[name] = _carried(name, gpu, found, alone=distance <= _SAME_GPU)
        sources.update(dict.fromkeys(entry.source for entry in found))
        if name in {"mfu", "mbu_weights"}:
            farthest = max(farthest, distance)
    measured = gpu.vendor == "nvidia" and "mbu_weights" in values
    spread = _SPREADS[farthest] if measured else _UNKNOWN_SPREAD
    if not facts.known:
        spread *= 1.5
    era = _era_of(version)
    base = Calibration(
        step_s=era.step_s,
        logit_bytes=era.logit_bytes,
        non_torch=era.non_torch,
        non_torch_parallel=era.non_torch_parallel,
        graphs=era.graphs,
        spread=spread,
        reserve=0.0 if facts.known else _UNKNOWN_RESERVE,
    )
    return replace(base, source="; ".join(sources) or base.source, **values)  # type: ignore[arg-type]


def corrected(
    calibration: Calibration, residual: Residual, residuals: Mapping[Way, Residual] | None = None
) -> Calibration:
    """The same with what engines themselves reported; the range narrows where times were seen.

    `residual` is for every way that is not among `residuals`.
    """
    seen = residual.itl != 1.0 and residual.ttft != 1.0
    return replace(
        calibration,
        residual=residual,
        residuals=residuals or {},
        spread=min(calibration.spread, _SPREADS[0]) if seen else calibration.spread,
    )


def _nearest(
    name: str, entries: Sequence[Entry], distances: Sequence[Callable[[Entry], bool]]
) -> tuple[int, tuple[Entry, ...]]:
    """How far the nearest entries that tell this parameter are, and which."""
    for distance, near in enumerate(distances):
        found = tuple(entry for entry in entries if name in entry.values and near(entry))
        if found:
            return distance, found
    return len(distances), ()


def _carried(name: str, gpu: Gpu, entries: Sequence[Entry], *, alone: bool) -> float:
    """A parameter from entries of this GPU, or carried over from others."""
    if alone:
        return _mean([entry.values[name] for entry in entries])
    if name != "mfu":
        prior = float(getattr(Calibration(), name))
        # A default of nothing is no opinion, and no factor either.
        return _mean([entry.values[name] for entry in entries] + [prior] * (prior > 0))
    own = _intensity(gpu)
    shares = [entry.values[name] * (entry.intensity / own) ** _INTENSITY for entry in entries]
    default = _EXPERTS_MFU if entries[0].moe else Calibration().mfu
    return min(_MOST_MFU, _mean([*shares, default]))


def _intensity(gpu: Gpu) -> float:
    """Operations in 16 bits per byte of bandwidth."""
    rate = gpu.flops.get("bfloat16") or gpu.flops.get("float16") or max(gpu.flops.values())
    return rate / gpu.bandwidth


def _distances(
    gpu: Gpu, facts: ModelFacts, version: tuple[int, int] | None
) -> tuple[Callable[[Entry], bool], ...]:
    """What counts as near, nearest first."""
    moe = facts.experts > 0

    def same_gpu(entry: Entry) -> bool:
        return entry.gpu == gpu.name

    def generation(entry: Entry) -> bool:
        return entry.capability is not None and entry.capability == gpu.compute_capability

    return (
        lambda entry: (
            same_gpu(entry)
            and entry.architecture == facts.architecture
            and version in (None, entry.engine)
        ),
        lambda entry: same_gpu(entry) and entry.moe == moe,
        lambda entry: generation(entry) and entry.moe == moe,
        lambda entry: entry.moe == moe,
        lambda _: True,
    )


def _same_program(entry: tuple[int, int], version: tuple[int, int] | None) -> bool:
    if version is None:
        return entry >= _MODERN
    return (entry >= _MODERN) == (version >= _MODERN)


def _version(text: str) -> tuple[int, int] | None:
    parts = text.removeprefix("v").split(".")
    if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        return None
    return int(parts[0]), int(parts[1])


def _mean(values: Sequence[float]) -> float:
    """Geometric, as all parameters are factors."""
    return math.exp(sum(math.log(value) for value in values) / len(values))


def _era_of(version: tuple[int, int] | None) -> Era:
    eras = builtin_eras()
    return [era for era in eras if version is None or era.since <= version][-1]


def _era(raw: Mapping[str, object]) -> Era:
    since = _version(str(raw["since"]))
    if since is None:
        raise ValueError(f"calibration: {raw['since']!r} is not a version")
    return Era(
        since=since,
        step_s=float(str(raw["step_s"])),
        logit_bytes=float(str(raw["logit_bytes"])),
        non_torch=int(float(str(raw["non_torch_gib"])) * _GIB),
        non_torch_parallel=int(float(str(raw["non_torch_parallel_gib"])) * _GIB),
        graphs=int(float(str(raw["graphs_gib"])) * _GIB),
    )


def _entry(raw: Mapping[str, object]) -> Entry:
    capability = raw.get("capability")
    engine = _version(str(raw["engine"]))
    if engine is None:
        raise ValueError(f"calibration: engine {raw['engine']!r} is not a version")
    values = {name: float(str(raw[name])) for name in _PARAMETERS if name in raw}
    return Entry(
        source=str(raw["source"]),
        gpu=str(raw["gpu"]),
        capability=None if capability is None else _version(str(capability)),
        intensity=float(str(raw["intensity"])),
        engine=engine,
        architecture=str(raw["architecture"]),
        moe=bool(raw["moe"]),
        values=values,
    )
