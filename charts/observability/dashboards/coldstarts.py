"""The page of starts, which answers: why a new replica takes so long, and who waits for it."""

from typing import Final

from charts.observability.dashboards import kit
from charts.observability.dashboards.values import (
    BAD,
    BLUE,
    GOOD,
    GREEN,
    WARN,
    Board,
    Kind,
    Panel,
    Row,
    Scenario,
    Target,
    rising,
)

_NAMES: Final = (("cluster", "Cluster"), ("namespace", "Namespace"), ("service", "Service"))


def _phase(name: str, title: str) -> Target:
    return Target(
        f'max by ({kit.EACH}) (stoker_service_startup_seconds{{@service, phase="{name}"}})', title
    )


_NOW: Final = Row(
    "Now",
    (
        kit.figure(
            "Longest wait for a node",
            "How long the oldest replica that no node can take has waited; zero where none waits. "
            "Bad: it comes near the deadline (beside): then the replica is withdrawn.",
            "s",
            Scenario.BASE,
            (Target("max(stoker_service_pending_seconds{@service}) or vector(0)", "wait"),),
            steps=rising(60, 600),
            runbooks=("StokerReplicaUnschedulable",),
        ),
        kit.figure(
            "Wait, of its deadline",
            "The wait for a node over what nodes have taken so far, with reserve: at 100 % the "
            "replica is withdrawn, and another type or a later try takes its place. "
            "Bad: above 80 %. Empty where none waits.",
            "percentunit",
            Scenario.PENDING,
            (
                Target(
                    f"max({kit.once('stoker_service_pending_seconds')} "
                    f"/ {kit.once('stoker_service_startup_deadline_seconds')})",
                    "of the deadline",
                ),
            ),
            steps=rising(0.5, 0.8),
            nothing="none waits",
            runbooks=("StokerReplicaUnschedulable",),
        ),
        kit.figure(
            "Replicas that start",
            "Replicas that are there, but do not answer yet. "
            "Bad: the number stays for longer than the slowest start (beside).",
            "short",
            Scenario.BASE,
            (Target(f"sum({kit.replicas('pending')})", "starting"),),
            decimals=0,
        ),
        kit.figure(
            "Slowest service to start",
            "From being asked for to the first answer, mean of the last few starts, of the slowest "
            "of the chosen services. Bad: minutes where scaling from zero is wanted.",
            "s",
            Scenario.COLD_START,
            (
                Target(
                    f"max(sum by ({kit.EACH}) (max by ({kit.EACH}, phase) "
                    "(stoker_service_startup_seconds{@service})))",
                    "start",
                ),
            ),
            steps=rising(120, 600),
        ),
    ),
)

_PHASES: Final = Row(
    "Where the time goes",
    (
        Panel(
            "Starts by phase",
            "Means of each service's last few starts: until a node was found, until the engine's "
            "container ran (the image), until the first answer (weights, compilation, warm-up). "
            "Bad: node: no free accelerator, see headroom in docs/nodes.md. Image: it is not on "
            "the node. Load: the model lies on slow storage, or no compile cache is kept.",
            "s",
            Scenario.COLD_START,
            (
                _phase("node", "Node"),
                _phase("image", "Image"),
                _phase("load", "Load"),
                Target(
                    f"sum by ({kit.EACH}) (max by ({kit.EACH}, phase) "
                    "(stoker_service_startup_seconds{@service}))",
                    "Whole start",
                    steps=rising(120, 600),
                ),
            ),
            Kind.TABLE,
            width=24,
            columns=_NAMES,
            sort="Whole start",
            links=(kit.OF_ROW,),
        ),
        Panel(
            "Mean start, by phase",
            "The chosen services' starts on average, phase on phase. "
            "Bad: one phase grows over days: bigger images, slower storage, fewer free nodes.",
            "s",
            Scenario.COLD_START,
            (
                Target('avg(stoker_service_startup_seconds{@service, phase="node"})', "node", WARN),
                Target(
                    'avg(stoker_service_startup_seconds{@service, phase="image"})', "image", GOOD
                ),
                Target('avg(stoker_service_startup_seconds{@service, phase="load"})', "load", BLUE),
            ),
            Kind.STACK,
        ),
        Panel(
            "Whole start, by service",
            "From being asked for to the first answer. A click on a line opens the service. "
            "Bad: a step upwards: look at what changed then (image, model, node type).",
            "s",
            Scenario.COLD_START,
            (
                Target(
                    f"topk(10, sum by ({kit.EACH}) (max by ({kit.EACH}, phase) "
                    "(stoker_service_startup_seconds{@service})))",
                    kit.LINE,
                ),
            ),
            links=(kit.OF_LINE,),
        ),
        Panel(
            "Inside the container, by milestone",
            "Seconds from the container's start until the engine's process ran, its model was "
            "proven, it was healthy, and the first token came: mean of the replicas that run now. "
            "Bad: healthy far above modelProven: compilation or weights. A gap before firstToken: "
            "the warm-up compiles kernels; keep the compile cache.",
            "s",
            Scenario.BASE,
            (
                Target(
                    "avg by (milestone) (stoker_worker_start_seconds{@service})", "{{milestone}}"
                ),
            ),
            width=24,
        ),
    ),
)

