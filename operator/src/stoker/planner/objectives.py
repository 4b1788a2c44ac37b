"""What an objective wants, as an order among ways that fit, and what a target forbids.

All orders end in the same ties (price, accelerators, names), so that equal inputs give equal plans.
The formulas are in docs/planner.md; keep both in step.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

from stoker.model.sizing import Objective, Targets
from stoker.planner import words
from stoker.planner.candidates import NOTICED_ITL_S, Candidate

# An answer that is there at once; see `NOTICED_ITL_S` for its tokens.
_NOTICED_S: Final = 0.2
# Times that differ by less than an estimate can tell are equal, and the cheaper way wins.
_AS_FAST: Final = 1.1

Key = tuple[float, ...]


def rank(objective: Objective, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Best first, by the objective alone."""
    if not candidates:
        return []
    fastest = min(each.alone_s for each in candidates)
    key = _KEYS[objective]
    return sorted(candidates, key=lambda each: (each.cramped, *key(each, fastest), *_ties(each)))


def missed(targets: Targets, candidate: Candidate) -> dict[str, tuple[float, float]]:
    """Targets that a way does not keep: field → (what it gives, what was asked)."""
    expected = candidate.expected
    cost = expected.cost_per_million_tokens
    found = {
        "ttft": (expected.ttft_s.typical, targets.ttft_s),
        "itl": (expected.itl_s.typical, targets.itl_s),
        "costPerMillionTokens": (
            math.inf if cost is None else cost.typical,
            targets.cost_per_million_tokens,
        ),
        "pricePerHour": (
            math.inf if expected.price_per_hour is None else expected.price_per_hour,
            targets.price_per_hour,
        ),
    }
    return {
        name: (given, asked)
        for name, (given, asked) in found.items()
        if asked is not None and given > asked
    }


def distance(misses: dict[str, tuple[float, float]]) -> float:
    """How far off the worst miss is, as a factor."""
    return max((given / max(asked, 1e-9) for given, asked in misses.values()), default=0.0)


def describe(misses: dict[str, tuple[float, float]]) -> str:
    """The numbers that were asked and those that can be had."""
    parts = []
    for name, (given, asked) in misses.items():
        if name in {"ttft", "itl"}:
            parts.append(f"{name} {words.seconds(given)} instead of {words.seconds(asked)}")
        elif math.isinf(given):
            parts.append(f"{name} cannot be told, as the catalogue has no price")
        else:
            parts.append(f"{name} {words.dollars(given)} instead of {words.dollars(asked)}")
    return ", ".join(parts)


def _price(each: Candidate) -> float:
    price = each.expected.price_per_hour
    return math.inf if price is None else price


def _cost(each: Candidate) -> float:
    cost = each.expected.cost_per_million_tokens
    if cost is not None:
        return cost.typical
    # Without prices, accelerator seconds per token order the ways of one type.
    rate = each.expected.output_tokens_per_s.typical
    return 1e12 * each.configuration.accelerators / max(rate, 1e-9)


def _latency(each: Candidate, fastest: float) -> Key:
    """One request from begin to end; ways within a tenth of the fastest go by price."""
    if each.alone_s <= fastest * _AS_FAST:
        return (0.0, _price(each), each.alone_s)
    return (1.0, each.alone_s, 0.0)


def _throughput(each: Candidate, _: float) -> Key:
    """Tokens per second and accelerator, as replicas add accelerators."""
    return (-each.expected.output_tokens_per_s.typical / each.configuration.accelerators,)


def _cheapest(each: Candidate, _: float) -> Key:
    """Dollars per million tokens of output at full load."""
    return (_cost(each),)


def _memory(each: Candidate, _: float) -> Key:
    """Bytes of accelerators taken, then of them used before the cache."""
    taken = each.gpu.memory_bytes * each.configuration.accelerators
    return (float(taken), float(each.memory.weights))


def _long_context(each: Candidate, _: float) -> Key:
    """The longest request, then the price, then how many of them."""
    length = each.configuration.max_model_len
    return (-float(length), _price(each), -each.memory.kv_tokens / max(1, length))


def _multi_tenant(each: Candidate, _: float) -> Key:
    """Dollars per hour and request that is held at once."""
    price = _price(each)
    if math.isinf(price):
        return (1e9 * each.configuration.accelerators / max(1, each.concurrency),)
    return (price / max(1, each.concurrency),)


def _balanced(each: Candidate, _: float) -> Key:
    """Dollars times seconds of a request, where what nobody notices counts for nothing.

    The dollars are the geometric mean of those of a replica and of a token: a small load pays for
    the replica, a large one for its tokens.
    """
    price = _price(each)
    if math.isinf(price):
        price = 1e9 * each.configuration.accelerators
    waited = max(each.expected.e2e_s.typical, _NOTICED_S)
    waited = max(waited, NOTICED_ITL_S * each.expected.e2e_s.typical / _itl(each))
    return (price * waited / math.sqrt(max(1, each.expected.concurrency)),)


def _itl(each: Candidate) -> float:
    return max(each.expected.itl_s.typical, 1e-9)


_KEYS: Final[dict[Objective, Callable[[Candidate, float], Key]]] = {
    Objective.LATENCY: _latency,
    Objective.THROUGHPUT: _throughput,
    Objective.COST: _cheapest,
    Objective.MEMORY: _memory,
    Objective.LONG_CONTEXT: _long_context,
    Objective.MULTI_TENANT: _multi_tenant,
    Objective.BALANCED: _balanced,
}


def _ties(each: Candidate) -> tuple[float | int | str, ...]:
    configuration = each.configuration
    return (
        each.loss,
        _price(each),
        configuration.accelerators,
        configuration.pipeline,
        configuration.data,
        each.gpu.name,
        configuration.quantization,
        configuration.kv_dtype,
        -configuration.max_num_seqs,
        -configuration.max_model_len,
        configuration.max_num_batched_tokens,
    )
