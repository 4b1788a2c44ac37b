"""Rules of the second level: rates, quantiles and shares of a service.

The share that was slower than a target needs the count at the target, which lies between two edges
of buckets. A label cannot be compared with a number, so the edges are recorded as numbers first;
then the count is interpolated as `histogram_quantile` does it. Shares over longer windows are made
of the recorded rates: that reads one series for each service instead of every bucket of every pod.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from charts.observability import names
from charts.observability.dialects import SPEC_ACCEPTANCE_GAUGES
from charts.observability.metric import REVISION, SERVICE, Metric
from charts.observability.promql import OURS, first, labels, of_service, per_pod
from charts.observability.rulefile import Group, Rule

ON: Final = f"on {labels(SERVICE)}"
# Shares that have to be good where nobody says otherwise; the chart's values change the numbers.
ERRORS_OBJECTIVE: Final = "0.995"
LATENCY_OBJECTIVE: Final = "0.95"
# Edges of the buckets that the engines of `dialects` have; custom ones in between are passed over.
EDGES: Final = (
    0.001, 0.002, 0.004, 0.005, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05,
    0.06, 0.075, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 0.8, 1.0, 1.5, 2.0, 2.5, 4.0,
    5.0, 6.0, 7.5, 8.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 120.0, 160.0, 200.0,
    240.0, 400.0, 480.0, 640.0, 960.0, 1920.0, 2560.0, 7680.0,
)  # fmt: skip


def groups() -> tuple[Group, ...]:
    """Groups of rules, in the order in which they build on each other."""
    return (
        Group("stoker-services", (*_rates(), *_quantiles(), *_shares(), *_use(), _queue())),
        Group("stoker-objectives", (*_answers(), *_latency(), *_objectives(), _goodput())),
    )


def _rates() -> Iterator[Rule]:
    by = labels(REVISION)
    for metric, counter in (
        (names.REQUESTS_RATE, names.REQUESTS_FINISHED),
        (names.PROMPT_TOKENS_RATE, names.PROMPT_TOKENS),
        (names.GENERATION_TOKENS_RATE, names.GENERATION_TOKENS),
    ):
        yield Rule(metric, f"sum by {by} (rate({counter}[5m]))")
    for metric, histogram in (
        (names.TTFT_BUCKETS_RATE, names.TTFT),
        (names.ITL_BUCKETS_RATE, names.ITL),
        (names.E2E_BUCKETS_RATE, names.E2E),
    ):
        yield Rule(metric, f"sum by {labels((*SERVICE, 'le'))} (rate({histogram.bucket}[5m]))")
    yield Rule(names.FRONTEND_REQUESTS_RATE, _answered())


def _answered() -> str:
    """Envoy has a line for a status only from the first such answer on: it counts, too."""
    series, by = str(names.FRONTEND_REQUESTS), labels((*SERVICE, "code"))
    pod = labels((*SERVICE, "pod"))
    new = f"({series} unless {series} offset 5m) and on {pod} {series} offset 5m"
    return f"sum by {by} (\n({new}) / 300\nor rate({series}[5m])\n)"


def _quantiles() -> Iterator[Rule]:
    for buckets, quantiles in (
        (names.TTFT_BUCKETS_RATE, (names.TTFT_P50, names.TTFT_P95, names.TTFT_P99)),
        (names.ITL_BUCKETS_RATE, (names.ITL_P50, names.ITL_P95, names.ITL_P99)),
        (names.E2E_BUCKETS_RATE, (names.E2E_P50, names.E2E_P95, names.E2E_P99)),
    ):
        for metric, quantile in zip(quantiles, names.QUANTILES.values(), strict=True):
            # Without requests it is not a number, and then it is absent.
            yield Rule(metric, f"histogram_quantile({quantile}, {buckets}) >= 0")


def _shares() -> Iterator[Rule]:
    by = labels(REVISION)

    def share(part: Metric, whole: Metric) -> str:
        return f"sum by {by} (rate({part}[5m])) / (sum by {by} (rate({whole}[5m])) > 0)"

    hits = share(names.PREFIX_CACHE_HITS, names.PREFIX_CACHE_QUERIES)
    yield Rule(names.PREFIX_CACHE_HIT_RATE, hits)
    counted = share(names.SPEC_ACCEPTED_TOKENS, names.SPEC_DRAFT_TOKENS)
    told = (
        f"avg by {by} ({per_pod(f'{series}{{{OURS}}}', how='avg')})"
        for series in SPEC_ACCEPTANCE_GAUGES
    )
    yield Rule(names.SPEC_ACCEPTANCE, first((counted, *told), REVISION))


def _use() -> Iterator[Rule]:
    """Engines tell of one accelerator, the operator of all that a replica has."""
    each = of_service("stoker_service_accelerators")
    for metric, spent, peak in (
        (names.MFU, f"rate({names.FLOPS}[5m])", "flops"),
        (
            names.MEMORY_BANDWIDTH_USE,
            f"rate({names.MEMORY_READ}[5m]) + rate({names.MEMORY_WRITTEN}[5m])",
            "bytes_per_second",
        ),
    ):
        most = of_service(f"stoker_service_accelerator_{peak}")
        mean = of_service(spent, "avg")
        yield Rule(metric, f"{mean}\n* {ON} {each}\n/ {ON} {most}")


def _queue() -> Rule:
    both = f'{{__name__=~"{names.HELD_REQUESTS}|{names.REQUESTS_WAITING}"}}'
    return Rule(names.QUEUE, of_service(both, "sum"))


def _answers() -> Iterator[Rule]:
    everything = of_service(str(names.FRONTEND_REQUESTS_RATE), "sum")
    bad = of_service(f'{names.FRONTEND_REQUESTS_RATE}{{code=~"429|5.."}}', "sum")
    yield Rule(names.ANSWERS, everything)
    yield Rule(names.ERROR_ANSWERS, f"{bad}\nor\n{everything} * 0")
    yield from _windows(names.ERRORS, names.ERROR_ANSWERS, names.ANSWERS)


def _windows(shares: dict[str, Metric], bad: Metric, whole: Metric) -> Iterator[Rule]:
    for window, metric in shares.items():
        if window == "5m":
            yield Rule(metric, f"{bad} / ({whole} > 0)")
            continue
        yield Rule(
            metric,
            f"sum_over_time({bad}[{window}]) / (sum_over_time({whole}[{window}]) > 0)",
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """The names of one latency that has a target."""

    target: str
    limit: Metric
    buckets: Metric
    edge: Metric
    below: Metric
    above: Metric
    judged: Metric
    slow: Metric
    shares: dict[str, Metric]


LATENCIES: Final = (
    Judged(
        "ttft", names.TTFT_TARGET, names.TTFT_BUCKETS_RATE, names.TTFT_EDGE, names.TTFT_EDGE_BELOW,
        names.TTFT_EDGE_ABOVE, names.TTFT_JUDGED, names.TTFT_SLOW, names.TTFT_SLO_ERRORS,
    ),
    Judged(
        "itl", names.ITL_TARGET, names.ITL_BUCKETS_RATE, names.ITL_EDGE, names.ITL_EDGE_BELOW,
        names.ITL_EDGE_ABOVE, names.ITL_JUDGED, names.ITL_SLOW, names.ITL_SLO_ERRORS,
    ),
)  # fmt: skip


def _latency() -> Iterator[Rule]:
    yield Rule(names.EDGE, "\nor ".join(_edges()))
    for each in LATENCIES:
        target = f'stoker_service_target_seconds{{target="{each.target}"}}'
        every = of_service(f'{each.buckets}{{le="+Inf"}}')
        known = f"on (le) group_left () max by (le) ({names.EDGE})"
        yield Rule(each.limit, of_service(target))
        yield Rule(each.edge, f"{each.buckets} * 0 + {known}")
        yield Rule(each.above, of_service(_beyond(each, ">"), "min"))
        yield Rule(each.below, f"{of_service(_beyond(each, '<='))}\nor ({each.above} < +Inf) * 0")
        yield Rule(each.judged, f"{every} and {ON} {each.limit}")
        yield Rule(each.slow, f"clamp_min({each.judged} - {ON} (\n{_within(each)}\n), 0)")
        yield from _windows(each.shares, each.slow, each.judged)


def _beyond(each: Judged, sign: str) -> str:
    return f"{each.edge} {sign} {ON} group_left () {each.limit}"


def _within(each: Judged) -> str:
    """The rate of what lies within the target, between the edges below and above it.

    Nothing is known to lie below the first edge, and no target lies above infinity.
    """
    inside = of_service(f"{each.buckets} and ({_beyond(each, '<=')})")
    fewer = f"({inside} or {each.below} * 0)"
    more = of_service(f"{each.buckets} and ({_beyond(each, '>')})", "min")
    place = f"({each.limit} - {each.below}) / ({each.above} - {each.below})"
    return f"{fewer}\n+ ({more}\n- {fewer})\n* ({place})"


def _edges() -> Iterator[str]:
    """Whole numbers are written in two ways, as clients and versions of Prometheus differ."""
    for edge in EDGES:
        texts = {repr(edge), f"{edge:g}"}
        for text in sorted(texts):
            yield f'label_replace(vector({edge:g}), "le", "{text}", "", "")'
    yield 'label_replace(vector(+Inf), "le", "+Inf", "", "")'


def _objectives() -> Iterator[Rule]:
    """Each begins with the number that the chart's values replace."""
    frontends = f"group by {labels(SERVICE)} ({names.FRONTEND_REQUESTS})"
    yield Rule(names.OBJECTIVE, f"{ERRORS_OBJECTIVE} * {frontends}", labels={"slo": "errors"})
    for target in ("ttft", "itl"):
        of = f'{{target="{target}"}}'
        promised = of_service(f"stoker_service_target_ratio{of}")
        any_ = f"group by {labels(SERVICE)} (stoker_service_target_seconds{of})"
        yield Rule(
            names.OBJECTIVE,
            f"{LATENCY_OBJECTIVE} * ({any_} unless {ON} {promised})\nor\n{promised}",
            labels={"slo": target},
        )


def _goodput() -> Rule:
    late = "|".join(str(each["5m"]) for each in (names.TTFT_SLO_ERRORS, names.ITL_SLO_ERRORS))
    worst = of_service(f'{{__name__=~"{late}"}}')
    kept = f"(1 - {worst})"
    answered = f"((1 - {names.ERRORS['5m']}) or {kept} * 0 + 1)"
    return Rule(names.GOODPUT, f"{kept}\n* {ON}\n{answered}")
