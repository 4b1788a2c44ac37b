"""Rules of cost: dollars over requests and tokens. `stoker.cost.figures` computes the same.

Windows are made of recorded rates: a sum of rates over a window is what happened in it, but for a
factor that is the same above and below the line. So a service that was at zero for half of the day
has no request and no dollar there, and its ratios are right.
"""

from collections.abc import Iterator
from typing import Final

from charts.observability import costnames, names
from charts.observability.metric import REVISION, SERVICE, Metric
from charts.observability.promql import labels, of_service
from charts.observability.rulefile import Group, Rule

ON: Final = f"on {labels(SERVICE)}"
_COUNTER: Final = "stoker_service_cost_dollars_total"
# A rate of five minutes, every five minutes: each second once, and few samples.
_STEP: Final = ":5m"
_MILLION: Final = "1e6"


def groups() -> tuple[Group, ...]:
    """Groups of rules, in the order in which they build on each other."""
    windows = (Group(f"stoker-cost-{w}", tuple(_window(w))) for w in costnames.WINDOWS)
    return (Group("stoker-cost", tuple(_rates())), *windows)


def _rates() -> Iterator[Rule]:
    price = "stoker_service_price_dollars_per_hour"
    yield Rule(costnames.PRICE, f"max by {labels(costnames.PRICE.labels)} ({price})")
    yield Rule(costnames.COST_RATE, _counted("rate", "5m"))
    given, hits = (
        str(names.PROMPT_TOKENS_RATE),
        _by(REVISION, f"rate({names.PREFIX_CACHE_HITS}[5m])"),
    )
    on = f"on {labels(REVISION)}"
    yield Rule(
        costnames.COMPUTED_TOKENS_RATE, f"clamp_min({given} - {on} ({hits}), 0)\nor {on}\n{given}"
    )
    yield Rule(costnames.E2E_TIME_RATE, _by(SERVICE, f"rate({names.E2E.sum}[5m])"))
    yield Rule(costnames.TOKEN_COST_RATIO, _ratio())
    public = [
        f"{_by(SERVICE, str(tokens))} * {ON}\n{of_service(_public(direction))}"
        for direction, tokens in (
            ("input", names.PROMPT_TOKENS_RATE),
            ("output", names.GENERATION_TOKENS_RATE),
        )
    ]
    yield Rule(costnames.PUBLIC_COST_RATE, f"(\n{public[0]}\n+ {ON}\n{public[1]}\n) / {_MILLION}")
    static = of_service("stoker_service_static_price_dollars_per_hour")
    yield Rule(costnames.STATIC_COST_RATE, f"{static} / 3600")


def _window(window: str) -> Iterator[Rule]:
    yield Rule(costnames.COST[window], _counted("increase", window))
    spent = f"sum_over_time({costnames.COST_RATE}[{window}{_STEP}])"
    by = (*SERVICE, "share")
    yield Rule(
        costnames.COST_SHARE[window],
        f"{_by(by, spent)}\n/ {ON} group_left ()\n({_by(SERVICE, spent)} > 0)",
    )
    for level, per_request, per_token in (
        (SERVICE, costnames.COST_PER_REQUEST, costnames.COST_PER_TOKEN),
        (REVISION, costnames.REVISION_COST_PER_REQUEST, costnames.REVISION_COST_PER_TOKEN),
    ):
        asked = _sum(level, names.REQUESTS_RATE, window)
        yield Rule(per_request[window], f"{_by(level, spent)}\n/ ({asked} > 0)")
        yield from _per_token(per_token[window], level, window, _by(level, spent))
    if window in costnames.COST_PER_REQUEST_P95:
        yield Rule(costnames.COST_PER_REQUEST_P95[window], _p95(window))


def _per_token(metric: Metric, level: tuple[str, ...], window: str, spent: str) -> Iterator[Rule]:
    """Of the bill, a computed token of input weighs 1 and one of output `ratio`."""
    given = _sum(level, names.PROMPT_TOKENS_RATE, window)
    computed = _sum(level, costnames.COMPUTED_TOKENS_RATE, window)
    made = _sum(level, names.GENERATION_TOKENS_RATE, window)
    ratio = f"{ON} group_left () {costnames.TOKEN_COST_RATIO}"
    each = f"({spent})\n/ (({computed}\n+ {made} * {ratio}) > 0)\n* {_MILLION}"
    of_input = f"{each}\n* {computed}\n/ ({given} > 0)"
    yield Rule(metric, of_input, labels={"direction": "input"})
    yield Rule(metric, f"({each}\n* {ratio}) and {made} > 0", labels={"direction": "output"})


def _p95(window: str) -> str:
    """Serving goes with the time of a request; what serves nobody is spread evenly."""
    cost = f'sum_over_time({costnames.COST_RATE}{{share%s"serving"}}[{window}{_STEP}])'
    serving, rest = (_by(SERVICE, cost % sign) for sign in ("=", "!="))
    buckets = f"sum_over_time({names.E2E_BUCKETS_RATE}[{window}{_STEP}])"
    p95 = f"(histogram_quantile(0.95, {buckets}) >= 0)"
    asked = _sum(SERVICE, names.REQUESTS_RATE, window)
    answered = f'sum_over_time({names.E2E_BUCKETS_RATE}{{le="+Inf"}}[{window}{_STEP}])'
    mean = f"({_sum(SERVICE, costnames.E2E_TIME_RATE, window)} / {_by(SERVICE, answered)})"
    none = f"{serving} * 0"
    return f"(\n{serving}\n* {p95}\n/ {mean}\n+ ({rest}\nor {none})\n)\n/ ({asked} > 0)"


def _ratio() -> str:
    """By the plan; without one each running request takes an equal part of the time."""
    plan = of_service("stoker_service_token_cost_ratio")

    def lasted(histogram: Metric) -> str:
        return _by(SERVICE, f"rate({histogram.sum}[1h])")

    made = _by(SERVICE, f"rate({names.GENERATION_TOKENS}[1h])")
    given = _by(SERVICE, f"avg_over_time({costnames.COMPUTED_TOKENS_RATE}[1h])")
    decode = f"({lasted(names.E2E)} - {lasted(names.TTFT)}) / ({made} > 0)"
    prefill = f"({lasted(names.TTFT)} - {lasted(names.QUEUE_TIME)}) / ({given} > 0)"
    return f"{plan}\nor {ON}\n(({decode})\n/ (({prefill}) > 0)) > 0"


def _public(direction: str) -> str:
    return f'stoker_service_public_price_dollars{{direction="{direction}"}}'


def _counted(function: str, window: str) -> str:
    """One operator at a time counts; two targets that scrape it count once."""
    each = f"max by {labels((*costnames.BY_SHARE, 'pod'))} ({function}({_COUNTER}[{window}]))"
    return _by(costnames.BY_SHARE, each)


def _sum(level: tuple[str, ...], rate: Metric, window: str) -> str:
    return _by(level, f"sum_over_time({rate}[{window}{_STEP}])")


def _by(level: tuple[str, ...], expression: str) -> str:
    return f"sum by {labels(level)} ({expression})"
