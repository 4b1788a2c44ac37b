"""Times: predictions for points that the calibration did not see, beside what was measured.

A run is predicted with its own entry of `calibration.yaml` left out. The points of 2023's engine
come in six groups (two GPUs, three sizes of tensor parallelism); each group is predicted with
parameters fitted to the two others of its GPU.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.planner.fit import fit, log_error
from benchmarks.planner.models import model
from stoker.catalog.gpus import Gpu
from stoker.catalog.load import builtin_gpus
from stoker.model.sizing import Configuration, Memory
from stoker.planner.calibration import Calibration, Entry, builtin_entries, calibration_of
from stoker.planner.memory import memory_of
from stoker.planner.replay import Arrival, Outcome, replay
from stoker.planner.time import Pace, pace_of
from stoker_worker.modelfacts import ModelFacts

# The lines, as shares of what was measured.
LINES = {"ITL": 0.20, "e2e": 0.20, "TTFT at low load": 0.30}
# Requests at the start of a run, before its queue; the first one compiles kernels.
LOW_LOAD = slice(1, 21)
_LEGACY, _ENGINE = "0.2", "0.19"  # of published points, of runs
_LIMITS = {
    "mfu": (0.2, 0.95),
    "mbu_weights": (0.3, 0.98),
    "host_layer_s": (1e-5, 2e-3),
    "allreduce_s": (1e-6, 1e-4),
}
_START = {"mfu": 0.6, "mbu_weights": 0.8, "host_layer_s": 4e-4, "allreduce_s": 2e-5}


@dataclass(frozen=True)
class TimeResult:
    """One number of one point, in seconds."""

    what: str
    kind: str  # a key of LINES
    measured_s: float
    predicted_s: float
    note: str = ""

    @property
    def error(self) -> float:
        """Relative; positive is too slow."""
        return self.predicted_s / self.measured_s - 1

    @property
    def kept(self) -> bool:
        return abs(self.error) <= LINES[self.kind]


def time_results(data: Mapping[str, Any], measured: Path | None) -> list[TimeResult]:
    """All points that were not used to calibrate what predicts them."""
    found = [
        result
        for point in data["times"]
        if not point.get("calibrates")
        for result in _published(point, data["times"])
    ]
    if measured is not None:
        for trace in data["traces"]:
            found += trace_results(trace, measured, left_out=True)
    return found


def fitted_results(data: Mapping[str, Any], measured: Path) -> list[TimeResult]:
    """The runs predicted with their own entries: how well the model can fit at all."""
    return [
        result
        for trace in data["traces"]
        for result in trace_results(trace, measured, left_out=False)
    ]


def _published(point: Mapping[str, Any], points: list[dict[str, Any]]) -> list[TimeResult]:
    if point["engine"] == _LEGACY:
        others = [
            other
            for other in points
            if other["engine"] == _LEGACY and other["gpu"] == point["gpu"] and other is not point
        ]
        values = legacy_fit(others)
        return _legacy_results(point, values)
    facts, gpu = model(point["model"]), builtin_gpus()[point["gpu"]]
    entries = [entry for entry in builtin_entries() if entry.gpu != gpu.name]
    calibration = calibration_of(gpu, facts, point["engine"], entries)
    pace = pace_of(facts, gpu, Configuration(gpu.name, max_num_batched_tokens=8192), calibration)
    what = f"{point['model']} on {gpu.name}, vLLM {point['engine']}"
    if "itl_ms" in point:
        predicted = pace.decode_s(1, point["context"])
        return [
            TimeResult(
                f"{what}, context {point['context']}", "ITL", point["itl_ms"] / 1e3, predicted
            )
        ]
    predicted = pace.prefill_s(point["prompt"])
    name = f"{what}, prompt {point['prompt']}"
    return [TimeResult(name, "TTFT at low load", point["ttft_ms"] / 1e3, predicted)]


def legacy_fit(points: list[dict[str, Any]]) -> dict[str, float]:
    """Parameters for these groups of the engine of 2023."""

    def errors(values: Mapping[str, float]) -> list[float]:
        results = [result for point in points for result in _legacy_results(point, values)]
        return [log_error(result.predicted_s, result.measured_s) for result in results]

    return fit(_START, errors, _LIMITS)


def _legacy_results(point: Mapping[str, Any], values: Mapping[str, float]) -> list[TimeResult]:
    pace = _legacy_pace(point, values)
    what = f"{point['model']} on {point['tensor']} x {point['gpu']}, 2023"
    return [
        TimeResult(f"{what}, prompt {tokens}", "TTFT at low load", ms / 1e3, pace.prefill_s(tokens))
        for tokens, ms in point["ttft_ms"].items()
    ] + [
        TimeResult(f"{what}, batch {batch}", "ITL", ms / 1e3, pace.decode_s(batch, 512 + 64))
        for batch, ms in point["itl_ms"].items()
    ]


def _legacy_pace(point: Mapping[str, Any], values: Mapping[str, float]) -> Pace:
    calibration = Calibration(
        mfu=values["mfu"],
        mbu_weights=values["mbu_weights"],
        mbu_batch=values["mbu_weights"],
        mbu_kv=0.6,
        sequence_s=0.0001,
        host_layer_s=values["host_layer_s"],
        allreduce_s=values["allreduce_s"],
    )
    gpu = builtin_gpus()[point["gpu"]]
    configuration = Configuration(
        gpu.name, tensor=point["tensor"], dtype="float16", max_num_batched_tokens=8192
    )
    return pace_of(model(point["model"]), gpu, configuration, calibration)


def trace_results(trace: Mapping[str, Any], folder: Path, *, left_out: bool) -> list[TimeResult]:
    """A run replayed; with its own entry left out of the calibration, or with it."""
    rows = read_trace(folder, trace["name"])
    entries = [
        entry for entry in builtin_entries() if not (left_out and entry.source == trace["entry"])
    ]
    outcomes = replayed(trace, rows, entries)
    seen = [Outcome(row["queue_s"], row["ttft_s"], row["e2e_s"]) for row in rows]
    what = f"{trace['model']} on {trace['gpu']}, run of {len(rows)}"

    def itl(found: list[Outcome]) -> float:
        return mean(
            (each.e2e_s - each.ttft_s) / (row["output_tokens"] - 1)
            for each, row in zip(found, rows, strict=True)
        )

    early = [median(each.ttft_s for each in found[LOW_LOAD]) for found in (seen, outcomes)]
    whole = [mean(each.e2e_s for each in found) for found in (seen, outcomes)]
    return [
        TimeResult(what, "ITL", itl(seen), itl(outcomes)),
        TimeResult(what, "e2e", whole[0], whole[1]),
        TimeResult(what, "TTFT at low load", early[0], early[1]),
    ]


def replayed(
    trace: Mapping[str, Any], rows: list[dict[str, float]], entries: list[Entry]
) -> list[Outcome]:
    """What the planner's steps make of the arrivals of a run."""
    facts, gpu, configuration = setup_of(trace)
    calibration = calibration_of(gpu, facts, _ENGINE, entries)
    tokens = memory_of(facts, gpu, configuration, calibration).kv_tokens
    pace = pace_of(facts, gpu, configuration, calibration)
    arrivals = [
        Arrival(row["arrival_s"], int(row["input_tokens"]), int(row["output_tokens"]))
        for row in rows
    ]
    return list(replay(pace, arrivals, tokens, trace["sequences"]))


