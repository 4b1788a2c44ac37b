"""From two looks at a service's pods, or from recorded series, to one row of `stoker top`.

Nothing here asks anybody. A number that nobody told is None and shown as a dash, never as a zero:
a service without traffic has no time to its first token, and one whose pods may not be asked has
no rates.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from stoker.commands.prometheus import Sample
from stoker.commands.statuses import mapping, number, whole
from stoker.model.load import EngineSample, FrontendSample
from stoker.model.timing import Buckets, Timings

# Recorded by the chart's rules; each is added up over what a row does not tell apart.
REQUESTS: Final = "stoker:requests:rate5m"
QUEUE: Final = "stoker:queue:sum"
TTFT: Final = "stoker:ttft_seconds:p95"
TOKENS: Final = "stoker:generation_tokens:rate5m"
KV: Final = "stoker:kv_cache_usage_ratio"
PRICE: Final = "stoker_service_price_dollars_per_hour"
SERIES: Final = (REQUESTS, QUEUE, TTFT, TOKENS, KV, PRICE)
_WORST: Final = frozenset({TTFT, KV})


@dataclass(frozen=True, slots=True)
class Look:
    """What a service's pods told at one moment, by their uids. `time` of a steady clock."""

    time: float
    engines: Mapping[str, EngineSample]
    frontends: Mapping[str, FrontendSample]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One service. None: nobody told."""

    namespace: str
    name: str
    ready: int | None
    desired: int | None
    requests_per_second: float | None = None
    queue: int | None = None
    running: int | None = None
    ttft_seconds: float | None = None  # the 95th percentile
    tokens_per_second: float | None = None
    kv_cache: float | None = None  # share in use, of the fullest replica
    dollars_per_hour: float | None = None
    queue_age_seconds: float | None = None  # of a queue that the status tells, not the pods
    note: str | None = None


def of_status(body: Mapping[str, Any], now: float, taken: float | None) -> Row:
    """What the object alone tells; `taken` is when its load was sampled, as `now` in Unix time."""
    metadata, status = mapping(body.get("metadata")), mapping(body.get("status"))
    exist = whole(status.get("replicas"))
    expected = mapping(mapping(status.get("plan")).get("expected"))
    price = _money(expected.get("pricePerHour"))
    return Row(
        namespace=str(metadata.get("namespace", "")),
        name=str(metadata.get("name", "?")),
        ready=whole(status.get("readyReplicas")),
        desired=whole(status.get("desiredReplicas")),
        queue=whole(status.get("queueDepth")),
        queue_age_seconds=None if taken is None else max(0.0, now - taken),
        dollars_per_hour=None if price is None or exist is None else price * exist,
    )


def of_pods(row: Row, first: Look | None, last: Look | None) -> Row:
    """The same with what pods told, once or twice."""
    if last is None:
        return row
    told = replace(row, note=last.problems[0] if last.problems else None)
    if last.problems:
        return told  # a sum of some of them would be too small, and not look so
    engines, frontends = last.engines.values(), last.frontends.values()
    if frontends:
        told = replace(
            told,
            queue=sum(each.held for each in frontends) + sum(each.waiting for each in engines),
            queue_age_seconds=None,
        )
    untold = next((each.pod for each in engines if each.timings is None), None)
    if untold is not None:
        told = replace(told, note=f"{untold}: its tokens per second are not known for this engine")
    shares = [each.kv_cache for each in engines if each.kv_cache is not None]
    told = replace(
        told,
        running=sum(each.running for each in engines),
        kv_cache=max(shares, default=None),
    )
    if first is None or last.time <= first.time:
        return told
    seconds = last.time - first.time
    return replace(
        told,
        requests_per_second=_requests(first, last, seconds),
        tokens_per_second=_tokens(first, last, seconds),
        ttft_seconds=_ttft(first, last),
    )


def of_series(row: Row, values: Mapping[str, float]) -> Row:
    """The same with what was recorded for this service."""
    queue = values.get(QUEUE)
    return replace(
        row,
        requests_per_second=values.get(REQUESTS),
        queue=row.queue if queue is None else round(queue),
        queue_age_seconds=row.queue_age_seconds if queue is None else None,
        ttft_seconds=values.get(TTFT),
        tokens_per_second=values.get(TOKENS),
        kv_cache=values.get(KV),
        dollars_per_hour=values.get(PRICE, row.dollars_per_hour),
    )


def series_of(samples: Iterable[Sample]) -> dict[tuple[str, str], dict[str, float]]:
    """Values by service and name; what a row does not tell apart is put together."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for labels, value in samples:
        name = labels.get("__name__", "")
        if name not in SERIES:
            continue
        key = (labels.get("namespace", ""), labels.get("service", ""))
        values = found.setdefault(key, {})
        if name not in values:
            values[name] = value
        else:
            values[name] = max(values[name], value) if name in _WORST else values[name] + value
    return found


def _requests(first: Look, last: Look, seconds: float) -> float | None:
    """Requests that came; a frontend that is new has told nothing to compare with."""
    known = [uid for uid in last.frontends if uid in first.frontends]
    if not known:
        return None
    came = sum(
        max(0.0, last.frontends[uid].requests_total - first.frontends[uid].requests_total)
        for uid in known
    )
    return came / seconds


def _tokens(first: Look, last: Look, seconds: float) -> float | None:
    passed = _timings(first, last)
    return None if passed is None else (passed.first_tokens + passed.gaps) / seconds


def _timings(first: Look, last: Look) -> Timings | None:
    total: Timings | None = None
    for uid, engine in last.engines.items():
        before = first.engines.get(uid)
        if before is None or before.timings is None or engine.timings is None:
            continue
        passed = engine.timings.since(before.timings)
        if passed is not None:
            total = passed if total is None else total.plus(passed)
    return total


def _ttft(first: Look, last: Look) -> float | None:
    counts: dict[float, float] = {}
    for uid, engine in last.engines.items():
        before = first.engines.get(uid)
        if before is None or [edge for edge, _ in before.ttft] != [edge for edge, _ in engine.ttft]:
            continue
        for (edge, count), (_, earlier) in zip(engine.ttft, before.ttft, strict=True):
            counts[edge] = counts.get(edge, 0.0) + count - earlier
    return quantile(tuple(sorted(counts.items())), 0.95)


def quantile(buckets: Buckets, share: float) -> float | None:
    """Seconds that so large a share took no longer than; None where there was none.

    Between two edges they are taken to be spread evenly, as Prometheus does; beyond the last finite
    edge it is that edge.
    """
    if not buckets or buckets[-1][1] <= 0:
        return None
    wanted = share * buckets[-1][1]
    before = (0.0, 0.0)
    for edge, count in buckets:
        if count >= wanted:
            if edge == float("inf"):
                return before[0]
            passed = count - before[1]
            return before[0] + (edge - before[0]) * ((wanted - before[1]) / passed if passed else 1)
        before = (edge, count)
    return before[0]


def sorted_rows(rows: Iterable[Row]) -> list[Row]:
    """The busiest first: what waits, what runs, then names."""
    return sorted(
        rows,
        key=lambda each: (-(each.queue or 0), -(each.running or 0), each.namespace, each.name),
    )


def _money(value: object) -> float | None:
    return _float(value) if isinstance(value, str) else number(value)


def _float(value: object) -> float | None:
    try:
        return number(float(str(value)))
    except ValueError:
        return None
