"""What one replica is to the simulator: how long its steps take and what it holds.

Two sources of step times:

* a plan: the planner's time model (`stoker.planner.time.Pace`), with what a running engine said
  of it (`Residual`);
* measured coefficients (`Linear`): a step takes a fixed time, plus so much per sequence, per token
  of context that these read, per token of prompt and per key that prompt tokens attend to. They
  can be fitted to any engine's own step times.

Data parallel ranks and pipeline stages share the sequences evenly and move in step: the batch of
each is what it has of the whole, and the replica's chunk is that of all ranks. Of speculation, each
step has the mean yield.
"""

from dataclasses import dataclass
from typing import Final

from stoker.model.sizing import Configuration, Planned
from stoker.planner.batching import Steps
from stoker.planner.calibration import Residual
from stoker.planner.time import Pace

_AS_PLANNED: Final = Residual()


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
class PlannedSteps:
    """The planner's time model for a whole replica."""

    pace: Pace
    residual: Residual = _AS_PLANNED

    @property
    def chunk(self) -> int:
        """Tokens per step, of all data parallel ranks."""
        return self.pace.chunk * self.pace.ranks

    def step_s(
        self,
        decodes: float,
        context: float = 0.0,
        prompt_tokens: float = 0.0,
        prompt_keys: float = 0.0,
        sampled: float | None = None,
    ) -> float:
        """Seconds of one step of the replica."""
        pace = self.pace
        share = 1 / (pace.ranks * pace.stages)
        heads = decodes if sampled is None else sampled
        both = pace.step_s(
            decodes * share, context, prompt_tokens * share, prompt_keys, heads * share
        )
        if not decodes:
            return both * self.residual.ttft
        if not pace.speculative_tokens:
            return both * self.residual.itl
        # Prompts add to a step what they would add without drafts.
        added = both - pace.step_s(decodes * share, context) if prompt_tokens else 0.0
        return (pace.decode_s(decodes / pace.ranks, context) + added) * self.residual.itl


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
        PlannedSteps(pace, residual or _AS_PLANNED),
        plan.memory.kv_tokens,
        used.max_num_seqs * used.data,
        used.block_size,
        used.accelerators,
    )
