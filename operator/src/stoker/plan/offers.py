"""Whether what the planner would choose today is worth a restart, and in which words.

The planner's order says which plan is better; an offer is made only when at least one number that
people look at moves by more than a tenth, because estimates err by more than that.
"""

from dataclasses import dataclass
from typing import Any, Final

from stoker.model import reasons
from stoker.model.plan import Verdict
from stoker.model.sizing import Expected, Planned
from stoker.naming import ANNOTATION_ACCEPT
from stoker.plan.stored import duration, money, offer_id

_BETTER: Final = 0.9
_EVERY: Final = "true"


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan that may replace the one that runs."""

    id: str
    summary: str
    saves: str

    @property
    def status(self) -> dict[str, Any]:
        """As status.plan holds it."""
        return {"id": self.id, "summary": self.summary, "saves": self.saves}

    @property
    def verdict(self) -> Verdict:
        """For the condition BetterPlanAvailable."""
        return Verdict(
            reasons.BETTER_PLAN,
            f"{self.summary} would give {self.saves}. It restarts the replicas; accept it with "
            f"the annotation {ANNOTATION_ACCEPT}={self.id}",
        )

    def accepted_by(self, annotation: str) -> bool:
        """Whether the service's owner has accepted it."""
        return annotation in {self.id, _EVERY}


def offer_of(planned: Planned, summary: str, runs: tuple[Expected, int] | None) -> Offer | None:
    """The offer of this plan beside what runs now (None: that cannot be told)."""
    name = offer_id(planned.configuration)
    if runs is None:
        return Offer(name, summary, "a plan, with its memory and times known")
    saves = _saves(planned, *runs)
    return Offer(name, summary, saves) if saves else None


def _saves(planned: Planned, now: Expected, fits: int) -> str:
    """The numbers that change, those that get better first; empty where none does by enough."""
    then = planned.expected
    pairs = [
        (_over(then.price_per_hour, now.price_per_hour), _prices(then, now)),
        (
            _over(then.itl_s.typical, now.itl_s.typical),
            f"{duration(then.itl_s.typical)} instead of {duration(now.itl_s.typical)} per token",
        ),
        (_over(then.ttft_s.typical, now.ttft_s.typical), f"first token after {_first(then, now)}"),
        (
            _over(fits, planned.concurrency),
            f"{planned.concurrency} instead of {fits} conversations at once",
        ),
    ]
    told = sorted((ratio, words) for ratio, words in pairs if not _BETTER < ratio < 1 / _BETTER)
    if not told or told[0][0] > _BETTER:
        return ""
    return ", ".join(words for _, words in told)


def _over(new: float | None, old: float | None) -> float:
    """Below 1 is better; a number that one of them lacks decides nothing."""
    if not new or not old:
        return 1.0
    return new / old


def _first(then: Expected, now: Expected) -> str:
    return f"{duration(then.ttft_s.typical)} instead of {duration(now.ttft_s.typical)}"


def _prices(then: Expected, now: Expected) -> str:
    return f"${money(then.price_per_hour)} instead of ${money(now.price_per_hour)} per hour"
