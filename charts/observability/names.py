"""The `stoker:` vocabulary: one name for each thing, whatever engine or exporter it comes from.

Rules record these names (`recording`), alerts and dashboards read them. Two levels:

* Of a pod (labels `POD`): counters stay counters and histograms stay histograms, so that any
  window and any quantile can be asked. Two targets that scrape one pod count once.
* Of a service (labels `SERVICE`, or `REVISION` where it can be added up over revisions): rates,
  quantiles and shares over five minutes; error shares also over the windows of burn rates.
  Quantiles of one revision come from the pods' buckets, as quantiles cannot be added up.

Without requests a share is absent, not zero. A name once released is not used for something else.
"""

from typing import Final

from charts.observability import costnames
from charts.observability.metric import POD, REVISION, SERVICE, Metric

# --- Of a pod ------------------------------------------------------------------------------------

POD_INFO: Final = Metric(
    "stoker:pod_info", "1 for each pod of a service; joins what knows pods only.", "info", POD
)

TTFT: Final = Metric(
    "stoker:ttft_seconds",
    "Time from the request's arrival at the engine to its first token.",
    "seconds",
    POD,
    "histogram",
)
ITL: Final = Metric(
    "stoker:itl_seconds",
    "Time between two tokens; engines that tell only a request's mean count that.",
    "seconds",
    POD,
    "histogram",
)
E2E: Final = Metric(
    "stoker:e2e_seconds",
    "Time from the request's arrival at the engine to its last token.",
    "seconds",
    POD,
    "histogram",
)
QUEUE_TIME: Final = Metric(
    "stoker:queue_time_seconds",
    "Time that a request waited inside the engine.",
    "seconds",
    POD,
    "histogram",
)
PROMPT_TOKENS: Final = Metric(
    "stoker:prompt_tokens_total", "Tokens of prompts.", "tokens", POD, "counter"
)
GENERATION_TOKENS: Final = Metric(
    "stoker:generation_tokens_total", "Tokens generated.", "tokens", POD, "counter"
)
REQUESTS_FINISHED: Final = Metric(
    "stoker:requests_finished_total",
    "Requests that the engine ended, by why (stop, length, abort) where it tells.",
    "requests",
    (*POD, "finished_reason"),
    "counter",
)
REQUESTS_RUNNING: Final = Metric(
    "stoker:requests_running", "Requests being computed, which is the batch.", "requests", POD
)
REQUESTS_WAITING: Final = Metric(
    "stoker:requests_waiting", "Requests that wait inside the engine.", "requests", POD
)
KV_CACHE_USAGE: Final = Metric(
    "stoker:kv_cache_usage_ratio", "Share of the KV cache that is in use, 0 to 1.", "ratio", POD
)
PREFIX_CACHE_HITS: Final = Metric(
    "stoker:prefix_cache_hits_total",
    "Tokens of prompts that were found in the prefix cache.",
    "tokens",
    POD,
    "counter",
)
PREFIX_CACHE_QUERIES: Final = Metric(
    "stoker:prefix_cache_queries_total",
    "Tokens of prompts that were looked for in the prefix cache.",
    "tokens",
    POD,
    "counter",
)
SPEC_DRAFT_TOKENS: Final = Metric(
    "stoker:spec_draft_tokens_total",
    "Tokens that speculation proposed.",
    "tokens",
    POD,
    "counter",
)
SPEC_ACCEPTED_TOKENS: Final = Metric(
    "stoker:spec_accepted_tokens_total",
    "Proposed tokens that the model accepted.",
    "tokens",
    POD,
    "counter",
)
PREEMPTIONS: Final = Metric(
    "stoker:preemptions_total",
    "Requests that were pushed out of the batch because the KV cache was full.",
    "requests",
    POD,
    "counter",
)
FLOPS: Final = Metric(
    "stoker:flops_total",
    "Floating-point operations of one accelerator of the replica, as the engine estimates them.",
    "flops",
    POD,
    "counter",
)
MEMORY_READ: Final = Metric(
    "stoker:memory_read_bytes_total",
    "Bytes read from one accelerator's memory, as the engine estimates them.",
    "bytes",
    POD,
    "counter",
)
MEMORY_WRITTEN: Final = Metric(
    "stoker:memory_written_bytes_total",
    "Bytes written to one accelerator's memory, as the engine estimates them.",
    "bytes",
    POD,
    "counter",
)
ENGINE_CPU: Final = Metric(
    "stoker:engine_cpu_seconds_total",
    "CPU time of the engine: of its container where the kubelet tells, else of its process.",
    "seconds",
    POD,
    "counter",
)
ENGINE_MEMORY: Final = Metric(
    "stoker:engine_memory_bytes",
    "Host memory of the engine: of its container where the kubelet tells, else of its process.",
    "bytes",
    POD,
)
GPU_UTILIZATION: Final = Metric(
    "stoker:gpu_utilization_ratio",
    "Share of time in which any kernel ran, 0 to 1, mean of the pod's accelerators.",
    "ratio",
    POD,
)
GPU_MEMORY_USED: Final = Metric(
    "stoker:gpu_memory_used_bytes",
    "Memory in use on the pod's accelerators together.",
    "bytes",
    POD,
)
GPU_MEMORY_TOTAL: Final = Metric(
    "stoker:gpu_memory_total_bytes",
    "Memory of the pod's accelerators together.",
    "bytes",
    POD,
)

