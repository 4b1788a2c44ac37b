"""The page of all services, which answers: which one needs somebody now."""

from typing import Final

from charts.observability.dashboards import kit
from charts.observability.dashboards.values import (
    BAD,
    BLUE,
    GREEN,
    GREY,
    WARN,
    Board,
    Kind,
    Panel,
    Row,
    Scenario,
    Target,
    falling,
    rising,
)

# As many lines as a picture holds.
_WORST: Final = 10

_NOW: Final = Row(
    "Now",
    (
        kit.figure(
            "Services with fewer replicas than wanted",
            "Services where not every wanted replica answers. A start makes this 1 for its time. "
            "Bad: above zero for longer than a cold start takes: the table below says which.",
            "short",
            Scenario.BASE,
            (
                Target(
                    f"count({kit.replicas('ready')} < {kit.replicas('desired')}) or vector(0)",
                    "services",
                ),
            ),
            steps=rising(1, 5),
            decimals=0,
            runbooks=("StokerNoReplicaReady",),
        ),
        kit.figure(
            "Services with errors above 1 %",
            "Services that answered more than one in a hundred requests with 429 or 5xx in the "
            "last five minutes. Bad: above zero: users see failures.",
            "short",
            Scenario.BASE,
            (
                Target(
                    "count(max by (cluster, namespace, service) "
                    "(stoker:errors:ratio_rate5m{@service}) > 0.01) or vector(0)",
                    "services",
                ),
            ),
            steps=rising(1, 3),
            decimals=0,
            runbooks=("StokerErrorBudgetBurn",),
        ),
        kit.figure(
            "Waiting requests",
            "Requests that wait, at frontends and in engines, of all chosen services. "
            "Bad: it rises and does not come down within a cold start.",
            "short",
            Scenario.BASE,
            (Target("sum(stoker:queue:sum{@service})", "waiting"),),
            steps=rising(10, 100),
            decimals=0,
            runbooks=("StokerQueueGrowsAtMax",),
        ),
        kit.figure(
            "Services that wait for a node",
            "Services with a replica that no node can take yet. "
            "Bad: above zero for longer than your cluster's autoscaler takes to bring a node: "
            "capacity or quota is used up. 'Cold starts' has the times.",
            "short",
            Scenario.BASE,
            (
                Target(
                    f"count({kit.once('stoker_service_pending_seconds')}) or vector(0)", "services"
                ),
            ),
            steps=rising(1, 5),
            decimals=0,
            runbooks=("StokerReplicaUnschedulable",),
        ),
    ),
)

