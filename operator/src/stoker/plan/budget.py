"""Whether the budget of a service pays for the replicas that it always has.

The API server cannot know: what a replica costs is the plan's answer. So a budget that is too small
is refused like a plan that does not fit: what runs goes on, and nothing new begins.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from stoker.api.scaling import Scaling
from stoker.model import reasons
from stoker.model.budget import budget_of, price_in
from stoker.model.plan import Verdict


def refuse(
    scaling: Scaling | None, plan: Mapping[str, Any] | None, accelerator: str
) -> Verdict | None:
    """Why the budget cannot be kept; None where it can, or there is none.

    Parameters
    ----------
    plan
        The plan as the status has it.
    accelerator
        What a replica runs on, for the words.
    """
    if scaling is None:
        return None
    price = price_in(plan)
    budget = budget_of(scaling, price)
    if budget is None:
        return None
    if price is None or budget.allows is None:
        return Verdict(
            reasons.BUDGET_NEEDS_PRICE,
            f"scaling.budget: no price is known of a replica on {accelerator}; remove budget and "
            "bound the number with maxReplicas, or have the administrator describe the type with "
            f"its pricePerHour in the chart's accelerators.{accelerator}.",
        )
    if budget.allows < 1:
        return Verdict(
            reasons.BUDGET_TOO_SMALL,
            f"scaling.budget: one replica on {accelerator} costs ${price:.2f} an hour, and "
            f"maxPerHour is ${budget.per_hour:.2f}; write maxPerHour: '{_up(price)}' or more, or "
            f"have a cheaper plan made with optimization.targets.pricePerHour: "
            f"'{scaling.budget and scaling.budget.max_per_hour}'.",
        )
    name, least = _least(scaling)
    if budget.allows < least:
        return Verdict(
            reasons.BUDGET_TOO_SMALL,
            f"scaling.{name}: {least} replicas cost ${price * least:.2f} an hour at ${price:.2f} "
            f"each, and budget.maxPerHour is ${budget.per_hour:.2f}; write {budget.allows} or "
            f"less, or maxPerHour: '{_up(price * least)}'.",
        )
    return None


def _least(scaling: Scaling) -> tuple[str, int]:
    """The largest number that is asked for without any load, and the field that does."""
    asked = [("minReplicas", scaling.min_replicas)]
    asked += [
        (f"schedule[{place}].minReplicas", each.min_replicas or 0)
        for place, each in enumerate(scaling.schedule)
    ]
    return max(asked, key=lambda each: each[1])


def _up(amount: Decimal) -> str:
    return f"{amount:.2f}"
