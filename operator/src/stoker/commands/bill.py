"""What is told of a service's cost: by its status alone, and by what Prometheus recorded.

Names are those that the chart's rules record; docs/cost.md has the formulas. What is absent is not
known, and stays absent in every form of the answer.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from stoker.commands.prometheus import Sample
from stoker.commands.statuses import mapping, whole

WINDOWS: Final = ("1h", "1d")
_PRICE: Final = "stoker:price_dollars_per_hour"
_SPENT: Final = "stoker:cost_dollars:increase"
_REQUEST: Final = "stoker:cost_per_request_dollars:mean"
_REQUEST_P95: Final = "stoker:cost_per_request_dollars:p95_1h"
_TOKENS: Final = "stoker:cost_per_million_tokens_dollars:mean"
_STATIC: Final = "stoker:static_cost_dollars:rate"
_PUBLIC: Final = "stoker:public_cost_dollars:rate5m"
_WINDOWED: Final = (_SPENT, _REQUEST, _TOKENS)
_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Window:
    """What a service cost over a while, in US dollars; None: not known, or there was no request."""

    spent: Mapping[str, float] = field(default_factory=dict)  # by share
    per_request: float | None = None
    per_request_p95: float | None = None
    per_million: Mapping[str, float] = field(default_factory=dict)  # input, output

    @property
    def total(self) -> float | None:
        """All shares together."""
        return sum(self.spent.values()) if self.spent else None


@dataclass(frozen=True, slots=True)
class Bill:
    """All that is told of one service's cost. US dollars."""

    service: str
    replicas: int | None
    per_hour: float | None  # now, of all replicas on a node
    of_replica: float | None  # by the plan, on demand
    by_capacity: Mapping[str, float] = field(default_factory=dict)  # spot, on_demand; per hour
    static_per_hour: float | None = None  # of the most replicas of the last day, all the time
    public_per_hour: float | None = None  # what a public API takes for the tokens of now
    public_prices: Mapping[str, float] = field(default_factory=dict)  # per million tokens
    windows: Mapping[str, Window] = field(default_factory=dict)


def of_status(body: Mapping[str, Any], service: str) -> Bill:
    """What the object says itself."""
    status = mapping(body.get("status"))
    expected = mapping(mapping(status.get("plan")).get("expected"))
    cost = mapping(mapping(body.get("spec")).get("cost"))
    public = mapping(cost.get("publicPrice"))
    prices = {each: _dollars(public.get(each)) for each in ("input", "output")}
    return Bill(
        service=service,
        replicas=whole(status.get("replicas")),
        per_hour=_dollars(mapping(status.get("cost")).get("perHour")),
        of_replica=_dollars(expected.get("pricePerHour")),
        public_prices={each: price for each, price in prices.items() if price is not None},
    )


def query(namespace: str, name: str) -> str:
    """Everything that is recorded of a service's cost, in PromQL."""
    windowed = (f"{each}{window}" for each in _WINDOWED for window in WINDOWS)
    names = "|".join((_PRICE, _STATIC, _PUBLIC, _REQUEST_P95, *windowed))
    return f'{{__name__=~"{names}",namespace="{namespace}",service="{name}"}}'


def with_series(bill: Bill, samples: Iterable[Sample]) -> Bill | None:
    """The same with Prometheus' samples for the query; None where there are none."""
    found: dict[str, dict[str, float]] = {}
    for labels, value in samples:
        kind = next((labels[n] for n in ("share", "capacity", "direction") if n in labels), "")
        values = found.setdefault(labels.get("__name__", ""), {})
        values[kind] = values.get(kind, 0.0) + value
    if not found:
        return None
    prices = found.get(_PRICE, {})
    return Bill(
        service=bill.service,
        replicas=bill.replicas,
        per_hour=sum(prices.values()) if prices else bill.per_hour,
        of_replica=bill.of_replica,
        by_capacity=prices,
        static_per_hour=_hourly(found.get(_STATIC)),
        public_per_hour=_hourly(found.get(_PUBLIC)),
        public_prices=bill.public_prices,
        windows={
            window: Window(
                spent=found.get(f"{_SPENT}{window}", {}),
                per_request=found.get(f"{_REQUEST}{window}", {}).get(""),
                per_request_p95=found.get(_REQUEST_P95, {}).get("") if window == "1h" else None,
                per_million=found.get(f"{_TOKENS}{window}", {}),
            )
            for window in WINDOWS
        },
    )


def as_data(bill: Bill) -> dict[str, Any]:
    """For programs: numbers in US dollars, None for what is not known."""
    per_day = None if bill.per_hour is None else bill.per_hour * 24
    return {
        "service": bill.service,
        "currency": "USD",
        "replicas": bill.replicas,
        "pricePerHour": bill.per_hour,
        "pricePerDay": per_day,
        "pricePerHourByCapacity": dict(bill.by_capacity),
        "replicaPricePerHour": bill.of_replica,
        "staticFleetPerHour": bill.static_per_hour,
        "publicApiPerHour": bill.public_per_hour,
        "publicPricePerMillionTokens": dict(bill.public_prices),
        "windows": {
            name: {
                "spent": each.total,
                "spentByShare": dict(each.spent),
                "perRequest": each.per_request,
                "perRequestP95": each.per_request_p95,
                "perMillionTokens": dict(each.per_million),
            }
            for name, each in bill.windows.items()
        },
    }


def _dollars(value: object) -> float | None:
    """A sum as a status or a spec holds it: a number in a text."""
    try:
        found = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return None
    return found if math.isfinite(found) and found >= 0 else None


def _hourly(values: Mapping[str, float] | None) -> float | None:
    return sum(values.values()) * _HOUR_S if values else None
