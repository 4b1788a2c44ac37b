"""What /metrics shows of cost. The ledgers are kept here, and only the leader has any.

A pass brings what it saw; whoever scrapes gets the sums up to that moment. Every line is made when
it is asked for, so a service that is gone leaves none behind. Lines that say nothing are left out
(a share without a cent, a peak of zero), as a thousand services share one page. The price is told
at zero too, for an average over a day must count the hours without a replica.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
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
from stoker.telemetry import families
from stoker.telemetry.families import Family

Sample = tuple[Sequence[str], float]

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

    def describe(self) -> Iterable[Metric]:
        """Every name, so that no other collector takes one."""
        return [family.told(iter(())) for family in families.OF_COST]

    def collect(self) -> Iterator[Metric]:
        """Every series of every service, in whatever thread: a ledger is a value."""
        now = self._now()
        samples: dict[Family, list[Sample]] = {family: [] for family in families.OF_COST}
        for key, account in sorted(self._accounts.items(), key=lambda each: str(each[0])):
            service = (key.namespace, key.name)
            for family, labels, value in _told(account, ledger.hold(account.ledger, now)):
                samples[family].append(((*service, *labels), round(value, _DIGITS)))
        for family, found in samples.items():
            yield family.told(iter(found))

    def _now(self) -> Moment:
        return Moment(self._clock.monotonic(), self._clock.unix())


def _told(account: _Account, held: Ledger) -> Iterator[tuple[Family, tuple[str, ...], float]]:
    """Lines of one service, without what all of them share."""
    charges = tuple(held.billed.values())
    for (revision, capacity), price in sorted(_prices(charges, account.revision).items()):
        yield families.PRICE, (revision, capacity.value), price
    for revision, count in sorted(prices.unpriced(charges).items()):
        yield families.UNPRICED, (revision,), count
    for (revision, share), dollars in sorted(held.dollars.items()):
        if round(dollars, _DIGITS) > 0:
            yield families.COST, (revision, share.value), dollars
    if held.peak > 0:
        yield families.STATIC_PRICE, (), held.peak
    if account.ratio is not None:
        yield families.TOKEN_RATIO, (), float(f"{account.ratio:.3g}")
    if account.public is not None:
        for direction, price in zip(("input", "output"), account.public, strict=True):
            yield families.PUBLIC_PRICE, (direction,), price


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
