"""The page of one service, first part: what users feel, and what Stoker does about it."""

from typing import Final

from charts.observability.dashboards import kit
from charts.observability.dashboards.values import (
    BAD,
    BLUE,
    GOOD,
    GREEN,
    GREY,
    PURPLE,
    STATUSES,
    WARN,
    Kind,
    Panel,
    Row,
    Scenario,
    Target,
    falling,
    rising,
)

_QUANTILES: Final = (("P50", 0.5, BLUE), ("P95", 0.95, GOOD), ("P99", 0.99, PURPLE))


def _quantiles(metric: str) -> tuple[Target, ...]:
    """P50, P95 and P99 of a histogram of the chosen revisions."""
    return tuple(
        Target(
            f"histogram_quantile({share}, "
            f"sum by (le) (rate({metric}_bucket{{@revision}}[$__rate_interval])))",
            name,
            colour,
        )
        for name, share, colour in _QUANTILES
    )


def _target(which: str) -> Target:
    return Target(
        f'max(stoker_service_target_seconds{{@service, target="{which}"}})',
        "target",
        BAD,
        dashed=True,
        scenario=Scenario.TARGETS,
    )


NOW: Final = Row(
    "Now",
    (
        kit.figure(
            "Errors",
            "Share of requests that were answered with 429 or 5xx, of five minutes. "
            "Bad: above 1 %: users see failures. Look at 'Answers by status' for which ones.",
            "percentunit",
            Scenario.BASE,
            (Target("max(stoker:errors:ratio_rate5m{@service})", "errors"),),
            steps=rising(0.001, 0.01),
            runbooks=("StokerErrorBudgetBurn",),
        ),
        kit.figure(
            "First token, P95",
            "19 of 20 requests got their first token within this time, of five minutes. "
            "Bad: above the service's target, or far above what it was yesterday at this hour.",
            "s",
            Scenario.BASE,
            (Target("max(stoker:ttft_seconds:p95{@service})", "P95"),),
            steps=rising(2, 10),
            runbooks=("StokerSlowFirstToken",),
        ),
        kit.figure(
            "Waiting requests",
            "Requests that wait, at the frontend and in the engines. "
            "Bad: a number that stays above zero: there are fewer replicas than the load takes.",
            "short",
            Scenario.BASE,
            (Target("sum(stoker:queue:sum{@service})", "waiting"),),
            steps=rising(1, 50),
            decimals=0,
            runbooks=("StokerQueueGrowsAtMax",),
        ),
        kit.figure(
            "Replicas ready, of those wanted",
            "How much of what was asked for answers. "
            "Bad: below 100 % for longer than a start takes: pods crash, or no node takes them. "
            "Nothing is shown while none is wanted (scaled to zero).",
            "percentunit",
            Scenario.BASE,
            (
                Target(
                    f"sum({kit.replicas('ready')}) / (sum({kit.replicas('desired')}) > 0)",
                    "ready",
                ),
            ),
            steps=falling(0.5, 1),
            decimals=0,
            runbooks=("StokerNoReplicaReady",),
        ),
        Panel(
            "What speaks against the service",
            "Conditions of the InferenceService that are not as they should be, with their reason. "
            "Bad: any row. `kubectl describe inferenceservice` and `kubectl stoker why` have the "
            "whole sentence.",
            "short",
            Scenario.PENDING,
            (
                Target(
                    "max by (condition, reason) (stoker_service_condition{@service})",
                    "Now",
                ),
            ),
            Kind.TABLE,
            width=24,
            height=5,
            columns=(("condition", "Condition"), ("reason", "Reason")),
            labels_only=True,
            nothing="nothing speaks against it",
        ),
    ),
)

