"""KAITO's rule as a baseline, and the grid that compares verdicts with it.

The rule (kaito-project/kaito, pkg/workspace/estimator: nodesestimator and budget.go, 2026): of an
accelerator's memory times its utilization, take 1.02 times the files over the ranks, a reserve of
2.3 GiB plus 5 % of that share, and for state-space models the state of 64 requests. What is left
is KV cache: a token takes its bytes over the ranks, with latent attention all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from stoker.catalog.gpus import Gpu
from stoker.catalog.load import builtin_gpus
from stoker.model.sizing import GIB, Configuration
from stoker.planner.calibration import builtin_eras, calibration_of
from stoker.planner.memory import (
    memory_of,
    request_bytes,
    state_bytes,
    stored_bytes,
    weights_of,
)
from stoker_worker.modelfacts import ModelFacts
from tests.support.families import FAMILIES

_EXPANSION, _BASE_GIB, _SHARE, _REQUESTS = 1.02, 2.3, 0.05, 64
CONTEXT = 2048  # KAITO's own default
RANKS = (1, 2, 4, 8)
_EMBEDDERS = ("bge-large-en",)


@dataclass(frozen=True)
class Cell:
    """One accelerator type and one family: the fewest ranks that each rule accepts; 0 for none."""

    gpu: str
    family: str
    kaito: int
    planner: int
    measured: int  # with the overheads that engines were measured to take, and nothing on top
    kaito_gib: float  # KV budget per accelerator, at the ranks that both accept
    planner_gib: float
    measured_gib: float

    @property
    def sign(self) -> str:
        """One character for the grid."""
        if not self.kaito and not self.planner:
            return "."
        if self.kaito != self.planner:
            return "-" if not self.planner or 0 < self.kaito < self.planner else "+"
        return ">" if self.planner_gib >= self.kaito_gib else "<"

    @property
    def too_optimistic(self) -> bool:
        """The planner promises what the engine would not have, where KAITO did not."""
        fewer = bool(self.planner) and not 0 < self.measured <= self.planner
        safe = not self.kaito or (self.kaito >= self.measured and self.measured > 0)
        more = self.planner_gib > self.measured_gib >= self.kaito_gib
        return (fewer and safe) or more


def kaito_budget(facts: ModelFacts, gpu: Gpu, configuration: Configuration) -> float:
    """Bytes for the KV cache per accelerator by KAITO's rule; negative where weights do not fit."""
    files = sum(stored_bytes(facts, replace(configuration, cpu_offload_gib=0.0)))
    share = files * _EXPANSION / configuration.tensor
    state = _REQUESTS * state_bytes(facts, configuration)
    usable = gpu.visible_bytes * configuration.gpu_memory_utilization
    return usable - share * (1 + _SHARE) - _BASE_GIB * GIB - state


def grid() -> list[Cell]:
    """Every accelerator type but `cpu` with every generating family, without quantization."""
    families = {name: family.facts for name, family in FAMILIES.items() if name not in _EMBEDDERS}
    return [
        _cell(gpu, facts, name)
        for gpu in builtin_gpus().values()
        if not gpu.shared_memory
        for name, facts in families.items()
    ]


def _cell(gpu: Gpu, facts: ModelFacts, family: str) -> Cell:
    budgets = {ranks: _budgets(gpu, facts, ranks) for ranks in RANKS if ranks <= _most(gpu)}
    kaito, planner, measured = (
        next((ranks for ranks, found in budgets.items() if found[index] >= found[3]), 0)
        for index in range(3)
    )
    both = budgets[max(kaito, planner)] if kaito and planner else (0.0, 0.0, 0.0, 0.0)
    return Cell(
        gpu.name, family, kaito, planner, measured, both[0] / GIB, both[1] / GIB, both[2] / GIB
    )


def _most(gpu: Gpu) -> int:
    return 1 if "-mig-" in gpu.name else max(1, gpu.most_per_node)


def _budgets(gpu: Gpu, facts: ModelFacts, ranks: int) -> tuple[float, float, float, float]:
    """KV budgets by KAITO, planner and measured overheads, and what one request needs."""
    configuration = Configuration(
        gpu.name, tensor=ranks, max_model_len=CONTEXT, gpu_memory_utilization=0.9
    )
    calibration = calibration_of(gpu, facts)
    memory = memory_of(facts, gpu, configuration, calibration)
    exact = replace(calibration, loaded=1.0, reserve=0.0, graphs=0)
    era = builtin_eras()[-1]
    weights = weights_of(facts, configuration, exact)
    measured = memory.usable - weights - memory.activations
    measured -= era.non_torch_parallel if ranks > 1 else era.non_torch
    need = request_bytes(facts, configuration, CONTEXT)
    return kaito_budget(facts, gpu, configuration), memory.kv_budget, measured, need
