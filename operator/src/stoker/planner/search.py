"""Looking for ways, dearest means last.

The passes go from what costs nothing to what costs something: first without loss of quality on one
node, then with, then over several nodes. The first pass that finds a way ends the search, so that
quality is only spent where nothing fits without, unless the objective says otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stoker.catalog.engines import EngineFeatures
from stoker.catalog.gpus import Gpu
from stoker.model.inventory import Supply
from stoker.model.plan import Verdict
from stoker.model.sizing import Request
from stoker.planner import objectives, techniques
from stoker.planner.ask import Ask
from stoker.planner.candidates import Candidate, Depth, Reject, enumerate_candidates
from stoker.planner.estimate import Calibrate, Estimator, estimator_of
from stoker_worker.modelfacts import ModelFacts

_PASSES: Final = (
    Depth(lossy=False, stages=False),
    Depth(lossy=True, stages=False),
    Depth(lossy=False, stages=True),
    Depth(lossy=True, stages=True),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Everything that a decision depends on."""

    request: Request
    facts: ModelFacts
    gpus: Mapping[str, Gpu]
    features: EngineFeatures
    inventory: Supply | None = None
    calibrate: Calibrate | None = None

    @property
    def ask(self) -> Ask:
        """What does not depend on the accelerator."""
        return Ask(self.request, self.facts, self.features)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the passes found."""

    chosen: tuple[Candidate, ...]  # that fit and keep the targets, best first; empty: none
    depth: Depth | None
    slow: tuple[Candidate, ...]  # that fit and miss a target
    rejects: tuple[Reject, ...]
    refusals: Mapping[str, Verdict]  # by accelerator


def search(problem: Problem) -> Outcome:
    """Look for ways, dearest means last."""
    ask = problem.ask
    refusals: dict[str, Verdict] = {}
    estimators: list[Estimator] = []
    for gpu in _types(problem):
        refused = techniques.refusal(ask, gpu)
        if refused is not None:
            refusals[gpu.name] = refused
        else:
            estimators.append(estimator(problem, gpu))
    slow: list[Candidate] = []
    rejects: list[Reject] = []
    for depth in _PASSES:
        if depth.stages and problem.request.pipeline is not None:
            continue
        fitting: list[Candidate] = []
        for each in estimators:
            for found in enumerate_candidates(ask, each, depth):
                if isinstance(found, Reject):
                    rejects.append(found)
                elif objectives.missed(problem.request.targets, found):
                    slow.append(found)
                else:
                    fitting.append(found)
        if fitting:
            ordered = _ordered(problem, fitting, by_loss=depth.lossy)
            return Outcome(tuple(ordered), depth, tuple(slow), tuple(rejects), refusals)
    return Outcome((), None, tuple(slow), tuple(rejects), refusals)


def _types(problem: Problem) -> list[Gpu]:
    """Accelerators to look at, in the order of preference, else by name."""
    wanted = problem.request.accelerators
    if wanted:
        return [problem.gpus[name] for name in dict.fromkeys(wanted)]
    types = [problem.gpus[name] for name in sorted(problem.gpus)]
    # Processors serve when asked for by name, or when there is nothing else.
    return [gpu for gpu in types if not gpu.shared_memory] or types


def estimator(problem: Problem, gpu: Gpu) -> Estimator:
    """The models of memory and time for one type."""
    ask, request = problem.ask, problem.request
    return estimator_of(ask, gpu, request.workload, request.engine_version, problem.calibrate)


def _ordered(
    problem: Problem, candidates: Sequence[Candidate], *, by_loss: bool
) -> list[Candidate]:
    """Best first: what the cluster has, the order of preference, quality, then the objective."""
    wanted = problem.request.accelerators
    groups: dict[tuple[float, ...], list[Candidate]] = {}
    for each in candidates:
        have = 0
        if problem.inventory is not None:
            ranks = each.configuration.accelerators // each.configuration.pipeline
            have = problem.inventory.rank(each.gpu.name, ranks)
        preferred = wanted.index(each.gpu.name) if wanted else 0
        loss = each.unwanted if by_loss else 0.0
        groups.setdefault((have, preferred, loss), []).append(each)
    return [
        each
        for group in sorted(groups)
        for each in objectives.rank(problem.request.objective, groups[group])
    ]
