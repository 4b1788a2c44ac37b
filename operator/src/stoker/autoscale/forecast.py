"""How much will be needed while a new replica is on its way: learned from the service's own past.

A replica that is asked for now answers one lead time later. So what matters is not what is needed
now but the most that will be needed until then, and how likely that is:

    now ──────── lead time ────────► a replica asked for now answers
     └ the most that was needed in here, in moments like this one: a distribution

Moments are alike when the demand now and the peak of the last minutes are, and, where there is no
demand, when it has been quiet for as long. For each kind of moment a histogram counts what
followed; the answer is a quantile of it. On steady traffic the distribution is narrow and the
answer is what runs; on bursts it is as wide as the bursts are; in silence it is the chance that the
next request comes soon, which is what decides whether the last replica may go (a histogram policy
as in Shahrad et al., "Serverless in the Wild", ATC 2020, with load levels beside idle times; the
quantile is the newsvendor's answer to two costs).

A kind of moment that was hardly met answers with the peak of the last lead time: to keep a replica
for as long as a new one takes to come costs at most twice what knowing better does. More load never
asks for less: a kind expects at least what quieter ones do, and an unknown one no more than busier
ones that are known. Old counts fade, so that what was learned follows the traffic. Nothing here
knows of clocks: times come in.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from stoker.model.learned import Forecast, Histogram, Kind, Learned, Moment
from stoker.quantity import format_duration

# Seconds between two moments that are learned from.
STRIDE_S: Final = 5.0
# How far back a peak counts as the recent one.
RECENT_S: Final = 600.0
# Demands below this many replicas are all "hardly any".
_LEAST: Final = 0.02
# The bin of no demand at all; -1 is hardly any.
_SILENT: Final = -2
# Bins per doubling: of the demand that tells kinds of moments apart, and of what followed.
_COARSE: Final = 1.0
_FINE: Final = 12.0
# Each count fades to 1/e over so many later ones of its kind.
_MEMORY: Final = 2000.0
# So many lead times' worth of moments make a kind known, and never fewer than so many.
_KNOWN: Final = 3.0
_FEWEST: Final = 10.0
# By these quantiles two states of knowledge are compared.
_TOLD: Final = (0.5, 0.8, 0.9, 0.97)


def due(learned: Learned, time: float) -> bool:
    """Whether this moment is to be learned from."""
    return not learned.moments or time - learned.moments[-1].time >= STRIDE_S


def observe(learned: Learned, demand: float, lead_s: float, time: float) -> Learned:
    """Take in the demand of this moment, and learn from those that are one lead time old."""
    if not due(learned, time):
        return learned
    keep = max(RECENT_S, lead_s + STRIDE_S)
    first = bisect_left(learned.moments, time - keep, key=_time)
    kept = learned.moments[first:]
    before = learned.quiet_since
    quiet = (time if before is None else before) if demand <= 0 else None
    recent = _peak(kept, time - RECENT_S)
    kind = kind_of(demand, max(recent, demand), 0.0 if quiet is None else time - quiet)
    moments = (*kept, Moment(time, demand, kind))
    silence = kind_of(0.0, 0.0, 0.0 if before is None else time - before)
    fresh = replace(learned, moments=moments, quiet_since=quiet, silence=silence)
    return _mature(fresh, lead_s, time)


def forget_continuity(learned: Learned) -> Learned:
    """After a gap in the data: what was counted stays, what was going on is not known."""
    return replace(learned, moments=(), quiet_since=None, matured=None)


def forecast(learned: Learned, quantile: float, lead_s: float, time: float) -> Forecast:
    """The most that will be needed within the lead time, with this probability.

    `quantile` between 0 and 1: the share of such moments after which no more was needed.
    """
    if not learned.moments:
        return Forecast(0.0, 0, "nothing was seen yet")
    now = learned.moments[-1]
    enough = max(_FEWEST, _KNOWN * lead_s / STRIDE_S)
    known = _known(learned, quantile, enough)
    recent = _peak(learned.moments, time - lead_s)
    demand = _answer(known, now.kind, recent)
    if now.demand > 0:
        demand = max(demand, known.get(learned.silence, 0.0))
    if now.kind not in known:
        words = f"moments like this are new: the peak of the last {_words(lead_s)} counts"
        return Forecast(demand, 0, words)
    seen = round(sum(count for _, count in learned.counts[now.kind]))
    words = (
        f"in {quantile:.0%} of {seen} such moments no more than {demand:.2g} was needed within "
        f"{_words(lead_s)}"
    )
    return Forecast(demand, seen, words)


def quantiles(learned: Learned) -> tuple[tuple[Kind, tuple[float, ...]], ...]:
    """What is known of each kind, in a few numbers: two that are equal say the same."""
    return tuple(
        (kind, tuple(_quantile(histogram, each) for each in _TOLD))
        for kind, histogram in sorted(learned.counts.items())
        if sum(count for _, count in histogram) >= _FEWEST
    )


def _answer(known: Mapping[Kind, float], kind: Kind, recent: float) -> float:
    """What to expect of a kind of moment: at least what the quieter ones expect."""
    if kind[0] == _SILENT:
        # A silence that was never so long is like hardly any demand.
        if kind in known:
            return known[kind]
        kind = (_SILENT + 1, _bin(recent, _COARSE))
    if kind in known:
        return _least(known, kind)
    busier = [_least(known, other) for other in known if _below(kind, other)]
    return max(min([recent, *busier]), _least(known, kind))


def _known(learned: Learned, quantile: float, enough: float) -> dict[Kind, float]:
    """The quantile of each kind that was met often enough."""
    found = {}
    for kind, histogram in learned.counts.items():
        total = _total(histogram)
        if total >= enough:
            found[kind] = _reached(histogram, quantile * total)
    return found


def _total(histogram: Histogram) -> float:
    # Many small histograms, every five seconds: a list is faster than a generator.
    return sum([count for _, count in histogram])


def _peak(moments: tuple[Moment, ...], since: float) -> float:
    """The largest demand from then on."""
    first = bisect_left(moments, since, key=_time)
    return max([each.demand for each in moments[first:]], default=0.0)


def _time(moment: Moment) -> float:
    return moment.time


def _least(known: Mapping[Kind, float], kind: Kind) -> float:
    """The most that this kind or a quieter one expects; silences are no levels."""
    return max((value for other, value in known.items() if _below(other, kind)), default=0.0)


def _below(one: Kind, other: Kind) -> bool:
    """Whether the first is a level as quiet as the second, or quieter."""
    return _SILENT < one[0] <= other[0] and one[1] <= other[1]


def _words(seconds: float) -> str:
    return format_duration(round(seconds))


def kind_of(demand: float, recent: float, quiet_s: float) -> Kind:
    """Which moments are alike."""
    if demand <= 0:
        return (_SILENT, _bin(quiet_s / 1000, _COARSE))
    return (_bin(demand, _COARSE), _bin(recent, _COARSE))


def _mature(learned: Learned, lead_s: float, time: float) -> Learned:
    """Count what followed each moment that is now one lead time old."""
    counts: dict[Kind, Histogram] | None = None
    matured = learned.matured
    first = 0
    if matured is not None:
        first = bisect_right(learned.moments, matured, key=_time)
    for place in range(first, len(learned.moments)):
        moment = learned.moments[place]
        if moment.time > time - lead_s:
            break
        until = moment.time + lead_s + STRIDE_S / 2
        last = bisect_right(learned.moments, until, key=_time)
        followed = max([each.demand for each in learned.moments[place + 1 : last]], default=0.0)
        counts = dict(learned.counts) if counts is None else counts
        into = _bin(followed, _FINE)
        counts[moment.kind] = _counted(counts.get(moment.kind, ()), into)
        matured = moment.time
    if counts is None:
        return learned
    return replace(learned, counts=counts, matured=matured)


def _counted(histogram: Histogram, into: int) -> Histogram:
    """One more, and the others a little less."""
    fade = 1 - 1 / _MEMORY
    faded = {place: count * fade for place, count in histogram}
    faded[into] = faded.get(into, 0.0) + 1.0
    return tuple(sorted((place, count) for place, count in faded.items() if count > 1e-3))


def _quantile(histogram: Histogram, quantile: float) -> float:
    """The upper edge of the bin that holds it."""
    return _reached(histogram, quantile * _total(histogram))


def _reached(histogram: Histogram, wanted: float) -> float:
    """The upper edge of the bin in which the counts reach so many."""
    reached = 0.0
    for place, count in histogram:
        reached += count
        if reached >= wanted - 1e-9:
            return _edge(place)
    return _edge(histogram[-1][0])


def _bin(value: float, per_doubling: float) -> int:
    """-1 for hardly anything, then rising with the logarithm."""
    if value < _LEAST:
        return -1 if value > 0 else _SILENT
    return math.floor(math.log2(value / _LEAST) * per_doubling)


def _edge(place: int) -> float:
    """The largest value of a fine bin."""
    if place == _SILENT:
        return 0.0
    return _LEAST if place == -1 else _LEAST * 2 ** ((place + 1) / _FINE)
