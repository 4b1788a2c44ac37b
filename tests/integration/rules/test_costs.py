"""Dollars over requests and tokens, each by value; the same numbers as in the operator's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charts.observability import costnames, costs, names
from charts.observability.rulefile import Rule
from tests.support.promtool import Case

if TYPE_CHECKING:
    from charts.observability.metric import Metric
    from tests.support.promtool import Promtool

WHO = 'namespace="team",service="chat"'
R1 = f'{WHO},revision="r1"'
COUNTER = "stoker_service_cost_dollars_total"
# A rate of five minutes needs samples every minute; for windows, of which recorded rates are the
# input, one every five minutes is enough. Everything grows evenly from the beginning.
EVERY_S = {"1m": 60, "5m": 300}


def grows(series: str, per_second: float, every: str = "1m") -> dict[str, str]:
    return {series: f"0+{per_second * EVERY_S[every]}x300"}


def stays(series: str, value: float) -> dict[str, str]:
    return {series: f"{value}x300"}


def dollars(share: str, per_second: float, every: str = "1m") -> dict[str, str]:
    """The operator's counter, scraped by way of two targets."""
    found: dict[str, str] = {}
    for job in ("stoker", "mine"):
        labels = f'{R1},share="{share}",pod="operator-1",job="{job}"'
        found |= grows(f"{COUNTER}{{{labels}}}", per_second, every)
    return found


def case(
    name: str,
    series: dict[str, str],
    metric: Metric,
    expected: dict[str, float],
    at: str = "2h",
    interval: str = "1m",
) -> Case:
    """Compared to a billionth of a dollar."""
    asked = f"round({metric}, 0.000000001)"
    rounded = {labels: round(value, 9) for labels, value in expected.items()}
    return Case(name, series, asked, rounded, at=at, interval=interval, proves=(metric.name,))


def spent(**per_second: float) -> dict[str, str]:
    """The recorded rates."""
    found: dict[str, str] = {}
    for share, rate in per_second.items():
        found |= stays(f'{costnames.COST_RATE}{{{R1},share="{share}"}}', rate)
    return found


# A service that spends a cent a second while it serves and half a cent while it is idle: $54 an
# hour. Two requests a second; 100 tokens of prompt each, half of them cached, and 50 of answer.
COUNTED = dollars("serving", 0.01) | dollars("idle", 0.005)
SHARES = {"serving": 0.01, "idle": 0.005}
SPENT = spent(**SHARES)
REQUESTS = stays(f"{names.REQUESTS_RATE}{{{R1}}}", 2.0)
GIVEN = stays(f"{names.PROMPT_TOKENS_RATE}{{{R1}}}", 200.0)
CACHED = grows(f'{names.PREFIX_CACHE_HITS}{{{R1},pod="p"}}', 100.0)
MADE = stays(f"{names.GENERATION_TOKENS_RATE}{{{R1}}}", 100.0)
RATIO = stays(f"stoker_service_token_cost_ratio{{{WHO}}}", 4.0)
COMPUTED = stays(f"{costnames.COMPUTED_TOKENS_RATE}{{{R1}}}", 100.0)
WEIGHED = stays(f"{costnames.TOKEN_COST_RATIO}{{{WHO}}}", 4.0)
ALL = SPENT | REQUESTS | GIVEN | COMPUTED | MADE | WEIGHED
# 100 computed tokens of input and 100 x 4 of output share 1.5 cents a second.
INPUT = 0.015 / 500 * 1e6 * 100 / 200
OUTPUT = 0.015 / 500 * 1e6 * 4
# Each second two requests end, of 3 s together; nine in ten end within a second.
LASTED = grows(f'{names.E2E.sum}{{{R1},pod="p"}}', 3.0)
TIMES = {
    **stays(f"{costnames.E2E_TIME_RATE}{{{WHO}}}", 3.0),
    **stays(f'{names.E2E_BUCKETS_RATE}{{{WHO},le="1.0"}}', 1.8),
    **stays(f'{names.E2E_BUCKETS_RATE}{{{WHO},le="2.0"}}', 2.0),
    **stays(f'{names.E2E_BUCKETS_RATE}{{{WHO},le="+Inf"}}', 2.0),
}
PUBLIC = {
    **stays(f'stoker_service_public_price_dollars{{{WHO},direction="input"}}', 0.15),
    **stays(f'stoker_service_public_price_dollars{{{WHO},direction="output"}}', 0.6),
}

