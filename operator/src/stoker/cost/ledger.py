"""Dollars of a service over time, by revision and by what they were for.

    dollars = sum over pods of (price of the pod per hour / 3600) x seconds that it was billed

A ledger moves from one look to the next. What a pod was for at a look holds until the next one,
but for two moments that the pod itself tells to the second: when it got its node and when it became
ready. Both are ages on the Unix clock, cut to the time between the two looks, which is measured on
the clock that never jumps; so a jump moves seconds from one share to another at most, and can
neither make them negative nor count them twice.

Nothing is invented: time before the first look is not billed, and a replica whose requests nobody
has counted for a while is `unknown`, not idle. A restart of the operator begins a new ledger, as
Prometheus expects of counters.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from stoker.cost.prices import Charge, Share
from stoker.model.moment import Moment

_HOUR_S: Final = 3600.0
_DAY: Final = 24
# A revision of which nothing is left is told of for so long, that everybody has read its last sum.
KEPT_S: Final = 3600.0
_COUNTED: Final = frozenset({Share.SERVING, Share.IDLE})


@dataclass(frozen=True, slots=True)
class Ledger:
    """Sums since the first look. `at` in monotonic seconds; None: nobody has looked yet."""

    at: float | None = None
    billed: Mapping[str, Charge] = field(default_factory=dict)  # by the pod's uid
    dollars: Mapping[tuple[str, Share], float] = field(default_factory=dict)
    # Accelerator-seconds that no price is known for, by revision.
    unpriced: Mapping[str, float] = field(default_factory=dict)
    billed_at: Mapping[str, float] = field(default_factory=dict)  # a revision's last, monotonic
    peaks: Mapping[int, float] = field(default_factory=dict)  # by hour: dollars per hour

    @property
    def peak(self) -> float:
        """The most dollars per hour within the last 24 hours, or since the first look."""
        return max(self.peaks.values(), default=0.0)

    def total(self, revision: str | None = None) -> float:
        """All dollars, or those of one revision."""
        return sum(each for (name, _), each in self.dollars.items() if revision in (None, name))


def advance(
    ledger: Ledger, charges: Iterable[Charge], now: Moment, replicas: int | None = None
) -> Ledger:
    """The ledger after a look that found these pods billed.

    `replicas` is how many are wanted: those of a rolling change beyond them are no part of a peak.
    """
    current = {each.pod: each for each in charges}
    if ledger.at is None:
        return _with_peak(replace(ledger, at=now.monotonic, billed=current), replicas)
    if not now.monotonic >= ledger.at:  # no clock goes there; not-a-number ends here too
        return replace(ledger, billed=_kept(ledger.billed, current, ledger.at))
    dollars, without = dict(ledger.dollars), dict(ledger.unpriced)
    billed_at = dict(ledger.billed_at)
    for uid in {**ledger.billed, **current}:
        before, after = ledger.billed.get(uid), current.get(uid)
        one = before or after
        if one is None:
            continue
        billed_at[one.revision] = now.monotonic
        for share, seconds in _spans(before, after, ledger.at, now):
            if one.per_hour is None:
                lacking = without.get(one.revision, 0.0)
                without[one.revision] = lacking + seconds * one.accelerators
            else:
                place = (one.revision, share)
                dollars[place] = dollars.get(place, 0.0) + one.per_hour * seconds / _HOUR_S
    told = {name for name, last in billed_at.items() if now.monotonic - last <= KEPT_S}
    found = Ledger(
        at=now.monotonic,
        billed=_kept(ledger.billed, current, now.monotonic),
        dollars={place: each for place, each in dollars.items() if place[0] in told},
        unpriced={name: each for name, each in without.items() if name in told},
        billed_at={name: each for name, each in billed_at.items() if name in told},
        peaks=ledger.peaks,
    )
    return _with_peak(found, replicas)


def hold(ledger: Ledger, now: Moment) -> Ledger:
    """The ledger a while later, when nobody has looked since."""
    return ledger if ledger.at is None else advance(ledger, ledger.billed.values(), now, 0)


def _spans(
    before: Charge | None, after: Charge | None, begin: float, now: Moment
) -> Iterator[tuple[Share, float]]:
    """What the time of one pod between two looks was for, in seconds."""
    end = now.monotonic
    if before is None and after is not None:
        begin = end - _age(after.placed_at, now, end - begin)
    starts = before is None or before.share is Share.STARTING
    if starts and after is not None and after.share in {*_COUNTED, Share.UNKNOWN}:
        ready = end - _age(after.ready_at, now, end - begin)
        yield Share.STARTING, ready - begin
        yield after.share, end - ready
    elif before is not None and before.share in _COUNTED:
        until = min(end, max(begin, before.seen_until))
        yield before.share, until - begin
        yield Share.UNKNOWN, end - until
    elif before is not None:
        yield before.share, end - begin
    elif after is not None:
        yield after.share, end - begin


def _age(since: float | None, now: Moment, longest: float) -> float:
    """Seconds since then, as far as they can be true; 0 where nobody knows."""
    if since is None:
        return 0.0
    age = now.unix - since
    return min(age, longest) if age > 0 else 0.0


def _kept(
    before: Mapping[str, Charge], current: Mapping[str, Charge], now: float
) -> dict[str, Charge]:
    """The pods of this look, with what was counted last of those that were not counted now."""
    found = dict(current)
    for uid, each in current.items():
        old = before.get(uid)
        silent = each.share is Share.UNKNOWN and old is not None and old.share in _COUNTED
        if silent and old is not None and old.seen_until > now:
            found[uid] = replace(each, share=old.share, seen_until=old.seen_until)
    return found


def _with_peak(ledger: Ledger, replicas: int | None) -> Ledger:
    """The ledger with the hour's dearest moment; one with an unknown price is none."""
    charges = tuple(ledger.billed.values())
    prices = [each.per_hour for each in charges if each.per_hour is not None]
    leaders = sum(each.leads for each in charges)
    if ledger.at is None or len(prices) < len(charges) or not leaders:
        return ledger
    wanted = leaders if replicas is None else min(replicas, leaders)
    hour = int(ledger.at // _HOUR_S)
    found = sum(prices) * wanted / leaders
    peaks = {each: price for each, price in ledger.peaks.items() if each > hour - _DAY}
    return replace(ledger, peaks={**peaks, hour: max(found, peaks.get(hour, 0.0))})