_SERVICES: Final = Row(
    "Services",
    (
        Panel(
            "Services",
            "One row a service, the longest queue first; a click on the name opens its page. "
            "Bad: fewer ready than wanted, errors above 1 %, a queue that stays.",
            "short",
            Scenario.BASE,
            (
                Target(
                    kit.replicas("desired"),
                    "Wanted",
                ),
                Target(
                    kit.replicas("ready"),
                    "Ready",
                ),
                Target(
                    f"sum by ({kit.EACH}) (stoker:queue:sum{{@service}})",
                    "Waiting",
                    steps=rising(1, 50),
                ),
                Target(
                    f"max by ({kit.EACH}) (stoker:errors:ratio_rate5m{{@service}})",
                    "Errors",
                    unit="percentunit",
                    steps=rising(0.001, 0.01),
                ),
                Target(
                    f"max by ({kit.EACH}) (stoker:ttft_seconds:p95{{@service}})",
                    "First token, P95",
                    unit="s",
                    steps=rising(2, 10),
                ),
                Target(
                    f"sum by ({kit.EACH}) (stoker:requests:rate5m{{@service}})",
                    "Requests",
                    unit="reqps",
                ),
                Target(
                    f"sum by ({kit.EACH}) (stoker:generation_tokens:rate5m{{@service}})", "Tokens/s"
                ),
                Target(
                    f"max by ({kit.EACH}) (stoker:kv_cache_usage_ratio{{@service}})",
                    "KV cache",
                    unit="percentunit",
                    steps=rising(0.8, 0.9),
                ),
            ),
            Kind.TABLE,
            width=24,
            height=10,
            columns=(("cluster", "Cluster"), ("namespace", "Namespace"), ("service", "Service")),
            sort="Waiting",
            links=(kit.OF_ROW,),
            nothing="-",
        ),
        Panel(
            "What speaks against services",
            "Conditions that are not as they should be, with their reason. "
            "Bad: any row that stays. `kubectl stoker doctor SERVICE` finds the cause.",
            "short",
            Scenario.PENDING,
            (
                Target(
                    kit.once("stoker_service_condition", by="condition, reason"),
                    "Now",
                ),
            ),
            Kind.TABLE,
            width=24,
            height=6,
            columns=(
                ("cluster", "Cluster"),
                ("namespace", "Namespace"),
                ("service", "Service"),
                ("condition", "Condition"),
                ("reason", "Reason"),
            ),
            labels_only=True,
            links=(kit.OF_ROW,),
            nothing="nothing speaks against any service",
        ),
        Panel(
            "Alerts that fire",
            "Stoker's own alerts, as Prometheus has them. A click on a name opens its runbook. "
            "Bad: any row; severity `critical` before the rest.",
            "short",
            Scenario.FAULT,
            (
                Target(
                    "max by (alertname, severity, namespace, service) "
                    '(ALERTS{@place, alertname=~"Stoker.+", alertstate="firing"})',
                    "Now",
                ),
            ),
            Kind.TABLE,
            width=24,
            height=6,
            columns=(
                ("alertname", "Alert"),
                ("severity", "Severity"),
                ("namespace", "Namespace"),
                ("service", "Service"),
            ),
            labels_only=True,
            links=(kit.OF_ALERT, kit.OF_ROW),
            nothing="no alert fires",
        ),
    ),
)

_USERS: Final = Row(
    "What users feel: the ten worst",
    (
        Panel(
            "Errors",
            "Share of requests that were answered with 429 or 5xx. A click on a line opens the "
            "service. Bad: above 1 %. All lines at once: the cluster or the operator, not a model.",
            "percentunit",
            Scenario.BASE,
            (
                Target(
                    f"topk({_WORST}, max by ({kit.EACH}) (stoker:errors:ratio_rate5m{{@service}}))",
                    kit.LINE,
                ),
            ),
            steps=rising(0.001, 0.01),
            links=(kit.OF_LINE,),
            runbooks=("StokerErrorBudgetBurn",),
        ),
        Panel(
            "Time to the first token, P95",
            "19 of 20 requests got their first token within this time. "
            "Bad: a line that leaves its usual height; services differ, so compare with itself.",
            "s",
            Scenario.BASE,
            (
                Target(
                    f"topk({_WORST}, max by ({kit.EACH}) (stoker:ttft_seconds:p95{{@service}}))",
                    kit.LINE,
                ),
            ),
            links=(kit.OF_LINE,),
            runbooks=("StokerSlowFirstToken",),
        ),
        Panel(
            "Waiting requests, by service",
            "At the frontend and in engines. Bad: a line that rises for longer than a cold start.",
            "short",
            Scenario.BASE,
            (
                Target(
                    f"topk({_WORST}, sum by ({kit.EACH}) (stoker:queue:sum{{@service}}))", kit.LINE
                ),
            ),
            links=(kit.OF_LINE,),
            runbooks=("StokerQueueGrowsAtMax",),
        ),
        Panel(
            "Within the targets",
            "Share of first tokens and gaps within a service's own targets, the lowest ten. "
            "Bad: below 99 %. Services without optimization.targets have no line.",
            "percentunit",
            Scenario.TARGETS,
            (
                Target(
                    f"bottomk({_WORST}, "
                    f"min by ({kit.EACH}) (stoker:goodput:ratio_rate5m{{@service}}))",
                    kit.LINE,
                ),
            ),
            steps=falling(0.95, 0.99),
            maximum=1,
            links=(kit.OF_LINE,),
        ),
    ),
)

