"""The few shapes that the expressions of rules are made of."""

from collections.abc import Iterable, Sequence
from typing import Final

from charts.observability.metric import POD, SERVICE

# What tells the parts of one engine apart: ranks of data parallelism, and sources of cached tokens.
# Whatever else differs (instance, job, endpoint, ranks of tensor parallelism) is one thing twice.
PARTS: Final = ("engine", "model_name", "dp_rank", "cache_source")
# Only pods of services: both labels come from the pods' own (docs/metrics.md).
OURS: Final = 'service!="",revision!=""'


def labels(names: Iterable[str]) -> str:
    """A list of labels."""
    return "(" + ", ".join(dict.fromkeys(names)) + ")"


def once(series: str, by: Sequence[str], *, how: str = "sum", parts: Sequence[str] = PARTS) -> str:
    """Each part counted once, however many targets scrape it, then put together."""
    return f"{how} by {labels(by)} (max by {labels((*by, *parts))} ({series}))"


def first(alternatives: Iterable[str], on: Sequence[str]) -> str:
    """The first that is there; the others would say the same of the same pod under another name."""
    return f"\nor on {labels(on)}\n".join(alternatives)


def of_service(expression: str, how: str = "max") -> str:
    """One value for each service: what the operator tells, from however many targets."""
    return f"{how} by {labels(SERVICE)} ({expression})"


def per_pod(series: str, *extra: str, how: str = "sum") -> str:
    """One value for each pod of a service."""
    return once(series, (*POD, *extra), how=how)


def counted(counter: str, window: str, selector: str = "") -> str:
    """How much a counter has grown, also where its series began within the window.

    `increase` needs two samples: of a counter that appears with its first event it would see
    nothing, and such an event is what alerts are for. Restarts are handled as `increase` does.
    """
    series = f"{counter}{{{selector}}}" if selector else counter
    return f"(({series} unless {series} offset {window}) or increase({series}[{window}]))"