# --- Of a service's frontend ---------------------------------------------------------------------

FRONTEND_REQUESTS: Final = Metric(
    "stoker:frontend_requests_total",
    "Requests that a frontend pod has answered, by HTTP status; retries count once.",
    "requests",
    (*SERVICE, "pod", "code"),
    "counter",
)
HELD_REQUESTS: Final = Metric(
    "stoker:held_requests", "Requests that wait at the frontend.", "requests", SERVICE
)
HOLD_TIME: Final = Metric(
    "stoker:hold_seconds",
    "Time that a request waited at a frontend pod, by how it ended: Dispatched, EvictedTTL.",
    "seconds",
    (*SERVICE, "pod", "outcome"),
    "histogram",
)

# --- Of a service: five minutes ------------------------------------------------------------------

QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def _quantiles(of: Metric, what: str) -> dict[str, Metric]:
    """P50, P95 and P99 of a histogram."""
    return {
        name: Metric(
            f"{of}:{name}", f"{name.upper()} of {what}, of five minutes.", "seconds", SERVICE
        )
        for name in QUANTILES
    }


_TTFT: Final = _quantiles(TTFT, "the time to the first token")
_ITL: Final = _quantiles(ITL, "the time between tokens")
_E2E: Final = _quantiles(E2E, "the time to the last token")
TTFT_P50, TTFT_P95, TTFT_P99 = _TTFT.values()
ITL_P50, ITL_P95, ITL_P99 = _ITL.values()
E2E_P50, E2E_P95, E2E_P99 = _E2E.values()

REQUESTS_RATE: Final = Metric(
    "stoker:requests:rate5m", "Requests that engines ended.", "requests per second", REVISION
)
PROMPT_TOKENS_RATE: Final = Metric(
    "stoker:prompt_tokens:rate5m", "Tokens of prompts.", "tokens per second", REVISION
)
GENERATION_TOKENS_RATE: Final = Metric(
    "stoker:generation_tokens:rate5m", "Tokens generated.", "tokens per second", REVISION
)
PREFIX_CACHE_HIT_RATE: Final = Metric(
    "stoker:prefix_cache_hit:ratio_rate5m",
    "Share of prompt tokens that the prefix cache had.",
    "ratio",
    REVISION,
)
SPEC_ACCEPTANCE: Final = Metric(
    "stoker:spec_acceptance:ratio_rate5m",
    "Share of proposed tokens that were accepted.",
    "ratio",
    REVISION,
)
MFU: Final = Metric(
    "stoker:mfu:ratio_rate5m",
    "Floating-point operations over the accelerators' peak, mean of the replicas.",
    "ratio",
    SERVICE,
)
MEMORY_BANDWIDTH_USE: Final = Metric(
    "stoker:memory_bandwidth_use:ratio_rate5m",
    "Bytes read and written over the accelerators' peak, mean of the replicas.",
    "ratio",
    SERVICE,
)
GOODPUT: Final = Metric(
    "stoker:goodput:ratio_rate5m",
    "Share of what was good: within the latency targets (the worse one) times without error.",
    "ratio",
    SERVICE,
)
QUEUE: Final = Metric(
    "stoker:queue:sum", "Requests that wait, at the frontend and in engines.", "requests", SERVICE
)
FRONTEND_REQUESTS_RATE: Final = Metric(
    "stoker:frontend_requests:rate5m",
    "Requests answered by the frontend, by HTTP status.",
    "requests per second",
    (*SERVICE, "code"),
)

# --- Error budgets: the windows of multi-window burn rates --------------------------------------

WINDOWS: Final = ("5m", "30m", "1h", "6h", "3d")


def _shares(name: str, what: str) -> dict[str, Metric]:
    return {
        window: Metric(f"{name}:ratio_rate{window}", f"{what}, of {window}.", "ratio", SERVICE)
        for window in WINDOWS
    }


def _rate(name: str, what: str, *labels: str) -> Metric:
    return Metric(f"{name}:rate5m", f"{what}.", "per second", (*SERVICE, *labels))


