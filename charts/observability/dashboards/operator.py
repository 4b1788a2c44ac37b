"""The page of the operator itself, which answers: whether it sees, decides and acts."""

from typing import Final

from charts.observability.dashboards import kit
from charts.observability.dashboards.values import (
    BAD,
    BLUE,
    GOOD,
    GREEN,
    GREY,
    STATUSES,
    WARN,
    Board,
    Kind,
    Panel,
    Row,
    Scenario,
    Target,
    rising,
)

_HERE: Final = 'cluster=~"$cluster"'
_RATE: Final = "[$__rate_interval]"

_NOW: Final = Row(
    "Now",
    (
        kit.figure(
            "Leaders",
            "Operator processes that lead; the others stand by. "
            "Bad: 0: nothing is scaled, started or repaired; running engines go on. 2: only for "
            "a moment, while one takes over.",
            "short",
            Scenario.BASE,
            (
                Target(
                    f"sum(max by (cluster, instance) (stoker_leader{{{_HERE}}})) or vector(0)",
                    "leaders",
                ),
            ),
            steps=((None, BAD), (1, GOOD), (2, WARN)),
            decimals=0,
            runbooks=("StokerOperatorDown", "StokerOperatorWithoutLeader"),
        ),
        kit.figure(
            "Oldest watch",
            "Seconds since the watch of a resource was last known to tell the truth, of the worst. "
            "Bad: above 5 minutes: the operator acts on an old picture of the cluster.",
            "s",
            Scenario.BASE,
            (Target(f"max(stoker_watch_age_seconds{{{_HERE}}})", "age"),),
            steps=rising(120, 300),
            runbooks=("StokerWatchStale",),
        ),
        kit.figure(
            "Oldest load sample",
            "Age of the newest numbers from the engines, of the service that waits longest for "
            "some. Bad: above 15 s: that service is not scaled by its load.",
            "s",
            Scenario.BASE,
            (Target(f"max(stoker_load_sample_age_seconds{{{_HERE}}})", "age"),),
            steps=rising(10, 15),
            runbooks=("StokerScalingBlind",),
        ),
        kit.figure(
            "Unforeseen errors in this time",
            "Passes that ended in an error nobody foresaw; the log has the traceback. "
            "Bad: any: please report it.",
            "short",
            Scenario.BASE,
            (Target(f"sum(increase(stoker_reconcile_bugs_total{{{_HERE}}}[$__range]))", "errors"),),
            steps=rising(1, 2),
            decimals=0,
            runbooks=("StokerReconcileBugs",),
        ),
    ),
)

_WORK: Final = Row(
    "Its work",
    (
        Panel(
            "Passes, P95 by kind",
            "How long one look at an object takes, with all that it changes. "
            "Bad: seconds: the API server is slow (below), or the process lacks CPU.",
            "s",
            Scenario.BASE,
            (
                Target(
                    "histogram_quantile(0.95, sum by (le, kind) (rate("
                    f"stoker_reconcile_duration_seconds_bucket{{{_HERE}}}{_RATE})))",
                    "{{kind}}",
                ),
            ),
        ),
        Panel(
            "Passes by outcome",
            "How passes ended: ok; not_ready (something is not there yet, tried again); refused "
            "(by the API server: rights, quota, a webhook); not_leading; bug. "
            "Bad: refused or bug; not_ready that goes on for hours.",
            "ops",
            Scenario.BASE,
            (
                Target(
                    "sum by (outcome) (rate("
                    f"stoker_reconcile_duration_seconds_count{{{_HERE}}}{_RATE}))",
                    "{{outcome}}",
                ),
            ),
            Kind.STACK,
            colours=(("ok", GOOD), ("not_ready", GREY), ("refused", WARN), ("bug", BAD)),
        ),
        Panel(
            "Objects that wait for a pass",
            "The length of the queue, by kind. "
            "Bad: it does not come back to zero: more happens than the operator can follow; "
            "decisions come late.",
            "short",
            Scenario.BASE,
            (Target(f"sum by (kind) (stoker_queue_depth{{{_HERE}}})", "{{kind}}"),),
            decimals=0,
        ),
        Panel(
            "Time in the queue, P95",
            "From the moment there was something to do until its pass began. "
            "Bad: above one second: scaling reacts that much later.",
            "s",
            Scenario.BASE,
            (
                Target(
                    "histogram_quantile(0.95, sum by (le, kind) (rate("
                    f"stoker_queue_wait_seconds_bucket{{{_HERE}}}{_RATE})))",
                    "{{kind}}",
                ),
            ),
            steps=rising(1, 15),
            runbooks=("StokerOperatorFallsBehind",),
        ),
    ),
)

