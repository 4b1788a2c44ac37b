"""Series that dashboards may name, with their labels: the vocabulary, the operator's, others'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import promql_parser

from charts.observability.names import VOCABULARY
from stoker.telemetry import families

SERVICE: Final = ("namespace", "service")
# Labels of targets, and the one that Prometheus may add to all.
ADDED: Final = frozenset({"cluster", "job", "instance", "pod", "le"})
# What the operator tells of cost is not in its table of families.
COST: Final[Mapping[str, tuple[str, ...]]] = {
    "stoker_service_price_dollars_per_hour": (*SERVICE, "revision", "capacity"),
    "stoker_service_cost_dollars_total": (*SERVICE, "revision", "share"),
    "stoker_service_unpriced_accelerators": (*SERVICE, "revision"),
    "stoker_service_static_price_dollars_per_hour": SERVICE,
    "stoker_service_token_cost_ratio": SERVICE,
    "stoker_service_public_price_dollars": (*SERVICE, "direction"),
}
POD: Final = (*SERVICE, "revision", "pod")
OTHERS: Final[Mapping[str, tuple[str, ...]]] = {
    # vLLM's page; the labels come with the PodMonitor.
    "vllm:iteration_tokens_total_sum": POD,
    "vllm:iteration_tokens_total_count": POD,
    # The worker's beside it (stoker_worker.report).
    "stoker_worker_start_seconds": (*POD, "milestone"),
    "stoker_worker_quiet_seconds": POD,
    "stoker_worker_stalls_total": POD,
    # Prometheus's own.
    "process_cpu_seconds_total": (),
    "process_resident_memory_bytes": (),
    "scrape_samples_scraped": (),
    "ALERTS": (*SERVICE, "alertname", "alertstate", "severity"),
}


def known() -> Mapping[str, frozenset[str]]:
    """Name of a series to its labels."""
    found = {series: frozenset(metric.labels) for metric in VOCABULARY for series in metric.series}
    for family in families.FAMILIES:
        parts = ("_bucket", "_sum", "_count") if family.type == "histogram" else ("",)
        found.update({f"{family.shown}{part}": frozenset(family.labels) for part in parts})
    for series in (COST, OTHERS):
        found.update({name: frozenset(labels) for name, labels in series.items()})
    return {name: labels | ADDED for name, labels in found.items()}


def walk(expression: Any) -> Iterator[Any]:
    """An expression and all that is in it."""
    yield expression
    for part in ("lhs", "rhs", "expr", "vector_selector"):
        inner = getattr(expression, part, None)
        if inner is not None:
            yield from walk(inner)
    for inner in getattr(expression, "args", ()):
        yield from walk(inner)


def selectors(expression: Any) -> list[Any]:
    """What it selects."""
    return [each for each in walk(expression) if isinstance(each, promql_parser.VectorSelector)]
