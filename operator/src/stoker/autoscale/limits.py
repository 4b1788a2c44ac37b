"""Between which numbers of replicas a decision may choose at this moment, and who says so.

    floor   = max( minReplicas, minReplicas of open windows and of those that begin within a start )
    ceiling = min( maxReplicas, maxReplicas of open windows, budget // price of one replica )

The ceiling wins: money and what an administrator's quota leaves are harder limits than comfort. A
budget lets no replica more come while nobody can tell what one costs: before there is a plan, and
while replicas of a revision run whose price is not known. A budget below one replica is refused
elsewhere (`stoker.plan.budget`); here it takes nothing away, so that a slip of the pen is no
outage, and adds nothing either. Wall time may jump: windows are looked at anew every time, and at
least every ten minutes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from stoker.autoscale.policy import Policy
from stoker.model import reasons, schedule
from stoker.model.budget import Budget
from stoker.model.moment import Moment
from stoker.model.plan import Verdict

# A wall clock that was set is noticed this late.
_LOOK_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Bound:
    """One number, the word for programs and the words for people."""

    replicas: int
    reason: str
    words: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds now."""

    floor: Bound
    ceiling: Bound
    changes_at: float | None  # monotonic; when the passing of time alone may change it

    def clamp(self, replicas: int, verdict: Verdict) -> tuple[int, Verdict]:
        """The nearest allowed number; who decided is said after what was wanted."""
        bound = self.floor if replicas < self.floor.replicas else self.ceiling
        if self.floor.replicas <= replicas <= self.ceiling.replicas:
            return replicas, verdict
        words = f"{verdict.message}; {bound.words}" if verdict.message else bound.words
        return bound.replicas, Verdict(bound.reason, words)

    def within(self, policy: Policy) -> Policy:
        """The policy of this moment."""
        return replace(policy, min_replicas=self.floor.replicas, max_replicas=self.ceiling.replicas)

    @property
    def words(self) -> str:
        """What else than minReplicas and maxReplicas decides, in sentences."""
        told = [each for each in (self.floor, self.ceiling) if each.reason != reasons.WITHIN_BOUNDS]
        return "".join(f" {each.words[0].upper()}{each.words[1:]}." for each in told)


def limits_of(policy: Policy, wanted: int | None, now: Moment) -> Limits:
    """The limits of this moment.

    Parameters
    ----------
    wanted
        Replicas that the last decision wanted; None before the first one.
    """
    entries = schedule.valid(policy.schedule)
    floors = [
        Bound(
            policy.min_replicas,
            reasons.WITHIN_BOUNDS,
            f"minReplicas makes it {policy.min_replicas}",
        ),
        *_floors(entries, now.unix, policy.lead_s),
    ]
    ceilings = [
        Bound(
            policy.max_replicas,
            reasons.WITHIN_BOUNDS,
            f"maxReplicas makes it {policy.max_replicas}",
        ),
        *_ceilings(entries, now.unix),
    ]
    if policy.budget is not None:
        first = max(1, policy.min_replicas)
        ceilings.append(_affordable(policy.budget, first if wanted is None else wanted))
    ceiling = min(ceilings, key=lambda bound: bound.replicas)
    floor = max(floors, key=lambda bound: bound.replicas)
    if floor.replicas > ceiling.replicas:
        floor = ceiling
    changes_at = None
    if entries:
        moment = schedule.next_change(entries, now.unix, policy.lead_s)
        pause = _LOOK_S if moment is None else min(_LOOK_S, moment - now.unix)
        changes_at = now.monotonic + pause
    return Limits(floor, ceiling, changes_at)


def _floors(entries: Iterable[schedule.Entry], unix: float, lead_s: float) -> Iterable[Bound]:
    for entry in entries:
        if entry.minimum is None:
            continue
        began, ahead = entry.active(unix), entry.ahead(unix, lead_s)
        if began is None and ahead is None:
            continue
        begin = f"began {entry.clock(began)}" if began is not None else ""
        begin = begin or f"begins {entry.clock(ahead or 0.0)}"
        yield Bound(
            entry.minimum,
            reasons.WITHIN_SCHEDULE,
            f"the schedule that {begin} asks for {entry.minimum}",
        )


def _ceilings(entries: Iterable[schedule.Entry], unix: float) -> Iterable[Bound]:
    for entry in entries:
        began = entry.active(unix)
        if began is not None and entry.maximum is not None:
            yield Bound(
                entry.maximum,
                reasons.WITHIN_SCHEDULE,
                f"the schedule that began {entry.clock(began)} allows {entry.maximum}",
            )


def _affordable(budget: Budget, wanted: int) -> Bound:
    allowed = budget.allows
    said = f"the budget of {_dollars(budget.per_hour)} an hour"
    if allowed is None:
        words = f"{said} lets no replica more come while nobody knows what each of them costs"
        return Bound(wanted, reasons.WITHIN_BUDGET, words)
    if allowed < 1:
        words = f"{said} is less than one replica costs, so no more come"
        return Bound(wanted, reasons.WITHIN_BUDGET, words)
    words = f"{said} allows {allowed} at {_dollars(budget.price or Decimal(0))} each"
    return Bound(allowed, reasons.WITHIN_BUDGET, words)


def _dollars(amount: Decimal) -> str:
    return f"${amount:.2f}"
