"""The page of money, which answers: what each service costs, and for what."""

from typing import Final

from charts.observability.dashboards import kit
from charts.observability.dashboards.values import (
    BAD,
    BLUE,
    GREEN,
    GREY,
    WARN,
    YELLOW,
    Board,
    Kind,
    Panel,
    Row,
    Scenario,
    Target,
    rising,
)

_NAMES: Final = (("cluster", "Cluster"), ("namespace", "Namespace"), ("service", "Service"))
_SPENT: Final = "stoker_service_cost_dollars_total"


def _price(more: str = "") -> str:
    """Dollars per hour now, by service, revision and capacity."""
    metric = "stoker_service_price_dollars_per_hour"
    return kit.once(metric, more, by="revision, capacity", of="revision")


_PRICE: Final = _price()


def _spent(more: str = "", window: str = "$__range") -> str:
    return f"sum(increase({_SPENT}{{@revision{more}}}[{window}]))"


_NOW: Final = Row(
    "Now",
    (
        kit.figure(
            "Price now",
            "What all replicas that are on a node cost in an hour, by the catalogue's prices. "
            "Bad: far above yesterday's at this hour; the table below says which service.",
            "currencyUSD",
            Scenario.COST,
            (Target(f"sum({_PRICE})", "per hour"),),
            decimals=2,
            runbooks=("StokerBudgetReached",),
        ),
        kit.figure(
            "A day like this hour",
            "The price now, times 24. "
            "Bad: above what you can pay; scaling.budget in a service's spec bounds it.",
            "currencyUSD",
            Scenario.COST,
            (Target(f"24 * sum({_PRICE})", "per day"),),
            decimals=2,
        ),
        kit.figure(
            "Share that served nobody",
            "Of what was spent in the chosen time: replicas that were idle, starting or ending. "
            "Bad: above a half: minimum replicas too high, scale-down too slow, or long starts. "
            "Some of it is the price of answering at once.",
            "percentunit",
            Scenario.COST,
            (
                Target(
                    f"""{_spent(', share=~"idle|starting|ending"')} / ({_spent()} > 0)""",
                    "not serving",
                ),
            ),
            steps=rising(0.5, 0.8),
            decimals=0,
        ),
        kit.figure(
            "Accelerators without a price",
            "Accelerators in use that the catalogue knows no price for: every figure here is "
            "without them. Bad: above zero: set accelerators.<type>.hardware.pricePerHour.",
            "short",
            Scenario.COST,
            (
                Target(
                    "sum(stoker_service_unpriced_accelerators{@revision}) or vector(0)",
                    "unpriced",
                ),
            ),
            steps=rising(1, 2),
            decimals=0,
        ),
    ),
)

_SERVICES: Final = Row(
    "Services",
    (
        Panel(
            "What each service costs",
            "Price now, what was spent in the chosen time and for what, and for a request and a "
            "million tokens. A click on the name opens the service. "
            "Bad: a high price with a low share of serving.",
            "currencyUSD",
            Scenario.COST,
            (
                Target(f"sum by ({kit.EACH}) ({_PRICE})", "$ per hour now"),
                Target(
                    f"sum by ({kit.EACH}) (increase({_SPENT}{{@revision}}[$__range]))",
                    "$ in this time",
                ),
                Target(
                    f"""
                    sum by ({kit.EACH}) (increase({_SPENT}{{@revision, share="serving"}}[$__range]))
                    / (sum by ({kit.EACH}) (increase({_SPENT}{{@revision}}[$__range])) > 0)
                    """,
                    "Serving",
                    unit="percentunit",
                ),
                Target(
                    f"""
                    sum by ({kit.EACH}) (increase({_SPENT}{{@revision}}[$__range]))
                    / (sum by ({kit.EACH})
                      (increase(stoker:requests_finished_total{{@revision}}[$__range])) > 0)
                    """,
                    "$ per request",
                ),
            ),
            Kind.TABLE,
            width=24,
            columns=_NAMES,
            sort="$ per hour now",
            links=(kit.OF_ROW,),
            nothing="-",
        ),
    ),
)