def _edges(of: Metric) -> tuple[Metric, Metric, Metric]:
    """What interpolating a share needs: a bucket's edge, and those around the target."""
    said = (
        (
            "edge",
            "Upper edge of each bucket as a number, so that a target can be compared with it.",
            ("le",),
        ),
        (
            "edge_below",
            "Last edge of a bucket up to the target; 0 where the target is in the first.",
            (),
        ),
        ("edge_above", "First edge of a bucket above the target.", ()),
    )
    edge, below, above = (
        Metric(f"{of}:{name}", words, "seconds", (*SERVICE, *more)) for name, words, more in said
    )
    return edge, below, above


EDGE: Final = Metric(
    "stoker:le:edge",
    "The label le of every bucket that engines have, as a number.",
    "seconds",
    ("le",),
)
TTFT_BUCKETS_RATE: Final = _rate(TTFT.bucket, "First tokens up to each bucket's edge", "le")
ITL_BUCKETS_RATE: Final = _rate(ITL.bucket, "Gaps between tokens up to each bucket's edge", "le")
E2E_BUCKETS_RATE: Final = _rate(E2E.bucket, "Requests up to each bucket's edge", "le")
TTFT_EDGE, TTFT_EDGE_BELOW, TTFT_EDGE_ABOVE = _edges(TTFT)
ITL_EDGE, ITL_EDGE_BELOW, ITL_EDGE_ABOVE = _edges(ITL)
TTFT_TARGET: Final = Metric(
    "stoker:ttft_target:seconds", "Target of the time to the first token.", "seconds", SERVICE
)
ITL_TARGET: Final = Metric(
    "stoker:itl_target:seconds", "Target of the time between tokens.", "seconds", SERVICE
)
TTFT_JUDGED: Final = _rate("stoker:ttft_judged", "First tokens of services with a target")
ITL_JUDGED: Final = _rate("stoker:itl_judged", "Gaps between tokens of services with a target")
TTFT_SLOW: Final = _rate("stoker:ttft_slow", "First tokens that came later than the target")
ITL_SLOW: Final = _rate("stoker:itl_slow", "Gaps between tokens longer than the target")
ANSWERS: Final = _rate("stoker:answers", "Requests that the frontend answered")
ERROR_ANSWERS: Final = _rate("stoker:errors", "Requests answered with 429 or 5xx")

ERRORS: Final = _shares("stoker:errors", "Share of requests answered with 429 or 5xx")
TTFT_SLO_ERRORS: Final = _shares(
    "stoker:ttft_slo_errors", "Share of first tokens that came later than the target"
)
ITL_SLO_ERRORS: Final = _shares(
    "stoker:itl_slo_errors", "Share of gaps between tokens that were longer than the target"
)
OBJECTIVE: Final = Metric(
    "stoker:objective:ratio",
    "Share that has to be good, by slo: errors (the chart's values), ttft and itl (the target's "
    "percentile, else the chart's values).",
    "ratio",
    (*SERVICE, "slo"),
)


def _vocabulary() -> tuple[Metric, ...]:
    found: list[Metric] = []
    for value in {**globals(), **vars(costnames)}.values():
        if isinstance(value, Metric):
            found.append(value)
        elif isinstance(value, dict):
            found += [each for each in value.values() if isinstance(each, Metric)]
    return tuple({metric.name: metric for metric in found}.values())


VOCABULARY: Final = _vocabulary()


# What rules and alerts read of the operator; a test compares it with what the operator shows.
OPERATOR: Final = frozenset(
    {
        "stoker_build_info",
        "stoker_leader",
        "stoker_watch_age_seconds",
        "stoker_queue_wait_seconds_bucket",
        "stoker_reconcile_bugs_total",
        "stoker_scaling_blind_seconds",
        "stoker_service_replicas",
        "stoker_service_replicas_limit",
        "stoker_service_condition",
        "stoker_service_target_seconds",
        "stoker_service_target_ratio",
        "stoker_service_accelerators",
        "stoker_service_accelerator_flops",
        "stoker_service_accelerator_bytes_per_second",
        "stoker_service_pending_seconds",
        "stoker_service_startup_deadline_seconds",
        "stoker_service_cost_dollars_total",
        "stoker_service_price_dollars_per_hour",
        "stoker_service_public_price_dollars",
        "stoker_service_static_price_dollars_per_hour",
        "stoker_service_token_cost_ratio",
        "stoker_plan_residual_ratio",
        "stoker_engine_replacements_total",
        "stoker_budget_reached",
        "stoker_cache_condition",
        "stoker_cache_phase",
        "stoker_cache_verifications_total",
    }
)