RATES = [
    case("a price is told once", {
        f'stoker_service_price_dollars_per_hour{{{R1},capacity="spot",job="{job}"}}': "0.48x300"
        for job in ("a", "b")
    }, costnames.PRICE, {f'{{{R1},capacity="spot"}}': 0.48}),
    case("dollars a second", COUNTED, costnames.COST_RATE, {
        f'{{{R1},share="serving"}}': 0.01, f'{{{R1},share="idle"}}': 0.005,
    }),
    case("cached tokens are not computed", GIVEN | CACHED, costnames.COMPUTED_TOKENS_RATE,
         {f"{{{R1}}}": 100.0}),
    case("without a prefix cache all are", GIVEN, costnames.COMPUTED_TOKENS_RATE,
         {f"{{{R1}}}": 200.0}),
    case("the time of all requests", LASTED, costnames.E2E_TIME_RATE, {f"{{{WHO}}}": 3.0}),
    case("a ratio by the plan", RATIO | LASTED, costnames.TOKEN_COST_RATIO, {f"{{{WHO}}}": 4.0}),
    # 2 s of decoding for 100 tokens, 0.5 s of prefill for 100 that were computed.
    case("a ratio by time where there is no plan", {
        **LASTED, **GIVEN, **CACHED,
        **grows(f'{names.TTFT.sum}{{{R1},pod="p"}}', 1.0),
        **grows(f'{names.QUEUE_TIME.sum}{{{R1},pod="p"}}', 0.5),
        **grows(f'{names.GENERATION_TOKENS}{{{R1},pod="p"}}', 100.0),
    }, costnames.TOKEN_COST_RATIO, {f"{{{WHO}}}": 4.0}),
    # 200 x 0.15 + 100 x 0.60 for a million tokens.
    case("a public API", GIVEN | MADE | PUBLIC, costnames.PUBLIC_COST_RATE,
         {f"{{{WHO}}}": 90 / 1e6}),
    case("no public price, no comparison", GIVEN | MADE, costnames.PUBLIC_COST_RATE, {}),
    case("a static fleet", stays(f"stoker_service_static_price_dollars_per_hour{{{WHO}}}", 7.2),
         costnames.STATIC_COST_RATE, {f"{{{WHO}}}": 0.002}),
]  # fmt: skip


def windows(window: str, seconds: int) -> list[Case]:
    """What is divided, after a window has passed in full."""
    raw = dollars("serving", 0.01, "5m") | dollars("idle", 0.005, "5m")

    def after(
        name: str, series: dict[str, str], metric: Metric, expected: dict[str, float]
    ) -> Case:
        return case(f"{name}, {window}", series, metric, expected, "25h", "5m")

    shares = {f'{{{WHO},share="serving"}}': 2 / 3, f'{{{WHO},share="idle"}}': 1 / 3}
    sums = {f'{{{R1},share="{s}"}}': rate * seconds for s, rate in SHARES.items()}

    def directions(labels: str) -> dict[str, float]:
        of_input, of_output = (f'{{{labels},direction="{d}"}}' for d in ("input", "output"))
        return {of_input: INPUT, of_output: OUTPUT}

    return [
        after("dollars", raw, costnames.COST[window], sums),
        after("shares", SPENT, costnames.COST_SHARE[window], shares),
        after("a request", ALL, costnames.COST_PER_REQUEST[window], {f"{{{WHO}}}": 0.0075}),
        after("no request, no cost of one", SPENT, costnames.COST_PER_REQUEST[window], {}),
        after("tokens", ALL, costnames.COST_PER_TOKEN[window], directions(WHO)),
        after("of a revision", ALL, costnames.REVISION_COST_PER_REQUEST[window],
              {f"{{{R1}}}": 0.0075}),
        after("tokens of one", ALL, costnames.REVISION_COST_PER_TOKEN[window], directions(R1)),
    ]  # fmt: skip


WINDOWS = [
    *windows("1h", 3600),
    *windows("1d", 86_400),
    # A mean of 1.5 s and a P95 of 1.5 s: serving as it is, and what serves nobody on top.
    case("a dear request", ALL | TIMES, costnames.COST_PER_REQUEST_P95["1h"],
         {f"{{{WHO}}}": (0.01 * 1.5 / 1.5 + 0.005) / 2}, "25h", "5m"),
    case("nothing but serving", spent(serving=0.01) | REQUESTS | TIMES,
         costnames.COST_PER_REQUEST_P95["1h"], {f"{{{WHO}}}": 0.005}, "25h", "5m"),
]  # fmt: skip


def test_rates(promtool: Promtool) -> None:
    promtool.prove(costs.groups()[:1], RATES, every="5m")


def test_windows(promtool: Promtool) -> None:
    promtool.prove(costs.groups()[1:], WINDOWS, every="1h")


def test_input_and_output_are_the_whole_bill() -> None:
    assert abs((200 * INPUT + 100 * OUTPUT) / 1e6 - 0.015) < 1e-12


def test_every_rule_is_proven_by_value() -> None:
    rules = {
        rule.record for group in costs.groups() for rule in group.rules if isinstance(rule, Rule)
    }
    assert rules == {name for case in [*RATES, *WINDOWS] for name in case.proves}
