"""Dollars over requests and tokens. Recording rules compute the same in PromQL (docs/cost.md).

Per token. An answer's token costs more of a replica than a prompt's, and both share a bill. With
`ratio` the cost of a token of output over one of input,

    per computed token of input = dollars / (computed input + ratio x output)
    per token of input  = that x computed input / input      (cached tokens cost nothing)
    per token of output = that x ratio

so that input and output together are the whole bill.

Per request. While requests run, each of those that run at a moment carries an equal part of the
price, so a request costs in proportion to the time that it runs, and the 95th percentile of its
cost is that of its duration. Idle replicas, starts and ends serve no request more than another and
are spread evenly:

    mean = all dollars / requests
    P95  = dollars of serving / requests x (P95 of the duration / mean duration)
           + all other dollars / requests

Durations are end to end, waiting inside the engine included, because engines tell no percentile of
the rest; where requests wait long the P95 is therefore a little high. That all requests share
equally is a model: a long prompt takes more of a step than one token does.
"""

import math
from dataclasses import dataclass

from stoker.model.work import Work

_MILLION = 1e6


@dataclass(frozen=True, slots=True)
class PerToken:
    """US dollars for a million tokens; None where there were none."""

    input: float | None
    output: float | None


def token_ratio(work: Work) -> float | None:
    """What a token of output costs of a replica, over what one of input costs; by the plan.

    A token of input takes its own time and that of the keys it attends to, on average half of the
    prompt's. A token of output takes its own, that of the context that it reads, and its part of
    the fixed time of a step, which all sequences of the batch share: as many as the time between
    tokens, the places and the KV cache allow. None where the plan tells no time.
    """
    length = work.prompt_tokens + work.output_tokens / 2
    given = work.prompt_token_s + work.prompt_tokens / 2 * work.prompt_key_s
    own = work.sequence_s + length * work.context_token_s
    batch = min(
        work.places,
        work.kv_tokens / length if length > 0 else math.inf,
        (work.pace_s - work.step_s) / own if own > 0 else math.inf,
    )
    made = own + work.step_s / max(1.0, batch)
    ratio = made / given if given > 0 else math.nan
    return ratio if math.isfinite(ratio) and ratio > 0 else None


def per_million(
    dollars: float, *, given: float, computed: float, made: float, ratio: float
) -> PerToken:
    """Dollars for a million tokens `given` as input, of which some were `computed`, and `made`."""
    weight = computed + ratio * made
    if not (weight > 0 and dollars >= 0):
        return PerToken(None, None)
    each = dollars / weight * _MILLION
    return PerToken(
        each * computed / given if given > 0 else None, each * ratio if made > 0 else None
    )


def per_request(
    serving: float, rest: float, requests: float, *, mean_s: float, p95_s: float
) -> tuple[float, float] | None:
    """Dollars per request: the mean, and the 95th percentile; None where none was answered."""
    if not (requests > 0 and mean_s > 0 and p95_s >= 0):
        return None
    return (serving + rest) / requests, (serving * p95_s / mean_s + rest) / requests


def public_dollars(given: float, made: float, *, input_price: float, output_price: float) -> float:
    """What the same tokens cost at a public API with these prices per million."""
    return (given * input_price + made * output_price) / _MILLION
