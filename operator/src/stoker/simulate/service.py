"""What one replica is to the simulator: how long its steps take and what it holds.

Two sources of step times:

* a plan: the planner's time model (`stoker.planner.time.Pace`), with what a running engine said
  of it (`Residual`);
* measured coefficients (`Linear`): a step takes a fixed time, plus so much per sequence, per token
  of context that these read, per token of prompt and per key that prompt tokens attend to. They
  can be fitted to any engine's own step times.
"""

from dataclasses import dataclass

from stoker.model.sizing import Configuration, Planned
from stoker.planner.batching import Steps
from stoker.planner.calibration import Residual
from stoker.planner.steps import PlannedSteps
from stoker.planner.time import Pace


@dataclass(frozen=True, slots=True)
class Linear:
    """Step times from measured coefficients, in seconds."""

    step_s: float  # of every step
    sequence_s: float  # per sequence that gets a token
    context_token_s: float  # per token of context that these sequences read
    prompt_token_s: float  # per token of prompt
    prompt_key_s: float = 0.0  # per token of prompt and key that it attends to
    chunk: int = 2048


@dataclass(frozen=True, slots=True)
class LinearSteps:
    """`Linear` as the scheduler asks for it."""

    coefficients: Linear

    @property
    def chunk(self) -> int:
        """Tokens per step."""
        return self.coefficients.chunk

    def step_s(
        self,
        decodes: float,
        context: float = 0.0,
        prompt_tokens: float = 0.0,
        prompt_keys: float = 0.0,
        sampled: float | None = None,  # noqa: ARG002 - drawn tokens are not told apart
    ) -> float:
        """Seconds of one step."""
        if decodes + prompt_tokens <= 0:
            return 0.0
        of = self.coefficients
        decode = decodes * (of.sequence_s + context * of.context_token_s)
        prompt = prompt_tokens * (of.prompt_token_s + prompt_keys * of.prompt_key_s)
        return of.step_s + decode + prompt


@dataclass(frozen=True, slots=True)
class Service:
    """One replica's model of service."""

    steps: Steps
    kv_tokens: int  # that its KV cache holds
    max_num_seqs: int  # requests that it computes at once
    block_size: int = 16
    accelerators: int = 1  # that one replica is billed for


def measured_service(
    coefficients: Linear, kv_tokens: int, max_num_seqs: int, accelerators: int = 1
) -> Service:
    """A service from measured coefficients."""
    return Service(LinearSteps(coefficients), kv_tokens, max_num_seqs, accelerators=accelerators)


def planned_service(plan: Planned, pace: Pace, residual: Residual | None = None) -> Service:
    """A service as it was planned; `pace` is that of the plan's configuration."""
    used: Configuration = plan.configuration
    return Service(
        PlannedSteps(pace, residual or Residual()),
        plan.memory.kv_tokens,
        used.max_num_seqs * used.data,
        used.block_size,
        used.accelerators,
    )