SIGNALS: Final = Row(
    "What users feel",
    (
        Panel(
            "Time to the first token",
            "From a request's arrival at an engine to its first token, by the engines' histograms. "
            "Bad: P95 above the dashed target, or rising while the load is steady. If 'Waiting "
            "requests' rises with it, replicas are missing; if not, prompts have become longer.",
            "s",
            Scenario.BASE,
            (*_quantiles("stoker:ttft_seconds"), _target("ttft")),
            runbooks=("StokerSlowFirstToken",),
        ),
        Panel(
            "Time between tokens",
            "How fast an answer goes on once it has begun. "
            "Bad: P95 above the dashed target: batches are too large, or long prompts hold up "
            "running answers.",
            "s",
            Scenario.BASE,
            (*_quantiles("stoker:itl_seconds"), _target("itl")),
            runbooks=("StokerSlowTokens",),
        ),
        Panel(
            "Time to the last token",
            "The whole request inside the engine; long answers take long. "
            "Bad: it rises while the length of answers does not ('Length of prompts and answers').",
            "s",
            Scenario.BASE,
            _quantiles("stoker:e2e_seconds"),
        ),
        Panel(
            "Within the targets",
            "Share of first tokens and of gaps that met the targets, the worse of both. "
            "Bad: below 99 %. Empty where the service has no optimization.targets.",
            "percentunit",
            Scenario.TARGETS,
            (Target("min(stoker:goodput:ratio_rate5m{@service})", "goodput", GREEN),),
            steps=falling(0.95, 0.99),
            maximum=1,
        ),
        Panel(
            "Answers by status",
            "What the frontend has answered, by HTTP status; retries count once. "
            "Bad: 5xx (no engine could answer, or it waited too long) or 429 (the queue was full).",
            "reqps",
            Scenario.BASE,
            (
                # The recorded rate counts a status from its first answer on.
                Target("sum by (code) (stoker:frontend_requests:rate5m{@service})", "{{code}}"),
            ),
            Kind.STACK,
            colours=STATUSES,
            runbooks=("StokerErrorBudgetBurn",),
        ),
        Panel(
            "Tokens",
            "Tokens of prompts that were read, and tokens that were generated, each second. "
            "Bad: generated tokens fall while requests wait: engines stall.",
            "short",
            Scenario.BASE,
            (
                Target(
                    "sum(rate(stoker:prompt_tokens_total{@revision}[$__rate_interval]))",
                    "prompt tokens/s",
                    BLUE,
                ),
                Target(
                    "sum(rate(stoker:generation_tokens_total{@revision}[$__rate_interval]))",
                    "generated tokens/s",
                    GREEN,
                ),
            ),
        ),
    ),
)

SCALING: Final = Row(
    "Queue and replicas",
    (
        Panel(
            "Waiting requests, where",
            "At the frontend (held: no replica may take them yet) and inside the engines. "
            "Bad: held requests with replicas at the maximum: raise scaling.maxReplicas. "
            "Held requests at zero replicas are a wake-up, and end with the first replica.",
            "short",
            Scenario.BASE,
            (
                Target("sum(stoker:held_requests{@service})", "held at the frontend", WARN),
                Target("sum(stoker:requests_waiting{@revision})", "waiting in engines", BLUE),
            ),
            Kind.STACK,
            runbooks=("StokerQueueGrowsAtMax",),
        ),
        Panel(
            "Replicas",
            "Wanted, ready, and starting (there, but not ready), within the spec's dashed bounds. "
            "Each mark is a decision of the scaler with its reason. "
            "Bad: wanted stays above ready for longer than a start, or sits at the maximum.",
            "short",
            Scenario.BASE,
            (
                Target(f"sum({kit.replicas('desired')})", "wanted", BLUE),
                Target(f"sum({kit.replicas('ready')})", "ready", GREEN),
                Target(f"sum({kit.replicas('pending')})", "starting", WARN),
                Target(
                    f"sum({kit.limit('max')})",
                    "maximum",
                    BAD,
                    dashed=True,
                ),
                Target(
                    f"sum({kit.limit('min')})",
                    "minimum",
                    GREY,
                    dashed=True,
                ),
            ),
            decimals=0,
            runbooks=("StokerQueueGrowsAtMax", "StokerReplicaUnschedulable"),
        ),
        Panel(
            "Scaling decisions",
            "Changes of the number of replicas that the scaler decided, by reason and direction. "
            "Bad: up and down in turns within minutes: the load swings faster than replicas "
            "start; raise scaling.scaleDownStabilization. `kubectl stoker why` has the numbers.",
            "short",
            Scenario.LOAD,
            (
                Target(
                    kit.counted("stoker_scaling_decisions_total", "@service", "reason, direction"),
                    "{{reason}} ({{direction}})",
                ),
            ),
            Kind.BARS,
            nothing="no change in this time",
        ),
        Panel(
            "Time spent waiting, P95",
            "How long requests waited before they were computed: inside an engine, and held at the "
            "frontend. Bad: seconds: users feel every one of them before the first token.",
            "s",
            Scenario.BASE,
            (
                Target(
                    "histogram_quantile(0.95, sum by (le) "
                    "(rate(stoker:queue_time_seconds_bucket{@revision}[$__rate_interval])))",
                    "in engines",
                    BLUE,
                ),
                Target(
                    "histogram_quantile(0.95, sum by (le) "
                    "(rate(stoker:hold_seconds_bucket{@service}[$__rate_interval])))",
                    "held at the frontend",
                    WARN,
                ),
            ),
            runbooks=("StokerHeldRequestsTimeOut",),
        ),
    ),
)