_FOR: Final = Row(
    "For what",
    (
        Panel(
            "Price by what the time was for",
            "Dollars an hour: serving (requests ran), idle (ready, none ran), starting (on a node, "
            "not ready), ending (draining), unknown (requests could not be counted). "
            "Bad: idle is the largest for hours; starting comes in a saw: scaling up and down in "
            "turns.",
            "currencyUSD",
            Scenario.COST,
            (
                Target(
                    f"3600 * sum by (share) (rate({_SPENT}{{@revision}}[$__rate_interval]))",
                    "{{share}}",
                ),
            ),
            Kind.STACK,
            colours=(
                ("serving", GREEN),
                ("idle", GREY),
                ("starting", WARN),
                ("ending", YELLOW),
                ("unknown", BAD),
            ),
        ),
        Panel(
            "Price by capacity",
            "Replicas on nodes that the cloud may take away (spot) and on others. "
            "Bad: all on demand, where spot was to save; or all spot for a service that must not "
            "fail.",
            "currencyUSD",
            Scenario.COST,
            (
                Target("sum(" + _price('capacity="on_demand"') + ")", "on demand", BLUE),
                Target(
                    "sum(" + _price('capacity="spot"') + ")",
                    "spot",
                    GREEN,
                    scenario=Scenario.SPOT,
                ),
            ),
            Kind.STACK,
        ),
        Panel(
            "Price by service: the ten dearest",
            "Dollars an hour. A click on a line opens the service. "
            "Bad: a step upwards that its load does not explain.",
            "currencyUSD",
            Scenario.COST,
            (Target(f"topk(10, sum by ({kit.EACH}) ({_PRICE}))", kit.LINE),),
            links=(kit.OF_LINE,),
        ),
        Panel(
            "Price by revision",
            "Dollars an hour of each revision of the chosen services: what a rollout costs, and "
            "whether the new one is cheaper. Bad: two revisions for long.",
            "currencyUSD",
            Scenario.COST,
            (
                Target(
                    f"topk(10, sum by ({kit.EACH}, revision) ({_PRICE}))",
                    "{{namespace}}/{{service}} {{revision}}",
                ),
            ),
            Kind.STACK,
        ),
    ),
)

_HOUR: Final = "[1h]"


def _hour(metric: str) -> str:
    """How much a counter grew within an hour, by service."""
    return f"sum by ({kit.EACH}) (increase({metric}{{@revision}}{_HOUR}))"


_INPUT: Final = _hour("stoker:prompt_tokens_total")
_OUTPUT: Final = _hour("stoker:generation_tokens_total")
_FOUND: Final = _hour("stoker:prefix_cache_hits_total")
_REQUESTS: Final = _hour("stoker:requests_finished_total")
_RATIO: Final = f"max by ({kit.EACH}) (stoker_service_token_cost_ratio{{@service}})"
# What was found in the prefix cache was not computed; docs/cost.md has the formulas.
_COMPUTED: Final = f"clamp_min({_INPUT} - ({_FOUND} or 0 * {_INPUT}), 0)"
_WEIGHT: Final = f"(({_COMPUTED} + {_RATIO} * {_OUTPUT}) > 0)"
_SERVING: Final = f'sum by ({kit.EACH}) (increase({_SPENT}{{@revision, share="serving"}}{_HOUR}))'
_P95: Final = (
    f"histogram_quantile(0.95, sum by ({kit.EACH}, le) "
    f"(rate(stoker:e2e_seconds_bucket{{@revision}}{_HOUR})))"
)
_MEAN: Final = (
    f"(sum by ({kit.EACH}) (rate(stoker:e2e_seconds_sum{{@revision}}{_HOUR})) "
    f"/ (sum by ({kit.EACH}) (rate(stoker:e2e_seconds_count{{@revision}}{_HOUR})) > 0))"
)


def _there(direction: str) -> str:
    """The price of a million tokens at the public API, by service."""
    return kit.once("stoker_service_public_price_dollars", f'direction="{direction}"')


