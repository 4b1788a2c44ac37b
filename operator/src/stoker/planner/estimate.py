"""One configuration's memory and times, with what the two models leave to their caller.

Weights in processor memory are read over the bus in every step, and speculation stops at the load
at which the plan stops it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from stoker.catalog.gpus import Gpu
from stoker.model.sizing import GIB, Configuration, Expected, Memory, Range, Reuse, Workload
from stoker.planner.ask import Ask
from stoker.planner.calibration import Calibration, calibration_of
from stoker.planner.memory import concurrency_of, longest_context, memory_of, request_bytes
from stoker.planner.techniques import speculation
from stoker.planner.time import Pace, expected_of, pace_of
from stoker_worker.modelfacts import ModelFacts

# PCIe 4.0 with 16 lanes, as copies reach it; bytes per second.
HOST_LINK: Final = 25e9

Calibrate = Callable[[Gpu, ModelFacts, str], Calibration]


@dataclass(frozen=True, slots=True)
class Estimator:
    """The two models for one accelerator type."""

    facts: ModelFacts
    gpu: Gpu
    workload: Workload
    calibration: Calibration
    stored: Mapping[str, str]  # type of the KV cache that was asked for → that is kept
    sizes: dict[tuple[object, ...], int] = field(default_factory=dict)  # of requests, seen before

    def memory(self, configuration: Configuration) -> Memory:
        """Memory of the fullest accelerator, with the cache as the engine really stores it."""
        return memory_of(self.facts, self.gpu, self._stored(configuration), self.calibration)

    def concurrency(self, memory: Memory, configuration: Configuration) -> int:
        """Requests of the workload that fit at once on the replica."""
        stored = self._stored(configuration)
        return concurrency_of(memory, self.facts, stored, self.workload)

    def longest(self, memory: Memory, configuration: Configuration) -> int:
        """The longest request that fits, in tokens."""
        return longest_context(memory, self.facts, self._stored(configuration))

    def request_bytes(self, configuration: Configuration, tokens: int) -> int:
        """KV cache of one request of this length, per accelerator."""
        key = (
            tokens,
            configuration.kv_dtype,
            configuration.dtype,
            configuration.tensor,
            configuration.pipeline,
            configuration.block_size,
            configuration.max_num_batched_tokens,
            configuration.speculation,
        )
        size = self.sizes.get(key)
        if size is None:
            size = request_bytes(self.facts, self._stored(configuration), tokens)
            self.sizes[key] = size
        return size

    def itl(self, pace: Pace, configuration: Configuration, level: int) -> float:
        """Seconds between two tokens at so many requests at once, prompts of others included."""
        batch = max(1.0, level / configuration.data)
        gap = pace.gap_s(batch, self.workload.input_tokens, self.workload.output_tokens)
        return gap * self.calibration.residual_of(configuration).itl

    def pace(self, configuration: Configuration) -> Pace:
        """Coefficients of a step."""
        return pace_of(self.facts, self.gpu, configuration, self.calibration)

    def reuse(self, configuration: Configuration) -> Reuse:
        """What prompts gain that begin like others.

        Blocks that are found are not computed, and the rest attends to them; the last token is
        computed in any case (vLLM's `KVCacheManager.get_computed_blocks`). What was moved to
        processor memory is copied back first, each rank its own part over its own link, and the
        size of that memory is that of all ranks together (`CacheConfig.kv_offloading_size`).
        """
        tokens, block = self.workload.input_tokens, configuration.block_size
        pace, residual = self.pace(configuration), self.calibration.residual_of(configuration).ttft
        half, most = (part // block * block for part in (tokens // 2, tokens - 1))
        whole, halved, found = (
            pace.first_token_s(tokens, there) * residual for there in (0, half, most)
        )
        size = configuration.kv_offload_gib * GIB
        if not size:
            return Reuse(whole, halved, found)
        ranks = configuration.tensor * configuration.pipeline
        length = tokens + self.workload.output_tokens
        each = max(1, self.request_bytes(configuration, length) * ranks)
        fetch = self.request_bytes(configuration, half) / HOST_LINK if half else 0.0
        return Reuse(whole, halved, found, halved + fetch, int(size // each))

    def price(self, configuration: Configuration) -> float | None:
        """US dollars per hour of one replica; None where the catalogue knows none."""
        each = self.gpu.price_per_hour
        return None if each is None else each * configuration.accelerators

    def expected(self, configuration: Configuration, concurrency: int) -> Expected:
        """Times with so many requests at once on the replica."""
        until = configuration.speculative_until
        stopped = 0 < until < concurrency and configuration.speculation != "none"
        timed = replace(configuration, speculation="none") if stopped else configuration
        found = expected_of(
            self.facts,
            self.gpu,
            timed,
            self.workload,
            concurrency,
            self.calibration,
            self.price(configuration),
        )
        added = configuration.cpu_offload_gib * GIB / HOST_LINK
        if stopped:
            added += found.itl_s.typical * (speculation.SWITCHED_OFF - 1)
        return _later(found, added, self.workload) if added else found

    def _stored(self, configuration: Configuration) -> Configuration:
        """The type that the engine keeps: some accept 4 bits and store 8, without scales."""
        kept = self.stored.get(configuration.kv_dtype)
        return configuration if kept is None else replace(configuration, kv_dtype=kept)


def estimator_of(
    ask: Ask, gpu: Gpu, workload: Workload, engine_version: str, calibrate: Calibrate | None = None
) -> Estimator:
    """Estimator with the calibration that is nearest."""
    calibration = (calibrate or calibration_of)(gpu, ask.facts, engine_version)
    stored = {}
    for name in ("int8", "int4"):
        kept = ask.features.kv_dtype(name, gpu)
        if kept.bits == 8 and not kept.scale_bytes:
            stored[name] = "fp8"
    return Estimator(ask.facts, gpu, workload, calibration, stored)


def _later(found: Expected, step_s: float, workload: Workload) -> Expected:
    """The same with `step_s` more in every step."""
    steps = max(1, workload.output_tokens)
    before = found.e2e_s.typical
    after = before + step_s * steps
    slower = after / before if before > 0 else 1.0
    cost = found.cost_per_million_tokens
    return replace(
        found,
        ttft_s=_plus(found.ttft_s, step_s),
        itl_s=_plus(found.itl_s, step_s),
        e2e_s=_plus(found.e2e_s, step_s * steps),
        output_tokens_per_s=_times(found.output_tokens_per_s, 1 / slower),
        cost_per_million_tokens=None if cost is None else _times(cost, slower),
    )


def _plus(range_: Range, added: float) -> Range:
    return Range(range_.low + added, range_.typical + added, range_.high + added)


def _times(range_: Range, factor: float) -> Range:
    return Range(range_.low * factor, range_.typical * factor, range_.high * factor)
