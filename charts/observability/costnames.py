"""The part of the vocabulary that is about money: dollars of five minutes, and over windows."""

from typing import Final

from charts.observability.metric import REVISION, SERVICE, Metric

BY_SHARE: Final = (*REVISION, "share")
WINDOWS: Final = ("1h", "1d")

PRICE: Final = Metric(
    "stoker:price_dollars_per_hour",
    "What replicas on a node cost now, by spot and on_demand.",
    "dollars per hour",
    (*REVISION, "capacity"),
)
COST_RATE: Final = Metric(
    "stoker:cost_dollars:rate5m",
    "What replicas cost, by what their time was for.",
    "dollars per second",
    BY_SHARE,
)
PUBLIC_COST_RATE: Final = Metric(
    "stoker:public_cost_dollars:rate5m",
    "What a public API at the price in the spec would take for the same tokens.",
    "dollars per second",
    SERVICE,
)
STATIC_COST_RATE: Final = Metric(
    "stoker:static_cost_dollars:rate",
    "What the most replicas of the last day would cost if they ran all the time.",
    "dollars per second",
    SERVICE,
)
COMPUTED_TOKENS_RATE: Final = Metric(
    "stoker:computed_prompt_tokens:rate5m",
    "Tokens of prompts that the prefix cache did not have.",
    "tokens per second",
    REVISION,
)
E2E_TIME_RATE: Final = Metric(
    "stoker:e2e_seconds_sum:rate5m", "Time of all requests together.", "seconds per second", SERVICE
)
TOKEN_COST_RATIO: Final = Metric(
    "stoker:token_cost:ratio",
    "Cost of a token of output over one of input: by the plan, else by the time of the last hour.",
    "ratio",
    SERVICE,
)


def _costs(name: str, what: str, unit: str, labels: tuple[str, ...]) -> dict[str, Metric]:
    return {
        window: Metric(f"{name}{window}", f"{what}, of {window}.", unit, labels)
        for window in WINDOWS
    }


_PER_REQUEST: Final = "stoker:cost_per_request_dollars"
_PER_MILLION: Final = "stoker:cost_per_million_tokens_dollars"
COST: Final = _costs(
    "stoker:cost_dollars:increase", "Dollars by what they were for", "dollars", BY_SHARE
)
COST_SHARE: Final = _costs(
    "stoker:cost_share:ratio", "Share of the dollars", "ratio", (*SERVICE, "share")
)
COST_PER_REQUEST: Final = _costs(
    f"{_PER_REQUEST}:mean", "All dollars over all requests", "dollars", SERVICE
)
# Buckets of a day are more than anybody should add up every minute.
COST_PER_REQUEST_P95: Final = {
    "1h": Metric(
        f"{_PER_REQUEST}:p95_1h",
        "P95 of a request's cost, which goes with its time, of 1h.",
        "dollars",
        SERVICE,
    )
}
COST_PER_TOKEN: Final = _costs(
    f"{_PER_MILLION}:mean",
    "Dollars for a million tokens, of input and of output; together they are the bill",
    "dollars",
    (*SERVICE, "direction"),
)
REVISION_COST_PER_REQUEST: Final = _costs(
    f"{_PER_REQUEST}:revision_mean", "The same of one revision", "dollars", REVISION
)
REVISION_COST_PER_TOKEN: Final = _costs(
    f"{_PER_MILLION}:revision_mean",
    "The same of one revision",
    "dollars",
    (*REVISION, "direction"),
)
