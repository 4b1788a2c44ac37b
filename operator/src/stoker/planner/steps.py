"""The time model of one rank (`Pace`) as that of a whole replica.

Data parallel ranks and pipeline stages share the sequences evenly and move in step: the batch of
each is what it has of the whole, and the replica's chunk is that of all ranks. Of speculation, each
step has the mean yield.
"""

from dataclasses import dataclass
from typing import Final

from stoker.planner.calibration import Residual
from stoker.planner.time import Pace

_AS_PLANNED: Final = Residual()


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
