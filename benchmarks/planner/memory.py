"""Memory: the KV cache that the planner predicts, beside what the engine reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.planner.kaito import kaito_budget
from benchmarks.planner.models import model
from stoker.catalog.load import builtin_gpus
from stoker.model.sizing import GIB, Configuration
from stoker.planner.calibration import calibration_of
from stoker.planner.memory import memory_of, weights_of

# The line that a prediction has to keep: 5 % of weights and KV cache, and 1.5 GiB of overhead.
SHARE, FIXED_GIB = 0.05, 1.5
H100 = "nvidia-h100-80gb"


@dataclass(frozen=True)
class MemoryResult:
    """One published point; GiB are of one accelerator's KV cache."""

    what: str
    reported_gib: float
    predicted_gib: float
    weights_gib: float
    kaito_gib: float
    derived: bool
    source: str

    @property
    def error(self) -> float:
        """Relative, of the KV cache; positive is too optimistic."""
        return self.predicted_gib / self.reported_gib - 1

    @property
    def kept(self) -> bool:
        allowed = SHARE * (self.weights_gib + self.reported_gib) + FIXED_GIB
        return abs(self.predicted_gib - self.reported_gib) <= allowed

    @property
    def kept_tightly(self) -> bool:
        """The issue's words taken narrowly: 5 % of the KV cache itself, and 1.5 GiB."""
        return abs(self.predicted_gib - self.reported_gib) <= SHARE * self.reported_gib + FIXED_GIB


def memory_results(points: list[dict[str, Any]]) -> list[MemoryResult]:
    """Predictions for the published points, in their order."""
    return [_result(point) for point in points]


def _result(point: dict[str, Any]) -> MemoryResult:
    gpu = builtin_gpus()[point.get("gpu", H100)]
    facts = model(point["model"])
    engine = point.get("engine", "0.19")
    configuration = Configuration(
        gpu.name,
        tensor=point.get("tensor", 1),
        dtype=point.get("dtype", "bfloat16"),
        quantization=point.get("quantization", "none"),
        kv_dtype=point.get("kv_dtype", "auto"),
        speculation=point.get("speculation", "none"),
        gpu_memory_utilization=point.get("utilization", 0.95),
        max_model_len=8192,
        max_num_seqs=point.get("sequences", 1024),
        max_num_batched_tokens=point.get("batched_tokens", 8192),
    )
    calibration = calibration_of(gpu, facts, engine)
    memory = memory_of(facts, gpu, configuration, calibration)
    if "tokens" in point:
        reported = point["tokens"] * memory.kv_per_token / GIB
        predicted = memory.kv_tokens * memory.kv_per_token / GIB
    else:
        reported, predicted = point["kv_gib"], memory.kv_budget / GIB
    settings = [
        f"{name} {point[name]}"
        for name in ("quantization", "dtype", "kv_dtype", "speculation", "utilization")
        if name in point
    ]
    what = " ".join([f"{point['model']} TP {configuration.tensor} vLLM {engine}", *settings])
    return MemoryResult(
        what=what,
        reported_gib=reported,
        predicted_gib=predicted,
        weights_gib=weights_of(facts, configuration, calibration) / GIB,
        kaito_gib=kaito_budget(facts, gpu, configuration) / GIB,
        derived=point.get("derived", False),
        source=point["source"],
    )
