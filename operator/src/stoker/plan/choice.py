"""What the planner answers for one service, and what a configuration that was chosen means.

The planner takes a while and answers the same to the same question, so its answers are kept.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.catalog.enginefile import version_of_image
from stoker.catalog.engines import EngineFeatures
from stoker.catalog.gpus import Gpu
from stoker.catalog.load import builtin_engines
from stoker.model.inventory import Supply
from stoker.model.plan import Verdict
from stoker.model.platform import Platform
from stoker.model.replica import Run
from stoker.model.sizing import Configuration, Expected, Infeasible, Planned, Request
from stoker.model.timing import Seen
from stoker.plan import measured
from stoker.plan.measured import Measured
from stoker.plan.replica import types_of
from stoker.plan.stored import money
from stoker.planner import decide, feedback, flags
from stoker.planner.ask import Ask
from stoker.planner.calibration import Calibration, calibration_of, corrected
from stoker.planner.estimate import Calibrate, Estimator, estimator_of
from stoker.planner.feedback import Finding
from stoker.planner.request import request_of
from stoker.quantity import parse_quantity
from stoker_worker import modelfacts
from stoker_worker.modelfacts import ModelFacts

_KEPT: Final = 512
_REMEDIES: Final = 3


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that the answer depends on."""

    request: Request
    facts: str  # as they are kept
    platform: Platform
    memory_limit: int | None = None  # bytes that the engine's container may have
    plugins: tuple[str, ...] = ()  # packages of the image that is used
    # What nodes have of the types that may be chosen; None: nobody looked.
    supply: Supply | None = None
    measured: tuple[Measured, ...] = ()  # what engines of the service have taught

    @property
    def model(self) -> ModelFacts:
        """The facts, read."""
        return modelfacts.from_json(self.facts)

    @property
    def gpus(self) -> Mapping[str, Gpu]:
        """The catalogue; on processors the container's limit is all the memory there is."""
        limit = self.memory_limit
        if limit is None:
            return self.platform.gpus
        return {
            name: replace(gpu, memory_bytes=min(gpu.memory_bytes, limit + gpu.reserved_bytes))
            if gpu.shared_memory
            else gpu
            for name, gpu in self.platform.gpus.items()
        }

    @property
    def features(self) -> EngineFeatures:
        """What the engine can do at its version."""
        engine = builtin_engines()[self.request.engine]
        return engine.at(self.request.engine_version, self.plugins)

    @property
    def calibrate(self) -> Calibrate | None:
        """The planner's measurements, corrected by the service's own."""
        if not self.measured:
            return None
        taught = measured.by_type(self.measured)

        def calibrate(gpu: Gpu, facts: ModelFacts, version: str) -> Calibration:
            found = calibration_of(gpu, facts, version)
            known = taught.get(gpu.name)
            if not known:
                return found
            return corrected(found, next(iter(known.values())), known)

        return calibrate


def question_of(spec: InferenceServiceSpec, platform: Platform, facts: str) -> Question:
    """What to ask for this spec."""
    engine = platform.engines[spec.engine.name.value]
    version = version_of_image(spec.engine.image or engine.image)
    request = request_of(spec, version, engine.args, engine.env)
    limit = spec.template.resources.limits.get("memory")
    return Question(
        replace(request, accelerators=types_of(spec, platform)),
        facts,
        platform,
        None if limit is None else int(parse_quantity(limit)),
        # What another image brings, only its maker knows.
        engine.plugins if spec.engine.image in {None, engine.image} else (),
    )


@functools.lru_cache(maxsize=_KEPT)
def answer(question: Question) -> Planned | Infeasible:
    """The planner's answer."""
    supply = question.supply
    found = decide.plan(
        question.request,
        question.model,
        question.gpus,
        question.features,
        inventory=supply,
        calibrate=question.calibrate,
    )
    if supply is not None and isinstance(found, Infeasible):
        # The ways out are said in words that stay while nodes come and go.
        return answer(replace(question, supply=None))
    return found


@functools.lru_cache(maxsize=_KEPT)
def run_of(question: Question, configuration: Configuration) -> Run:
    """A configuration as flags and variables of today's engine."""
    gpu = question.gpus[configuration.accelerator]
    args = flags.args_of(configuration, question.model, gpu, question.features)
    return Run(
        args=tuple(sorted(args.items())),
        env=tuple(sorted(flags.env_of(configuration).items())),
        accelerator=configuration.accelerator,
        ranks=configuration.accelerators,
    )


@functools.lru_cache(maxsize=_KEPT)
def expected_now(question: Question, configuration: Configuration) -> tuple[Expected, int]:
    """What a configuration gives by today's knowledge, and the conversations that fit at once."""
    found = estimator(question, configuration)
    memory = found.memory(configuration)
    fits = found.concurrency(memory, configuration)
    return found.expected(configuration, max(1, fits)), fits


@functools.lru_cache(maxsize=_KEPT)
def kv_found(question: Question, configuration: Configuration, tokens: int) -> Finding:
    """The KV cache that the engine reports, over the estimate."""
    return feedback.kv_cache(estimator(question, configuration), configuration, tokens)


@functools.lru_cache(maxsize=_KEPT)
def times_found(
    question: Question, configuration: Configuration, seen: Seen
) -> tuple[Finding, Finding]:
    """The first token and the time per token that were seen, over the estimates for that load."""
    known = estimator(question, configuration)
    return (
        feedback.first_token(known, configuration, seen),
        feedback.next_token(known, configuration, seen),
    )


def impossible(found: Infeasible) -> Verdict:
    """The planner's words, with the first ways out."""
    message = found.verdict.message.rstrip(".")
    ways = []
    for each in found.remedies[:_REMEDIES]:
        price = money(each.expected.price_per_hour)
        costs = "" if price is None else f", ${price} per hour"
        ways.append(f"{each.change} ({each.concurrency} at once{costs})")
    if ways:
        message = f"{message}. What would do: {'; or '.join(ways)}"
    return Verdict(found.verdict.reason, f"{message}.")


def estimator(question: Question, configuration: Configuration) -> Estimator:
    """Memory and times of one way to run it, corrected by what its engines have taught."""
    request = question.request
    return estimator_of(
        Ask(request, question.model, question.features),
        question.gpus[configuration.accelerator],
        request.workload,
        request.engine_version,
        question.calibrate,
    )