def memory_of_trace(trace: Mapping[str, Any]) -> Memory:
    """The plan of a run's memory."""
    facts, gpu, configuration = setup_of(trace)
    return memory_of(facts, gpu, configuration, calibration_of(gpu, facts, _ENGINE))


def setup_of(trace: Mapping[str, Any]) -> tuple[ModelFacts, Gpu, Configuration]:
    """What served a run."""
    gpu = builtin_gpus()[trace["gpu"]]
    configuration = Configuration(
        gpu.name,
        max_model_len=8192,
        max_num_seqs=trace["sequences"],
        max_num_batched_tokens=2048,
    )
    return model(trace["model"]), gpu, configuration


def read_trace(folder: Path, name: str) -> list[dict[str, float]]:
    """Rows of a compressed table of numbers."""
    with gzip.open(folder / f"{name}.csv.gz", "rt", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def observed_capacity(folder: Path, name: str) -> float:
    """Tokens that the KV cache of a run held: those of running requests over the share in use.

    Only seconds without a queue count, where nothing is put off and a request's length at a moment
    is known from its first and last token; the median over them.
    """
    rows, found = read_trace(folder, name), []
    for second in read_trace(folder, f"{name}.series"):
        if second["waiting"] or not 30 < second["kv_cache_pct"] < 99 or second["running"] < 8:
            continue
        tokens = sum(length(row, second["t"]) for row in rows)
        found.append(tokens / second["kv_cache_pct"] * 100)
    return median(found)


def length(row: Mapping[str, float], now: float) -> float:
    """Tokens of a request at a moment; 0 where it is not being computed."""
    first, last = row["arrival_s"] + row["ttft_s"], row["arrival_s"] + row["e2e_s"]
    if not row["arrival_s"] + row["queue_s"] <= now < last:
        return 0.0
    drawn = max(0.0, now - first) / (last - first) * row["output_tokens"]
    return row["input_tokens"] + drawn