_NODES: Final = Row(
    "Waiting for nodes",
    (
        Panel(
            "Wait for a node, by service",
            "How long each service's oldest replica without a node has waited, and the deadline "
            "learned from earlier starts (dashed). "
            "Bad: a line that rises to its deadline: nothing brings a node. Quota, stock of the "
            "cloud, node selectors and taints are the usual causes.",
            "s",
            Scenario.PENDING,
            (
                Target(
                    f"max by ({kit.EACH}) (stoker_service_pending_seconds{{@service}})", kit.LINE
                ),
                Target(
                    f"max by ({kit.EACH}) (stoker_service_startup_deadline_seconds{{@service}})",
                    "deadline of {{namespace}}/{{service}}",
                    BAD,
                    dashed=True,
                ),
            ),
            links=(kit.OF_LINE,),
            nothing="none waits",
            runbooks=("StokerReplicaUnschedulable",),
        ),
        Panel(
            "Replicas that start, by service",
            "Replicas that are there, but not ready. "
            "Bad: a number that comes back after each fall: they crash while they start.",
            "short",
            Scenario.BASE,
            (
                Target(
                    f"topk(10, {kit.replicas('pending')})",
                    kit.LINE,
                ),
            ),
            decimals=0,
            links=(kit.OF_LINE,),
            runbooks=("StokerEngineCrashLoop",),
        ),
    ),
)

_WAITING: Final = Row(
    "Who waits meanwhile",
    (
        Panel(
            "Requests held at the frontend, by service",
            "Requests for which no replica is there yet. "
            "Bad: they stay for longer than a start takes; each is answered with 503 in the end.",
            "short",
            Scenario.BASE,
            (
                Target(
                    f"topk(10, sum by ({kit.EACH}) (stoker:held_requests{{@service}}))", kit.LINE
                ),
            ),
            links=(kit.OF_LINE,),
            runbooks=("StokerHeldRequestsTimeOut",),
        ),
        Panel(
            "How holding ended",
            "Requests that were held, by what became of them: Dispatched (a replica took them), "
            "EvictedTTL (they waited too long), other ways of being turned away. "
            "Bad: anything but Dispatched.",
            "reqps",
            Scenario.BASE,
            (
                Target(
                    "sum by (outcome) "
                    "(rate(stoker:hold_seconds_count{@service}[$__rate_interval]))",
                    "{{outcome}}",
                ),
            ),
            Kind.STACK,
            colours=(("Dispatched", GOOD), ("EvictedTTL", BAD), (".+", WARN)),
            runbooks=("StokerHeldRequestsTimeOut",),
        ),
        Panel(
            "Time held, P95",
            "19 of 20 held requests waited shorter than this, by how it ended. "
            "Bad: near the time at which requests are turned away.",
            "s",
            Scenario.BASE,
            (
                Target(
                    "histogram_quantile(0.95, sum by (le, outcome) "
                    "(rate(stoker:hold_seconds_bucket{@service}[$__rate_interval])))",
                    "{{outcome}}",
                ),
            ),
        ),
        Panel(
            "Services without a replica",
            "Scaled to zero: the next request starts one, and waits for it. "
            "Bad: services that should always answer at once are among them: set "
            "scaling.minReplicas.",
            "short",
            Scenario.BASE,
            (
                Target(
                    f"count({kit.replicas('desired')} == 0) or vector(0)",
                    "at zero",
                    BLUE,
                ),
                Target(
                    f"count({kit.replicas('desired')} > 0) or vector(0)",
                    "with replicas",
                    GREEN,
                ),
            ),
            Kind.STACK,
            decimals=0,
        ),
    ),
)

BOARD: Final = Board(
    kit.COLD_STARTS,
    "Stoker / Cold starts",
    "Why does a new replica take so long, and who waits for it?",
    (_NOW, _PHASES, _NODES, _WAITING),
    (kit.CLUSTER, kit.NAMESPACE, kit.MANY_SERVICES),
    (kit.LED,),
)
