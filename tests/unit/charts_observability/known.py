"""Series that dashboards may name, with their labels: the vocabulary, the operator's, others'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import promql_parser

from charts.observability.names import VOCABULARY

SERVICE: Final = ("namespace", "service")
# Labels of targets, and the one that Prometheus may add to all.
ADDED: Final = frozenset({"cluster", "job", "instance", "pod", "le"})
OPERATOR: Final[Mapping[str, tuple[str, ...]]] = {
    "stoker_service_info": (*SERVICE, "model", "accelerator", "engine", "objective"),
    "stoker_service_replicas": (*SERVICE, "state"),
    "stoker_service_replicas_limit": (*SERVICE, "bound"),
    "stoker_service_condition": (*SERVICE, "condition", "reason"),
    "stoker_service_target_seconds": (*SERVICE, "target"),
    "stoker_scaling_decisions_total": (*SERVICE, "reason", "direction"),
    "stoker_plan_residual_ratio": (*SERVICE, "quantity"),
    "stoker_engine_replacements_total": (*SERVICE, "reason"),
    "stoker_budget_reached": SERVICE,
    "stoker_service_pending_seconds": SERVICE,
    "stoker_build_info": ("version",),
    "stoker_leader": (),
    "stoker_service_price_dollars_per_hour": (*SERVICE, "revision", "capacity"),
    "stoker_service_cost_dollars_total": (*SERVICE, "revision", "share"),
    "stoker_service_unpriced_accelerators": (*SERVICE, "revision"),
    "stoker_service_static_price_dollars_per_hour": SERVICE,
    "stoker_service_token_cost_ratio": SERVICE,
    "stoker_service_public_price_dollars": (*SERVICE, "direction"),
    "stoker_service_startup_seconds": (*SERVICE, "phase"),
    "stoker_service_startup_deadline_seconds": SERVICE,
    "stoker_watch_age_seconds": ("resource",),
    "stoker_load_sample_age_seconds": (),
    "stoker_reconcile_bugs_total": (),
    "stoker_reconcile_duration_seconds_bucket": ("kind", "outcome"),
    "stoker_reconcile_duration_seconds_count": ("kind", "outcome"),
    "stoker_queue_depth": ("kind",),
    "stoker_queue_wait_seconds_bucket": ("kind",),
    "stoker_scaling_blind_services": (),
    "stoker_services": ("condition", "status"),
    "stoker_object_writes_total": (),
    "stoker_api_call_duration_seconds_bucket": ("verb", "code"),
    "stoker_api_call_duration_seconds_count": ("verb", "code"),
    "stoker_cache_phase": ("namespace", "cache", "phase"),
    "stoker_cache_bytes": ("namespace", "cache"),
    "stoker_cache_downloaded_bytes": ("namespace", "cache"),
    "stoker_cache_nodes_ready": ("namespace", "cache"),
    "stoker_cache_nodes_wanted": ("namespace", "cache"),
    "stoker_cache_last_verified_timestamp_seconds": ("namespace", "cache"),
    "stoker_cache_verifications_total": ("namespace", "cache", "result"),
}
POD: Final = (*SERVICE, "revision", "pod")
OTHERS: Final[Mapping[str, tuple[str, ...]]] = {
    # vLLM's page; the labels come with the PodMonitor.
    "vllm:iteration_tokens_total_sum": POD,
    "vllm:iteration_tokens_total_count": POD,
    # Prometheus's own.
    "process_cpu_seconds_total": (),
    "process_resident_memory_bytes": (),
    "scrape_samples_scraped": (),
    "ALERTS": (*SERVICE, "alertname", "alertstate", "severity"),
}


def known() -> Mapping[str, frozenset[str]]:
    """Name of a series to its labels."""
    found = {series: frozenset(metric.labels) for metric in VOCABULARY for series in metric.series}
    for series in (OPERATOR, OTHERS):
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