_SIZE: Final = Row(
    "How much there is",
    (
        Panel(
            "Replicas",
            "Of all chosen services together. "
            "Bad: wanted stays above ready: starts fail (starting, for long), or no node comes.",
            "short",
            Scenario.BASE,
            (
                Target(f"sum({kit.replicas('desired')})", "wanted", BLUE),
                Target(f"sum({kit.replicas('ready')})", "ready", GREEN),
                Target(f"sum({kit.replicas('pending')})", "starting", WARN),
                Target(
                    f"sum({kit.limit('max')})",
                    "all maxima",
                    GREY,
                    dashed=True,
                ),
            ),
            decimals=0,
        ),
        Panel(
            "Ready replicas by accelerator",
            "Which kinds of accelerators the chosen services hold. "
            "Bad: a kind that falls while its services have a queue: its nodes go away.",
            "short",
            Scenario.BASE,
            (
                Target(
                    f"""
                    sum by (accelerator) (
                      {kit.replicas("ready")} * on ({kit.EACH}) group_left (accelerator)
                      max by ({kit.EACH}, accelerator) (stoker_service_info{{@service}})
                    )
                    """,
                    "{{accelerator}}",
                ),
            ),
            Kind.STACK,
            decimals=0,
        ),
        Panel(
            "Tokens",
            "Read and generated by all chosen services, each second. "
            "Bad: both fall to nothing while requests come in.",
            "short",
            Scenario.BASE,
            (
                Target("sum(stoker:prompt_tokens:rate5m{@service})", "prompt tokens/s", BLUE),
                Target(
                    "sum(stoker:generation_tokens:rate5m{@service})", "generated tokens/s", GREEN
                ),
            ),
        ),
        Panel(
            "Services at their maximum",
            "Services with as many replicas as scaling.maxReplicas allows, and those whose budget "
            "is reached. Bad: one of them has a queue: it cannot grow.",
            "short",
            Scenario.BASE,
            (
                Target(
                    f"count({kit.replicas('desired')} >= {kit.limit('max')}) or vector(0)",
                    "at the maximum",
                    WARN,
                ),
                Target(
                    f"sum({kit.once('stoker_budget_reached')}) or vector(0)", "budget reached", BAD
                ),
            ),
            decimals=0,
            runbooks=("StokerQueueGrowsAtMax", "StokerBudgetReached"),
        ),
        Panel(
            "Services that Prometheus does not see",
            "Services with ready replicas whose engines, or whose frontend, nobody scrapes: the "
            "operator tells of them, but most panels stay empty. "
            "Bad: above zero: no PodMonitor or annotation, or a network policy in between.",
            "short",
            Scenario.BASE,
            (
                Target(
                    f"count({kit.replicas('ready')} > 0 unless on ({kit.EACH}) "
                    "stoker:requests_running{@service}) or vector(0)",
                    "without engines",
                    WARN,
                ),
                Target(
                    f"count({kit.replicas('ready')} > 0 unless on ({kit.EACH}) "
                    "stoker:held_requests{@service}) or vector(0)",
                    "without frontend",
                    BLUE,
                ),
            ),
            width=24,
            height=6,
            decimals=0,
            runbooks=("StokerEngineNotScraped", "StokerFrontendNotScraped"),
        ),
    ),
)

BOARD: Final = Board(
    kit.FLEET,
    "Stoker / Fleet",
    "All services: which one needs somebody now? Start here.",
    (_NOW, _SERVICES, _USERS, _SIZE),
    (kit.CLUSTER, kit.NAMESPACE, kit.MANY_SERVICES),
    (kit.LED,),
)
