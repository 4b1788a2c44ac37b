"""Each policy with several values of its main parameter, and what came of each run.

The values are the same for every trace, so that a new one needs no choice. They span from thrifty
to generous for a replica of this kind (some 50 requests at once while it keeps its pace); each
project's own default is among them, as None.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from benchmarks.autoscale.cases import Case, setting_of
from stoker.simulate.registry import policy_of
from stoker.simulate.run import Conditions, simulate

Sweep = tuple[float | None, ...]

STOKER: Final = "stoker"
STOKERS: Final[Mapping[str, Sweep]] = {
    STOKER: (0.25, 0.5, None, 0.9, 0.97, 0.99),
    "stoker-queue": (1, None, 8),
}
BOUNDS: Final[Mapping[str, Sweep]] = {
    "oracle": (0.5, 0.7, 0.85, None),
    "static-peak": (None,),
    "static-mean": (None,),
}
_AT_ONCE: Final[Sweep] = (4, 8, 12, 16, 24, 32, 48, 64)  # requests in progress per replica
BASELINES: Final[Mapping[str, Sweep]] = {
    "knative": (*_AT_ONCE, None),
    "knative-rps": (2, 5, None),
    "hpa": (*_AT_ONCE, None),
    "hpa-zero": (*_AT_ONCE, None),
    "hpa-queue": (1, None),
    "hpa-pods": (16, None),
    "keda": (1, None),
    "keda-gateway": (1, None),
    "kubeai": (*_AT_ONCE, None),
    "aibrix-apa": (0.1, 0.2, None),
    "aibrix-kpa": (8, 24, None),
    "ray-serve": (None, *_AT_ONCE),
    "wva-v1": (0.1, 0.15, 0.2, 0.3, 0.4, 0.6, None),
    "wva-v2": (0.3, 0.6, None),
    "wva-queueing": (0.15, 0.2, 0.25, 0.3, 0.4, 0.6, None),
    "dynamo": (0.15, 0.2, 0.3, 0.6, None),
    "dynamo-throughput": (0.5, None),
    "dynamo-constant": (None,),
    "dynamo-kalman": (None,),
    "dynamo-load": (None,),
    "dynamo-thresholds": (None,),
}
# With --quick: each project once or twice, with the values that lie nearest to the targets.
QUICK: Final[Mapping[str, Sweep]] = {
    STOKER: (0.25, 0.5, None, 0.9, 0.97),
    "oracle": (0.7, None),
    "static-peak": (None,),
    "static-mean": (None,),
    "knative": (8, 32),
    "hpa-zero": (8, 16, 32),
    "keda-gateway": (1,),
    "kubeai": (8,),
    "ray-serve": (None, 8, 32),
    "wva-v1": (0.15, 0.2, None),
    "wva-v2": (0.3,),
    "wva-queueing": (0.15, 0.2, 0.3),
    "dynamo": (0.2,),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One policy with one parameter on one trace. Times in seconds, shares from 0 to 1."""

    policy: str
    parameter: float | None  # None: the default
    attained: float
    ttft_attained: float
    itl_attained: float
    ttft_p50: float
    ttft_p90: float
    ttft_p99: float
    itl_p50: float
    itl_p99: float
    accelerator_h: float
    shed: int
    cut: int
    changes_per_hour: float
    turns_in_10_min: int
    short_spells: int
    enough_p50: float
    enough_p99: float
    replicas_peak: int
    took_s: float  # processor time

    @property
    def label(self) -> str:
        """The policy with its parameter."""
        return self.policy if self.parameter is None else f"{self.policy}:{self.parameter:g}"


def policies_of(*, quick: bool) -> list[tuple[str, float | None]]:
    """All runs of one trace."""
    chosen = QUICK if quick else {**STOKERS, **BOUNDS, **BASELINES}
    return [(name, value) for name, values in chosen.items() for value in values]


def runs_of(case: Case, policies: Iterable[tuple[str, float | None]], jobs: int) -> Iterator[Run]:
    """One after another, or in so many processes."""
    tasks = [(case, name, value) for name, value in policies]
    if jobs == 1:
        yield from map(run, tasks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(run, tasks)


def run(task: tuple[Case, str, float | None]) -> Run:
    """One run, reduced to its figures; of several seeds their means, and the most turns."""
    case, name, parameter = task
    runs = [_run(case, name, parameter, seed) for seed in range(case.seeds)]
    worst = {"turns_in_10_min": max, "replicas_peak": max}
    counts = {"shed", "cut", "short_spells"}
    found: dict[str, Any] = {}
    for field in fields(Run):
        values = [getattr(run, field.name) for run in runs]
        if field.name in {"policy", "parameter"}:
            found[field.name] = values[0]
        elif field.name in worst:
            found[field.name] = worst[field.name](values)
        else:
            mean = sum(values) / len(values)
            found[field.name] = round(mean) if field.name in counts else mean
    return Run(**found)


def _run(case: Case, name: str, parameter: float | None, seed: int) -> Run:
    setting = setting_of(case, seed)
    policy = policy_of(name if parameter is None else f"{name}:{parameter:g}", setting)
    begin = time.process_time()
    result = simulate(setting, policy, Conditions(seed=seed))
    return Run(
        policy=name,
        parameter=parameter,
        attained=result.attained,
        ttft_attained=result.ttft_attained,
        itl_attained=result.itl_attained,
        ttft_p50=result.ttft.p50,
        ttft_p90=result.ttft.p90,
        ttft_p99=result.ttft.p99,
        itl_p50=result.itl.p50,
        itl_p99=result.itl.p99,
        accelerator_h=result.accelerator_s / 3600,
        shed=result.shed,
        cut=result.cut,
        changes_per_hour=result.changes_per_hour,
        turns_in_10_min=result.direction_changes_in_10_min,
        short_spells=result.short_spells,
        enough_p50=result.enough_after.p50,
        enough_p99=result.enough_after.p99,
        replicas_peak=result.replicas_peak,
        took_s=time.process_time() - begin,
    )


def as_data(run: Run) -> dict[str, Any]:
    """For JSON, which has no NaN: a percentile of nothing is null."""
    return {name: None if value != value else value for name, value in asdict(run).items()}  # noqa: PLR0124


def of_data(data: Mapping[str, Any]) -> Run:
    """From JSON again."""
    nan = float("nan")
    kept: dict[str, Any] = {name: nan if value is None else value for name, value in data.items()}
    return Run(**{**kept, "parameter": data["parameter"]})
