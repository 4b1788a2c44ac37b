"""What /metrics shows of cost. The ledgers are kept here, and only the leader has any.

A pass brings what it saw; whoever scrapes gets the sums up to that moment. Every line is made when
it is asked for, so a service that is gone leaves none behind. Lines that say nothing are left out
(a share without a cent, a peak of zero), as a thousand services share one page. The price is told
at zero too, for an average over a day must count the hours without a replica.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from stoker.catalog.capacity import Capacity
from stoker.clock import Clock
from stoker.cost import figures, ledger, prices
from stoker.cost.ledger import Ledger
from stoker.cost.prices import Charge
from stoker.model.moment import Moment
from stoker.model.observed import Key, Observed
from stoker.model.platform import Platform
from stoker.model.work import Work

_SERVICE: Final = ("namespace", "service")
# A hundred-thousandth of a cent is enough for anybody, and shorter than a float.
_DIGITS: Final = 7


@dataclass(frozen=True, slots=True)
class _Account:
    """One service: its ledger, and what else is told of its cost."""

    ledger: Ledger
    revision: str | None
    ratio: float | None
    public: tuple[float, float] | None  # US dollars per million tokens of input, of output


class CostMetrics(Collector):
    """The ledgers of all services, and the series that tell of them."""

    def __init__(self, registry: CollectorRegistry, clock: Clock, platform: Platform) -> None:
        self._clock = clock
        self._platform = platform
        self._accounts: dict[Key, _Account] = {}
        registry.register(self)

    def look(self, observed: Observed, wanted: int) -> None:
        """Bill a service up to now; `wanted` replicas are what it should have."""
        service = observed.service
        known = self._accounts.get(service.key)
        charges = prices.charges_of(observed, self._platform)
        before = Ledger() if known is None else known.ledger
        plan = service.status.get("plan")
        work = Work.from_text(plan.get("pace")) if isinstance(plan, dict) else None
        revision = service.status.get("revision")
        self._accounts[service.key] = _Account(
            ledger=ledger.advance(before, charges, self._now(), wanted),
            revision=revision if isinstance(revision, str) else None,
            ratio=None if work is None else figures.token_ratio(work),
            public=_public(observed),
        )

    def forget(self, key: Key) -> None:
        """Drop a service that is gone."""
        self._accounts.pop(key, None)

    def describe(self) -> list[Metric]:
        """Nothing is known of a registry's names before the first scrape."""
        return list(_Families())

    def collect(self) -> Iterator[Metric]:
        """All series, now."""
        now = self._now()
        families = _Families()
        for key, account in sorted(self._accounts.items(), key=lambda each: str(each[0])):
            held = ledger.hold(account.ledger, now)
            _tell(families, [key.namespace, key.name], account, held)
        yield from families

    def _now(self) -> Moment:
        return Moment(self._clock.monotonic(), self._clock.unix())


class _Families:
    """One family for each name."""

    def __init__(self) -> None:
        self.price = GaugeMetricFamily(
            "stoker_service_price_dollars_per_hour",
            "What all replicas of a service that are on a node cost now, by the catalogue.",
            labels=[*_SERVICE, "revision", "capacity"],
        )
        self.cost = CounterMetricFamily(
            "stoker_service_cost_dollars",
            "What replicas have cost since this operator began to look, by what their time was "
            "for: serving, idle, starting, ending, or unknown where requests could not be counted.",
            labels=[*_SERVICE, "revision", "share"],
        )
        self.unpriced = GaugeMetricFamily(
            "stoker_service_unpriced_accelerators",
            "Accelerators in use that the catalogue has no price for; the cost is without them.",
            labels=[*_SERVICE, "revision"],
        )
        self.static = GaugeMetricFamily(
            "stoker_service_static_price_dollars_per_hour",
            "What the most replicas of the last 24 hours would cost if they ran all the time.",
            labels=_SERVICE,
        )
        self.ratio = GaugeMetricFamily(
            "stoker_service_token_cost_ratio",
            "What a token of output costs of a replica, over what one of input costs; by the plan.",
            labels=_SERVICE,
        )
        self.public = GaugeMetricFamily(
            "stoker_service_public_price_dollars",
            "What a public API takes for a million tokens, as the service's spec says.",
            labels=[*_SERVICE, "direction"],
        )

    def __iter__(self) -> Iterator[Metric]:
        yield from (self.price, self.cost, self.unpriced, self.static, self.ratio, self.public)


def _tell(families: _Families, service: list[str], account: _Account, held: Ledger) -> None:
    def add(family: Any, labels: list[str], value: float) -> None:  # noqa: ANN401 - two kinds
        family.add_metric([*service, *labels], round(value, _DIGITS))

    charges = tuple(held.billed.values())
    lacking = prices.unpriced(charges)
    for (revision, capacity), price in sorted(_prices(charges, account.revision).items()):
        add(families.price, [revision, capacity.value], price)
    for revision, count in sorted(lacking.items()):
        add(families.unpriced, [revision], count)
    for (revision, share), dollars in sorted(held.dollars.items()):
        if round(dollars, _DIGITS) > 0:
            add(families.cost, [revision, share.value], dollars)
    if held.peak > 0:
        add(families.static, [], held.peak)
    if account.ratio is not None:
        add(families.ratio, [], float(f"{account.ratio:.3g}"))
    if account.public is not None:
        for direction, price in zip(("input", "output"), account.public, strict=True):
            add(families.public, [direction], price)


def _prices(
    charges: tuple[Charge, ...], revision: str | None
) -> Mapping[tuple[str, Capacity], float]:
    """Dollars per hour now: nothing at all is a price too."""
    if charges or revision is None:
        return prices.price_now(charges)
    return {(revision, Capacity.ON_DEMAND): 0.0}


def _public(observed: Observed) -> tuple[float, float] | None:
    spec = observed.service.spec
    given = None if spec is None or spec.cost is None else spec.cost.public_price
    return None if given is None else (float(given.input), float(given.output))