def _public(direction: str) -> Target:
    return Target(
        _there(direction),
        f"public API, {kit.LINE}",
        BAD,
        dashed=True,
        scenario=Scenario.PUBLIC_PRICE,
    )


_UNITS: Final = Row(
    "For a request and a million tokens, mean of the last hour",
    (
        Panel(
            "A million tokens of output",
            "Everything that was spent, idle replicas and starts included, shared between tokens "
            "of input and output by what they cost of a replica. Dashed: the public price in "
            "the service's spec. "
            "Bad: above the dashed line for days: the public API is cheaper at this load.",
            "currencyUSD",
            Scenario.COST,
            (
                Target(f"1e6 * {_hour(_SPENT)} / {_WEIGHT} * {_RATIO}", kit.LINE),
                _public("output"),
            ),
            links=(kit.OF_LINE,),
        ),
        Panel(
            "A million tokens of input",
            "As beside; tokens that the prefix cache had cost nothing. "
            "Bad: above the dashed line for days, or rising: fewer prompts share a beginning.",
            "currencyUSD",
            Scenario.COST,
            (
                Target(
                    f"1e6 * {_hour(_SPENT)} / {_WEIGHT} * {_COMPUTED} / ({_INPUT} > 0)", kit.LINE
                ),
                _public("input"),
            ),
            links=(kit.OF_LINE,),
        ),
        Panel(
            "A request, mean",
            "Everything that was spent over the requests that ended. "
            "Bad: it rises at night: too many replicas wait for little load.",
            "currencyUSD",
            Scenario.COST,
            (Target(f"{_hour(_SPENT)} / ({_REQUESTS} > 0)", kit.LINE),),
            links=(kit.OF_LINE,),
        ),
        Panel(
            "A request, P95",
            "What the dearest of 20 requests costs: it shares the time of serving by how long it "
            "runs, and idle replicas and starts like any other. "
            "Bad: far above the mean: a few requests are very long.",
            "currencyUSD",
            Scenario.COST,
            (
                Target(
                    f"({_SERVING} * {_P95} / {_MEAN} + ({_hour(_SPENT)} - {_SERVING})) "
                    f"/ ({_REQUESTS} > 0)",
                    kit.LINE,
                ),
            ),
            links=(kit.OF_LINE,),
        ),
    ),
)

_COMPARED: Final = Row(
    "Compared",
    (
        Panel(
            "With a fleet of fixed size",
            "The price of the chosen services, and (dashed) of a fleet that always has as many "
            "replicas as the busiest moment of the last day needed. The room between is what "
            "scaling saves. Bad: none: the load is flat, or scaling does not follow it.",
            "currencyUSD",
            Scenario.COST,
            (
                Target(f"sum({_PRICE})", "as scaled, per hour", GREEN),
                Target(
                    f"sum({kit.once('stoker_service_static_price_dollars_per_hour')})",
                    "fixed size, per hour",
                    GREY,
                    dashed=True,
                ),
            ),
        ),
        Panel(
            "With a public API",
            "What was spent in an hour by services that have a public price, and (dashed) what "
            "their tokens would have cost there. "
            "Bad: above the dashed line for days.",
            "currencyUSD",
            Scenario.PUBLIC_PRICE,
            (
                Target(
                    f"sum({_hour(_SPENT)} and {_there('output')})",
                    "here, per hour",
                    GREEN,
                ),
                Target(
                    f"""
                    sum(
                      {_INPUT} * {_there("input")} + {_OUTPUT} * {_there("output")}
                    ) / 1e6
                    """,
                    "public API, per hour",
                    WARN,
                    dashed=True,
                ),
            ),
        ),
    ),
)

BOARD: Final = Board(
    kit.COST,
    "Stoker / Cost",
    "What does each service cost, and for what?",
    (_NOW, _SERVICES, _FOR, _UNITS, _COMPARED),
    (kit.CLUSTER, kit.NAMESPACE, kit.MANY_SERVICES, kit.REVISION),
    (kit.LED,),
    time_from="now-24h",
)
