"""What replicas may cost together, in US dollars per hour."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from stoker.api.scaling import Scaling

# As many as there can be of something that costs nothing.
_UNBOUNDED: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Budget:
    """A ceiling, and the price of one replica; None: nobody knows it."""

    per_hour: Decimal
    price: Decimal | None = None

    @property
    def allows(self) -> int | None:
        """Replicas that it pays for; None where no price is known."""
        if self.price is None:
            return None
        return int(self.per_hour // self.price) if self.price > 0 else _UNBOUNDED


def budget_of(scaling: Scaling, price: Decimal | None) -> Budget | None:
    """The ceiling of a spec; None where there is none."""
    given = scaling.budget
    return None if given is None else Budget(Decimal(given.max_per_hour), price)


def price_in(plan: object) -> Decimal | None:
    """The price of one replica that a plan in a status tells, to the cent."""
    expected: Any = plan.get("expected") if isinstance(plan, Mapping) else None
    told = expected.get("pricePerHour") if isinstance(expected, Mapping) else None
    if not isinstance(told, str):
        return None
    try:
        price = Decimal(told)
    except InvalidOperation:
        return None
    return price if price.is_finite() and price >= 0 else None
