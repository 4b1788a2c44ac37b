"""Rates, quantiles and shares of a service, each by value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from charts.observability import names, recording, services
from charts.observability.dialects import HISTOGRAMS, SPEC_ACCEPTANCE_GAUGES
from charts.observability.rulefile import Group, Rule
from tests.support.promtool import Case

if TYPE_CHECKING:
    from charts.observability.metric import Metric
    from tests.support.promtool import Promtool

WHO = 'namespace="team",service="chat"'
R1 = f'{WHO},revision="r1"'
STEADY = "10m"
FRONT = f'{WHO},pod="f-1"'


def pods(metric: str, *per_minute: float, more: str = "") -> dict[str, str]:
    """A counter of each of several pods."""
    return {
        f'{metric}{{{R1},pod="p{number}"{more}}}': f"0+{rate}x15"
        for number, rate in enumerate(per_minute)
    }


def buckets(histogram: Metric, per_minute: dict[str, float], pod: str = "p0") -> dict[str, str]:
    """A histogram that grows evenly."""
    return {
        f'{histogram.bucket}{{{R1},pod="{pod}",le="{edge}"}}': f"0+{count}x15"
        for edge, count in per_minute.items()
    }


def one(metric: Metric, value: float, labels: str = WHO) -> dict[str, float]:
    return {f"{metric}{{{labels}}}": value}


def tells(series: str, value: float, more: str = "") -> dict[str, str]:
    """The operator, scraped by way of two targets."""
    return {
        f'stoker_service_{series}{{{WHO}{more},job="a"}}': f"{value}x15",
        f'stoker_service_{series}{{{WHO}{more},job="b"}}': f"{value}x15",
    }


def case(
    name: str,
    series: dict[str, str],
    metric: Metric,
    expected: dict[str, float],
    query: str = "",
) -> Case:
    """Compared to a millionth: sums of rates are not exact."""
    rounded = {
        labels[labels.index("{") :]: round(value, 6) if math.isfinite(value) else value
        for labels, value in expected.items()
    }
    asked = f"round({query or metric}, 0.000001)"
    return Case(name, series, asked, rounded, at=STEADY, proves=(metric.name,))


# 100 a minute: 60 up to 0.25 s, 90 up to 1 s, all up to 2.5 s.
SPREAD = {"0.25": 60.0, "1.0": 90.0, "2.5": 100.0, "+Inf": 100.0}
CURVES = [
    (names.TTFT, names.TTFT_P50, names.TTFT_P95, names.TTFT_P99),
    (names.ITL, names.ITL_P50, names.ITL_P95, names.ITL_P99),
    (names.E2E, names.E2E_P50, names.E2E_P95, names.E2E_P99),
]
QUANTILES = [
    case(metric.name, buckets(histogram, SPREAD), metric, one(metric, value))
    for histogram, *metrics in CURVES
    for metric, value in zip(
        metrics, (0.25 * 50 / 60, 1 + 1.5 * 5 / 10, 1 + 1.5 * 9 / 10), strict=True
    )
]
RATES = [
    *(
        case(
            metric.name,
            pods(str(counter), 60, 120, more=more),
            metric,
            one(metric, 3, R1),
        )
        for metric, counter, more in (
            (names.REQUESTS_RATE, names.REQUESTS_FINISHED, ',finished_reason="stop"'),
            (names.PROMPT_TOKENS_RATE, names.PROMPT_TOKENS, ""),
            (names.GENERATION_TOKENS_RATE, names.GENERATION_TOKENS, ""),
        )
    ),
    *(
        case(
            metric.name,
            buckets(histogram, {"1.0": 60}) | buckets(histogram, {"1.0": 120}, "p1"),
            metric,
            one(metric, 3, f'{WHO},le="1.0"'),
        )
        for metric, histogram in (
            (names.TTFT_BUCKETS_RATE, names.TTFT),
            (names.ITL_BUCKETS_RATE, names.ITL),
            (names.E2E_BUCKETS_RATE, names.E2E),
        )
    ),
    case(
        "answers by status",
        {f'{names.FRONTEND_REQUESTS}{{{FRONT},code="200"}}': "0+60x15"},
        names.FRONTEND_REQUESTS_RATE,
        one(names.FRONTEND_REQUESTS_RATE, 1, f'{WHO},code="200"'),
    ),
    case(
        "the first answer with a status counts",
        {
            f'{names.FRONTEND_REQUESTS}{{{FRONT},code="200"}}': "0+60x15",
            f'{names.FRONTEND_REQUESTS}{{{FRONT},code="503"}}': "_x8 30x15",
        },
        names.FRONTEND_REQUESTS_RATE,
        one(names.FRONTEND_REQUESTS_RATE, 0.1, f'{WHO},code="503"'),
        f'{names.FRONTEND_REQUESTS_RATE}{{code="503"}}',
    ),
    case(
        "a frontend that is seen for the first time has not answered all at once",
        {f'{names.FRONTEND_REQUESTS}{{{FRONT},code="200"}}': "_x8 9000x15"},
        names.FRONTEND_REQUESTS_RATE,
        one(names.FRONTEND_REQUESTS_RATE, 0, f'{WHO},code="200"'),
    ),
]
IDLE = [
    case(f"no requests, no {metric}", series, metric, {})
    for metric, series in (
        (names.TTFT_P95, buckets(names.TTFT, dict.fromkeys(SPREAD, 0.0))),
        (
            names.PREFIX_CACHE_HIT_RATE,
            pods(str(names.PREFIX_CACHE_HITS), 0) | pods(str(names.PREFIX_CACHE_QUERIES), 0),
        ),
        (names.ERRORS["5m"], {f'{names.FRONTEND_REQUESTS}{{{FRONT},code="200"}}': "7x15"}),
        (
            names.TTFT_SLO_ERRORS["5m"],
            buckets(names.TTFT, dict.fromkeys(SPREAD, 0.0))
            | tells("target_seconds", 1, ',target="ttft"'),
        ),
    )
]
HELD = {f"{names.HELD_REQUESTS}{{{WHO}}}": "4x15"}
WAITING = {f'{names.REQUESTS_WAITING}{{{R1},pod="p{number}"}}': f"{number}x15" for number in (1, 2)}
SHARES = [
    case(
        "prefix cache",
        pods(str(names.PREFIX_CACHE_HITS), 10, 80)
        | pods(str(names.PREFIX_CACHE_QUERIES), 100, 100),
        names.PREFIX_CACHE_HIT_RATE,
        one(names.PREFIX_CACHE_HIT_RATE, 0.45, R1),
    ),
    case(
        "speculation",
        pods(str(names.SPEC_ACCEPTED_TOKENS), 60) | pods(str(names.SPEC_DRAFT_TOKENS), 80),
        names.SPEC_ACCEPTANCE,
        one(names.SPEC_ACCEPTANCE, 0.75, R1),
    ),
    *(
        case(
            f"speculation by {gauge}",
            {
                f'{gauge}{{{R1},pod="p{number}"}}': f"{value}x15"
                for number, value in ((0, 0.4), (1, 0.6))
            },
            names.SPEC_ACCEPTANCE,
            one(names.SPEC_ACCEPTANCE, 0.5, R1),
        )
        for gauge in SPEC_ACCEPTANCE_GAUGES
    ),
    # Two replicas of two accelerators each; each accelerator could do 1000 a second.
    case(
        "operations",
        pods(str(names.FLOPS), 60 * 100, 60 * 300)
        | tells("accelerators", 2)
        | tells("accelerator_flops", 2000),
        names.MFU,
        one(names.MFU, 0.2),
    ),
    case(
        "hardware that nobody knows has no share",
        pods(str(names.FLOPS), 6000) | tells("accelerators", 2),
        names.MFU,
        {},
    ),
    case(
        "memory",
        pods(str(names.MEMORY_READ), 60 * 100)
        | pods(str(names.MEMORY_WRITTEN), 60 * 20)
        | tells("accelerators", 2)
        | tells("accelerator_bytes_per_second", 2000),
        names.MEMORY_BANDWIDTH_USE,
        one(names.MEMORY_BANDWIDTH_USE, 0.12),
    ),
    *(
        case(
            f"queue: {name}",
            series,
            names.QUEUE,
            one(names.QUEUE, value),
        )
        for name, series, value in (
            (
                "both",
                {f"{names.HELD_REQUESTS}{{{WHO}}}": "4x15"} | pods(str(names.REQUESTS_WAITING), 0),
                4,
            ),
            ("frontend alone", {f"{names.HELD_REQUESTS}{{{WHO}}}": "4x15"}, 4),
            ("engines alone", {f'{names.REQUESTS_WAITING}{{{R1},pod="p"}}': "3x15"}, 3),
        )
    ),
]
ANSWERED = {
    f'{names.FRONTEND_REQUESTS}{{{FRONT},code="{code}"}}': f"0+{count}x15"
    for code, count in (("200", 54), ("404", 2), ("429", 1), ("503", 3))
}
ERRORS = [
    case("answers", ANSWERED, names.ANSWERS, one(names.ANSWERS, 1)),
    case("errors", ANSWERED, names.ERROR_ANSWERS, one(names.ERROR_ANSWERS, 4 / 60)),
    case("their share", ANSWERED, names.ERRORS["5m"], one(names.ERRORS["5m"], 4 / 60)),
    case(
        "no error is zero errors",
        {f'{names.FRONTEND_REQUESTS}{{{FRONT},code="200"}}': "0+60x15"},
        names.ERRORS["5m"],
        one(names.ERRORS["5m"], 0),
    ),
    case(
        "the objective for errors",
        ANSWERED,
        names.OBJECTIVE,
        one(names.OBJECTIVE, 0.995, f'{WHO},slo="errors"'),
    ),
]


def late(name: str, target: float, share: float | None, spread: dict[str, float]) -> list[Case]:
    """The same for both latencies that have targets."""
    found = []
    for each, histogram in zip(services.LATENCIES, (names.TTFT, names.ITL), strict=True):
        metric = each.shares["5m"]
        series = buckets(histogram, spread)
        series |= tells("target_seconds", target, f',target="{each.target}"')
        expected = {} if share is None else one(metric, share)
        found.append(case(f"{each.target}: {name}", series, metric, expected))
    return found


LATE = [
    *late("a target on an edge", 1, 0.1, SPREAD),
    *late("between two edges, in proportion", 0.4, 0.4 - 0.3 * 0.15 / 0.75, SPREAD),
    *late("in the first bucket, in proportion", 0.1, 1 - 0.6 * 0.1 / 0.25, SPREAD),
    *late("beyond the last edge", 60, 0, SPREAD),
    *late("beyond the last edge, which not all keep", 60, 0.1, {"1.0": 90.0, "+Inf": 100.0}),
    *late("edges written as whole numbers", 1, 0.1, {"0.25": 60.0, "1": 90.0, "+Inf": 100.0}),
    *late("edges that nobody knows say nothing", 1, None, {"0.77": 60.0, "+Inf": 100.0}),
    *late("some edges that nobody knows", 1, 0.1, SPREAD | {"0.77": 80.0}),
]
AROUND = [
    case(
        metric.name,
        buckets(histogram, SPREAD) | tells("target_seconds", 0.4, f',target="{each.target}"'),
        metric,
        one(
            metric,
            value,
            f"{WHO}{',le=' + chr(34) + '0.25' + chr(34) if each.edge is metric else ''}",
        ),
        f'{metric}{{le="0.25"}}' if each.edge is metric else "",
    )
    for each, histogram in zip(services.LATENCIES, (names.TTFT, names.ITL), strict=True)
    for metric, value in (
        (each.limit, 0.4),
        (each.edge, 0.25),
        (each.below, 0.25),
        (each.above, 1.0),
        (each.judged, 100 / 60),
        (each.slow, 34 / 60),
    )
]
OBJECTIVES = [
    case(
        "edges as numbers",
        {},
        names.EDGE,
        one(names.EDGE, 2.5, 'le="2.5"') | one(names.EDGE, math.inf, 'le="+Inf"'),
        f'{names.EDGE}{{le=~"2.5|.Inf"}}',
    ),
    case(
        "the objective is the target's percentile",
        tells("target_seconds", 1, ',target="ttft"') | tells("target_ratio", 0.9, ',target="ttft"'),
        names.OBJECTIVE,
        one(names.OBJECTIVE, 0.9, f'{WHO},slo="ttft"'),
    ),
    case(
        "or the chart's, for a target without one",
        tells("target_seconds", 1, ',target="itl"'),
        names.OBJECTIVE,
        one(names.OBJECTIVE, 0.95, f'{WHO},slo="itl"'),
    ),
    case(
        "goodput is the worse latency's share without errors",
        buckets(names.TTFT, SPREAD)
        | buckets(names.ITL, {"0.1": 50.0, "1.0": 100.0, "+Inf": 100.0})
        | tells("target_seconds", 1, ',target="ttft"')
        | tells("target_seconds", 0.1, ',target="itl"')
        | ANSWERED,
        names.GOODPUT,
        one(names.GOODPUT, 0.5 * 56 / 60),
    ),
    case(
        "goodput where the frontend is not scraped",
        buckets(names.TTFT, SPREAD) | tells("target_seconds", 1, ',target="ttft"'),
        names.GOODPUT,
        one(names.GOODPUT, 0.9),
    ),
    case("no target, no goodput", buckets(names.TTFT, SPREAD) | ANSWERED, names.GOODPUT, {}),
]
CASES = [
    *RATES, *QUANTILES, *IDLE, *SHARES, *ERRORS, *LATE, *AROUND, *OBJECTIVES,
]  # fmt: skip
# An hour of trouble, before and after which all is well: 36 of 100 requests in that hour.
LONG = [
    Case(
        metric.name,
        {
            f"{bad}{{{WHO}}}": "0x71 36",
            f"{whole}{{{WHO}}}": "100x72",
        },
        str(metric),
        {f"{metric}{{{WHO}}}": 0.36 / hours},
        at="72h",
        interval="1h",
        proves=(metric.name,),
    )
    for bad, whole, shares in (
        (names.ERROR_ANSWERS, names.ANSWERS, names.ERRORS),
        (names.TTFT_SLOW, names.TTFT_JUDGED, names.TTFT_SLO_ERRORS),
        (names.ITL_SLOW, names.ITL_JUDGED, names.ITL_SLO_ERRORS),
    )
    for metric, hours in zip(list(shares.values())[1:], (1, 1, 6, 72), strict=True)
]


def test_services(promtool: Promtool) -> None:
    promtool.prove(services.groups(), CASES, every="5m")


def test_shares_of_long_windows(promtool: Promtool) -> None:
    long = {case.name for case in LONG}
    rules = tuple(
        rule
        for group in services.groups()
        for rule in group.rules
        if isinstance(rule, Rule) and rule.record in long
    )
    promtool.prove([Group("long", rules)], LONG, every="1h")


def test_from_the_engine_to_the_share(promtool: Promtool) -> None:
    """All groups at once: an old vLLM and a new SGLang serve one service."""
    series = {
        f'{name}_bucket{{{WHO},revision="{revision}",pod="p",le="{edge}"}}': f"0+{count}x15"
        for revision, name in (
            ("r1", "vllm:time_to_first_token_seconds"),
            ("r2", "sglang:time_to_first_token_seconds"),
        )
        for edge, count in (("0.1", 60), ("+Inf", 80))
    } | tells("target_seconds", 0.1, ',target="ttft"')
    metric = names.TTFT_SLO_ERRORS["5m"]
    groups = [*recording.groups(), *services.groups()]
    promtool.prove(groups, [case("both", series, metric, one(metric, 0.25))])


def test_every_rule_is_proven_by_value() -> None:
    rules = {
        rule.record for group in services.groups() for rule in group.rules if isinstance(rule, Rule)
    }
    assert rules == {name for case in [*CASES, *LONG] for name in case.proves}


@pytest.mark.parametrize("metric", HISTOGRAMS, ids=str)
def test_engines_edges_are_known(metric: Metric) -> None:
    """What the engines' sources say, so that a target never falls between too few edges."""
    vllm = {
        names.TTFT: (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5,
                     7.5, 10, 20, 40, 80, 160, 640, 2560),
        names.ITL: (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5,
                    10, 20, 40, 80),
    }.get(metric, ())  # fmt: skip
    sglang = (0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400)
    assert {*vllm, *sglang} <= set(services.EDGES)