_SIGHT: Final = Row(
    "What it sees",
    (
        Panel(
            "Age of watches, by resource",
            "Seconds since each watch was known to tell the truth: an event came, or the "
            "comparison with a list, once a minute, found nothing missing. "
            "Bad: a line that climbs past 5 minutes: that watch is dead.",
            "s",
            Scenario.BASE,
            (Target(f"max by (resource) (stoker_watch_age_seconds{{{_HERE}}})", "{{resource}}"),),
            steps=rising(120, 300),
            runbooks=("StokerWatchStale",),
        ),
        Panel(
            "Services without complete numbers",
            "Services that scale by load and had no complete sample for 15 seconds: their number "
            "of replicas is kept. "
            "Bad: above zero: an engine or frontend does not answer, or tells no such metric.",
            "short",
            Scenario.BASE,
            (Target(f"max(stoker_scaling_blind_services{{{_HERE}}})", "blind", WARN),),
            decimals=0,
            runbooks=("StokerScalingBlind", "StokerMetricMissing"),
        ),
        Panel(
            "Services by condition",
            "How many services have each condition at False. "
            "Bad: a step upwards that many services take together: the cluster, not a service.",
            "short",
            Scenario.BASE,
            (
                Target(
                    f'sum by (condition) (stoker_services{{{_HERE}, status="False"}})',
                    "{{condition}}",
                ),
            ),
            decimals=0,
        ),
        Panel(
            "Objects written",
            "Applied and deleted objects. "
            "Bad: a steady rate while nothing changes: somebody else writes the same fields, and "
            "both take them back.",
            "ops",
            Scenario.BASE,
            (Target(f"sum(rate(stoker_object_writes_total{{{_HERE}}}{_RATE}))", "writes", BLUE),),
        ),
    ),
)

_API: Final = Row(
    "The API server, and the process",
    (
        Panel(
            "API calls, P95 by verb",
            "How long the API server takes for the operator's requests. "
            "Bad: above one second: it is overloaded, or far away; all decisions wait for it.",
            "s",
            Scenario.BASE,
            (
                Target(
                    "histogram_quantile(0.95, sum by (le, verb) (rate("
                    f"stoker_api_call_duration_seconds_bucket{{{_HERE}}}{_RATE})))",
                    "{{verb}}",
                ),
            ),
            steps=rising(1, 5),
        ),
        Panel(
            "API calls by status",
            "By HTTP status; `none` where no answer came. "
            "Bad: 403 (a right is missing), 429 (throttled), 5xx or none (the API server is ill). "
            "404 and 409 in small numbers are part of normal work.",
            "reqps",
            Scenario.BASE,
            (
                Target(
                    "sum by (code) (rate("
                    f"stoker_api_call_duration_seconds_count{{{_HERE}}}{_RATE}))",
                    "{{code}}",
                ),
            ),
            Kind.STACK,
            colours=STATUSES,
        ),
        Panel(
            "CPU of the operator",
            "Cores in use, by process. Bad: near 1: it runs on one core, and everything waits.",
            "short",
            Scenario.BASE,
            (
                Target(
                    f"max by (instance) (rate(process_cpu_seconds_total{{{_HERE}}}{_RATE}) "
                    f"and on (cluster, instance) stoker_build_info{{{_HERE}}})",
                    "{{instance}}",
                ),
            ),
            steps=rising(0.7, 0.9),
        ),
        Panel(
            "Memory of the operator",
            "Resident memory, by process. Bad: it grows without end, or nears the pod's limit.",
            "bytes",
            Scenario.BASE,
            (
                Target(
                    f"max by (instance) (process_resident_memory_bytes{{{_HERE}}} "
                    f"and on (cluster, instance) stoker_build_info{{{_HERE}}})",
                    "{{instance}}",
                ),
            ),
        ),
        Panel(
            "Series on the operator's page",
            "Samples that Prometheus reads from the operator in one scrape. "
            "Bad: it grows while the number of services does not.",
            "short",
            Scenario.BASE,
            (
                Target(
                    f"max by (instance) (scrape_samples_scraped{{{_HERE}}} "
                    f"and on (cluster, instance) stoker_build_info{{{_HERE}}})",
                    "{{instance}}",
                ),
            ),
            decimals=0,
        ),
        Panel(
            "Operators by version",
            "Processes of each version; two of them during an upgrade. "
            "Bad: two versions for long: the rollout of the operator is stuck.",
            "short",
            Scenario.BASE,
            (Target(f"count by (version) (stoker_build_info{{{_HERE}}})", "{{version}}", GREEN),),
            Kind.STACK,
            decimals=0,
        ),
    ),
)

BOARD: Final = Board(
    kit.OPERATOR,
    "Stoker / Operator",
    "Does the operator see, decide and act?",
    (_NOW, _WORK, _SIGHT, _API),
    (kit.CLUSTER,),
    (kit.LED,),
)
