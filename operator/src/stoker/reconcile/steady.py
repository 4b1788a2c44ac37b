"""A pass that would say what the last one said, known without planning it again.

A busy service's load changes with every look, and with it nothing else: the same objects and pods,
the same number of replicas for the same reason. To plan that anew takes thirty times as long as to
decide it. So a pass that had nothing to do is remembered, and those after it end with the decision,
until anything but the load differs or the plan's own time has come. What stands in the status of
the load itself is refreshed every `OTHER_LOAD_S` at most; with the same load too a plan is made
again now and then, as one that forgot to name its time must not wait for ever.
"""

from dataclasses import dataclass, replace
from typing import Final, Self

from stoker.model.load import Load
from stoker.model.observed import Observed
from stoker.model.plan import Plan
from stoker.model.scale import ScaleDecision

OTHER_LOAD_S: Final = 10.0
SAME_LOAD_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Steady:
    """What the last pass saw and decided. Times in monotonic seconds."""

    observed: Observed
    decided: tuple[object, ...]
    load: tuple[int, ...]
    planned_at: float
    wake_at: float | None

    @classmethod
    def after(cls, observed: Observed, scale: ScaleDecision, plan: Plan, now: float) -> Self | None:
        """After a pass that went well; None where it had something to do."""
        if plan.actions or plan.costs or plan.cache is not None or scale.keep is not None:
            return None
        return cls(
            replace(observed, load=None), _decided(scale), _counts(scale.load), now, plan.wake_at
        )

    def holds(self, observed: Observed, scale: ScaleDecision, now: float) -> bool:
        """Whether a plan for this would be the last one again."""
        longest = SAME_LOAD_S if _counts(scale.load) == self.load else OTHER_LOAD_S
        return (
            now < self.planned_at + longest
            and (self.wake_at is None or now < self.wake_at)
            and scale.keep is None
            and _decided(scale) == self.decided
            and replace(observed, load=None) == self.observed
        )


def _decided(scale: ScaleDecision) -> tuple[object, ...]:
    return scale.replicas, scale.verdict.reason, scale.active, scale.activity


def _counts(load: Load | None) -> tuple[int, ...]:
    return () if load is None else (load.held, load.waiting, load.running)
