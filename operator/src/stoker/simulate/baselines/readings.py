"""What the baselines share: windows over readings, and traffic between two readings of counters.

A scrape and a tick of the same length, both counted from zero, would meet at every tick, and
readings would be of no age. In a cluster their phases are anybody's, and a reading is half a scrape
interval old on average. So a pipeline behind a scraper of interval s reads every s/2 and sees it
s/2 late: of that age at every tick, on no luck. `scraped` builds it.

The simulator's frontend holds what would make an engine's queue longer than eight. Most of the
routers that these policies were written for hold nothing while an engine answers. So a policy that
looks at engines' queues would see a queue of eight where it would have seen hundreds: for these,
`queued_in_engines` puts what is held back into the queues, evenly.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from stoker.simulate.policy import Pipeline, Snapshot

Series = tuple[tuple[float, float], ...]
"""(time, value), oldest first."""


def scraped(
    tick_s: float, interval_s: float, further_s: float = 0.0, wake_s: float | None = None
) -> Pipeline:
    """A pipeline behind a scraper; `further_s` is what comes between it and the policy."""
    half = interval_s / 2
    return Pipeline(tick_s, scrape_s=half, lag_s=half + further_s, wake_s=wake_s)


def extended(series: Series, came: Iterable[tuple[float, float]], since: float) -> Series:
    """The series with what came, without what is not younger than `since`."""
    first = 0
    while first < len(series) and series[first][0] <= since:
        first += 1
    return series[first:] + tuple(each for each in came if each[0] > since)


def mean(series: Series, since: float = float("-inf")) -> float:
    """Of the values younger than `since`; 0 where there are none."""
    values = [value for time, value in series if time > since]
    return sum(values) / len(values) if values else 0.0


def queued_in_engines(snapshot: Snapshot) -> Snapshot:
    """The same where the router holds nothing while a replica answers."""
    count = len(snapshot.replicas)
    if not count or not snapshot.held:
        return snapshot
    share, rest = divmod(snapshot.held, count)
    replicas = tuple(
        replace(each, waiting=each.waiting + share + (number < rest))
        for number, each in enumerate(snapshot.replicas)
    )
    return replace(snapshot, held=0, replicas=replicas)


@dataclass(frozen=True, slots=True)
class Counters:
    """The counters of one reading."""

    time: float
    requests: int
    input_tokens: int
    finished: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """What came between two readings, and how long it was on average, in tokens."""

    seconds: float
    requests: int
    input_tokens: float  # of a request that came; 0: none came
    output_tokens: float  # of a request that ended; 0: none ended

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds if self.seconds > 0 else 0.0


def counters_of(snapshot: Snapshot) -> Counters:
    """The counters of a snapshot."""
    return Counters(
        snapshot.time,
        snapshot.requests_total,
        snapshot.input_tokens_total,
        snapshot.finished_total,
        snapshot.output_tokens_total,
    )


def traffic_between(first: Counters, last: Counters) -> Traffic:
    """The differences, as a monitoring system's rates give them."""
    came, ended = last.requests - first.requests, last.finished - first.finished
    return Traffic(
        last.time - first.time,
        came,
        (last.input_tokens - first.input_tokens) / came if came else 0.0,
        (last.output_tokens - first.output_tokens) / ended if ended else 0.0,
    )


def extended_counters(
    series: tuple[Counters, ...], snapshots: Iterable[Snapshot], since: float
) -> tuple[Counters, ...]:
    """The counters with what came; the last one not younger than `since` stays as the base."""
    every = series + tuple(counters_of(each) for each in snapshots)
    first = 0
    while first + 1 < len(every) and every[first + 1].time <= since:
        first += 1
    return every[first:]


def traffic_in(series: tuple[Counters, ...], since: float) -> Traffic:
    """What came after the last reading that is not younger than `since`."""
    if not series:
        return Traffic(0.0, 0, 0.0, 0.0)
    base = series[0]
    for each in series:
        if each.time > since:
            break
        base = each
    return traffic_between(base, series[-1])
