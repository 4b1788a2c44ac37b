"""The decision: what was asked, what the model is, what there is; one explained plan out.

Ways are enumerated per accelerator type (`candidates`), in passes that spend quality and nodes only
when nothing fits without (`search`). Those that fit and keep the targets are ranked (`objectives`);
the best one is explained (`techniques`) and written down as flags (`flags`), the others become
alternatives. Where there is none, `remedies` plans the ways out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from stoker.catalog.engines import EngineFeatures
from stoker.catalog.gpus import Gpu
from stoker.model import reasons
from stoker.model.inventory import Supply
from stoker.model.plan import Verdict
from stoker.model.sizing import GIB, Infeasible, Planned, Request, Workload
from stoker.model.work import Work
from stoker.planner import alternatives, checks, flags, objectives, remedies, techniques, words
from stoker.planner.ask import Decided
from stoker.planner.calibration import Residual
from stoker.planner.candidates import Candidate
from stoker.planner.estimate import Calibrate
from stoker.planner.search import Outcome, Problem, estimator, search
from stoker.planner.steps import PlannedSteps
from stoker.planner.work import work_of
from stoker_worker.modelfacts import Layers, ModelFacts

# Where neither the model nor the user says how long a request may be.
_UNKNOWN_LENGTH: Final = 4096


def plan(
    request: Request,
    facts: ModelFacts,
    gpus: Mapping[str, Gpu],
    features: EngineFeatures,
    *,
    inventory: Supply | None = None,
    calibrate: Calibrate | None = None,
) -> Planned | Infeasible:
    """One replica of this model for this request, or why there is none and what would help.

    Pure and deterministic. `gpus` is the catalogue; `inventory`, what the nodes have, only orders
    it; `calibrate` gives the measurements to compute with (default: those that come with the
    planner).
    """
    refused = checks.refuse(request, facts, gpus)
    problem = problem_of(request, facts, gpus, features, inventory=inventory, calibrate=calibrate)
    if refused is not None:
        ways = remedies.without_wish(problem, refused)
        return Infeasible(refused, remedies=ways)
    outcome = search(problem)
    if outcome.chosen:
        return _planned(problem, outcome)
    return _infeasible(problem, outcome)


def problem_of(
    request: Request,
    facts: ModelFacts,
    gpus: Mapping[str, Gpu],
    features: EngineFeatures,
    *,
    inventory: Supply | None = None,
    calibrate: Calibrate | None = None,
) -> Problem:
    """The same, as far as models and wishes allow: no longer prompts than the model takes."""
    facts = _complete(request, facts)
    request = replace(request, workload=_within(request, facts))
    return Problem(request, facts, gpus, features, inventory, calibrate)


def _planned(problem: Problem, outcome: Outcome) -> Planned:
    best = outcome.chosen[0]
    decided = Decided(
        gpu=best.gpu,
        configuration=best.configuration,
        memory=best.memory,
        expected=best.expected,
        concurrency=best.concurrency,
        reuse=estimator(problem, best.gpu).reuse(best.configuration),
        lossless_fits=outcome.depth is not None and not outcome.depth.lossy,
        residual=_residual(problem, best),
    )
    configuration = best.configuration
    price = words.dollars(best.expected.price_per_hour)
    message = (
        f"{configuration.accelerators} x {best.gpu.name} ({price} per hour): "
        f"{configuration.max_model_len:,} tokens of context, "
        f"{words.count(best.concurrency, 'request')} at once, "
        f"{words.seconds(best.expected.itl_s.typical)} per token"
    )
    return Planned(
        configuration=configuration,
        memory=best.memory,
        expected=best.expected,
        concurrency=best.concurrency,
        techniques=techniques.explained(problem.ask, decided),
        alternatives=alternatives.others(problem, outcome.chosen),
        args=flags.args_of(configuration, problem.facts, best.gpu, problem.features),
        env=flags.env_of(configuration),
        verdict=Verdict(reasons.PLANNED, message),
        work=_work(problem, best),
    )


def _work(problem: Problem, best: Candidate) -> Work | None:
    """What a request of the workload takes of a replica that keeps its targets.

    Without what engines have taught: who reads it knows more by then (`status.plan.measured`).

    Of processors the catalogue does not know how many cores a pod gets, so nobody knows their pace.
    """
    if best.gpu.shared_memory:
        return None
    used, workload = best.configuration, problem.request.workload
    steps = PlannedSteps(estimator(problem, best.gpu).pace(used))
    return work_of(
        steps,
        used.max_num_seqs * used.data,
        best.memory.kv_tokens,
        workload.input_tokens,
        workload.output_tokens,
        problem.request.targets.itl_s or best.expected.itl_s.high,
    )


def _residual(problem: Problem, best: Candidate) -> Residual:
    if problem.calibrate is None:
        return Residual()
    found = problem.calibrate(best.gpu, problem.facts, problem.request.engine_version)
    return found.residual_of(best.configuration)


def _infeasible(problem: Problem, outcome: Outcome) -> Infeasible:
    if outcome.slow:
        return _too_slow(problem, outcome.slow)
    if not outcome.rejects:
        refused = next(iter(outcome.refusals.values()))
        others = len(outcome.refusals) - 1
        more = f" ({words.count(others, 'other type')} refused as well)" if others else ""
        verdict = Verdict(refused.reason, f"{refused.message}{more}")
        return Infeasible(verdict, remedies=remedies.without_wish(problem, refused))
    nearest = min(outcome.rejects, key=lambda each: (each.shortage, each.gpu.name))
    configuration, memory = nearest.configuration, nearest.memory
    shortage = math.ceil(nearest.shortage / GIB * 10) / 10
    length = problem.request.max_model_len or problem.ask.needed_context
    taken = memory.activations + memory.non_torch + memory.graphs + memory.adapters + memory.draft
    stored = "16 bits" if configuration.quantization == "none" else configuration.quantization
    verdict = Verdict(
        reasons.DOES_NOT_FIT,
        f"{shortage:.1f} GiB are missing per accelerator on {configuration.accelerators} x "
        f"{nearest.gpu.name}: of {words.gib(memory.usable)} usable, weights take "
        f"{words.gib(memory.weights)} ({stored}), the engine "
        f"{words.gib(taken + memory.reserve)}, and "
        f"{words.gib(nearest.needed)} are needed for requests of {length:,} tokens",
    )
    return Infeasible(verdict, shortage, remedies.ways_out(problem, nearest))


def _too_slow(problem: Problem, slow: Sequence[Candidate]) -> Infeasible:
    targets = problem.request.targets

    def off(each: Candidate) -> float:
        return objectives.distance(objectives.missed(targets, each))

    nearest = min(objectives.rank(problem.request.objective, slow), key=off)
    misses = objectives.describe(objectives.missed(targets, nearest))
    verdict = Verdict(
        reasons.TARGET_NOT_REACHABLE,
        f"optimization.targets: the nearest is {misses}, on {nearest.configuration.accelerators} x "
        f"{nearest.gpu.name} with {words.count(nearest.expected.concurrency, 'request')} at once",
    )
    return Infeasible(verdict, 0.0, remedies.without_targets(problem, nearest))


def _complete(request: Request, facts: ModelFacts) -> ModelFacts:
    """Facts with a length, where the model's files tell none, and layers by kind.

    The order of layers makes no difference to memory and time; fewer runs are added up faster.
    """
    kinds: dict[Layers, int] = {}
    for run in facts.layers:
        kind = replace(run, count=1)
        kinds[kind] = kinds.get(kind, 0) + run.count
    layers = tuple(replace(kind, count=count) for kind, count in kinds.items())
    if facts.max_positions > 0:
        return replace(facts, layers=layers)
    needed = request.workload.input_tokens + request.workload.output_tokens
    limit = max(request.max_model_len or 0, needed, _UNKNOWN_LENGTH)
    return replace(facts, layers=layers, max_positions=limit)


def _within(request: Request, facts: ModelFacts) -> Workload:
    """The workload as far as the context goes: longer prompts cannot be sent."""
    workload = request.workload
    limit = min(request.max_model_len or facts.max_positions, facts.max_positions)
    if facts.task != "generate":
        return replace(workload, input_tokens=min(workload.input_tokens, limit), output_tokens=0)
    outputs = min(workload.output_tokens, max(1, limit // 2))
    inputs = max(1, min(workload.input_tokens, limit - outputs))
    return replace(workload, input_tokens=inputs, output_tokens=min(outputs, limit - inputs))
