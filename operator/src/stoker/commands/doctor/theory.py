"""What the planner's model of time says of the plan that runs, at the load that was measured.

What bounds a step is found by taking a part away: without its operations, without its reads of
memory, without its messages, without the host's work; the part whose absence shortens the step most
bounds it. So nothing of the roofline is written twice.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from stoker.catalog.gpus import Gpu
from stoker.catalog.load import builtin_gpus
from stoker.catalog.overrides import gpus_of
from stoker.commands import statuses
from stoker.commands.doctor.figures import Figures
from stoker.model.sizing import Configuration
from stoker.plan.stored import stored_in
from stoker.planner.calibration import Calibration, calibration_of
from stoker.planner.time import Pace, linear_rate_of, pace_of
from stoker.settings import AcceleratorSettings
from stoker_worker import modelfacts
from stoker_worker.modelfacts import FactsError, ModelFacts

COMPUTE: Final = "compute"
BANDWIDTH: Final = "memory bandwidth"
HOST: Final = "host CPU"
NETWORK: Final = "network"


@dataclass(frozen=True, slots=True)
class Theory:
    """The plan, the model and the hardware, as far as a status tells them."""

    facts: ModelFacts
    gpu: Gpu
    configuration: Configuration
    calibration: Calibration

    def pace(self, **changes: Any) -> Pace:  # noqa: ANN401 - fields of a configuration
        """Of the plan, or of the plan with other fields."""
        changed = replace(self.configuration, **changes)
        return pace_of(self.facts, self.gpu, changed, self.calibration)

    def load(self, figures: Figures) -> tuple[float, float]:
        """Requests in a step of one rank, and their mean length so far."""
        batch = max(1.0, (figures.running or 1.0) / self.configuration.data)
        context = (figures.prompt_tokens or 0.0) + (figures.generated_tokens or 0.0) / 2
        return batch, context

    def token_s(self, figures: Figures, pace: Pace | None = None) -> float:
        """Time between two tokens at that load, in seconds."""
        batch, context = self.load(figures)
        used = self.pace() if pace is None else pace
        return used.decode_s(batch, context)

    @property
    def peak_flops(self) -> float:
        """Operations per second of matrix products of one accelerator."""
        return linear_rate_of(self.facts, self.gpu, self.configuration)

    def parts(self, figures: Figures) -> dict[str, float]:
        """Share of a step that each part costs: what would be saved without it."""
        pace = self.pace()
        prompts = _prompts_per_step(figures, pace)
        batch, context = self.load(figures)

        def step(of: Pace) -> float:
            return of.step_s(batch, context, prompts, context / 2)

        without = {
            COMPUTE: replace(pace, token_s=0.0, head_s=0.0, attention_flops=math.inf),
            BANDWIDTH: replace(
                pace, dense_s=0.0, batch_s=0.0, experts_s=0.0, kv_bandwidth=math.inf
            ),
            NETWORK: replace(pace, message_s=0.0, message_token_s=0.0),
            HOST: replace(pace, fixed_s=0.0, host_s=0.0, sequence_s=0.0),
        }
        whole = step(pace)
        return {name: 1 - step(each) / whole for name, each in without.items()} if whole else {}


def theory_of(status: Mapping[str, Any], config: Mapping[str, Any], version: str) -> Theory | None:
    """From a service's status and the administrator's file; None where one of them says too little.

    `version` is the engine's, empty where it is not known.
    """
    stored = stored_in(status)
    if stored is None or stored.configuration is None:
        return None
    try:
        text = statuses.text(statuses.mapping(status.get("model")).get("facts"))
        facts = modelfacts.from_json(text or "")
    except FactsError:
        return None
    gpu = _gpus(config).get(stored.configuration.accelerator)
    if gpu is None:
        return None
    return Theory(facts, gpu, stored.configuration, calibration_of(gpu, facts, version))


def _gpus(config: Mapping[str, Any]) -> dict[str, Gpu]:
    """The catalogue with the administrator's types, where his file may be read and used."""
    try:
        entries = {
            str(name): AcceleratorSettings.model_validate(entry or {})
            for name, entry in statuses.mapping(config.get("accelerators")).items()
        }
        return {**builtin_gpus(), **gpus_of(entries)}
    except ValueError:
        return builtin_gpus()


def _prompts_per_step(figures: Figures, pace: Pace) -> float:
    """Tokens of prompts in a mean step, from the measured times; at most a chunk."""
    if not figures.prompts or not figures.itl_s:
        return 0.0
    return min(float(pace.chunk), figures.prompts * figures.itl_s * pace.tokens_per_step)
