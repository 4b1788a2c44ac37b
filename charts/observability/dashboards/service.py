"""The page of one service: whether it is well, and what holds it back if not."""

from typing import Final

from charts.observability.dashboards import kit
from charts.observability.dashboards.engine import (
    ACCELERATORS,
    BATCH,
    CACHE,
    HOST,
    SPECULATION,
)
from charts.observability.dashboards.signals import NOW, SCALING, SIGNALS
from charts.observability.dashboards.values import BAD, BLUE, PURPLE, Annotation, Board, Scenario

_WHERE: Final = "@service"

BOARD: Final = Board(
    kit.SERVICE,
    "Stoker / Service",
    "Is this service well, and if not, what holds it back? From what users feel (top) down to "
    "the machines.",
    (NOW, SIGNALS, SCALING, BATCH, CACHE, SPECULATION, ACCELERATORS, HOST),
    (kit.CLUSTER, kit.ONE_NAMESPACE, kit.ONE_SERVICE, kit.REVISION),
    (
        Annotation(
            "Scaling decisions",
            kit.grew(
                "stoker_scaling_decisions_total", _WHERE, "namespace, service, reason, direction"
            ),
            "{{direction}}: {{reason}}",
            "The scaler changed the number of replicas. `kubectl stoker why` tells the numbers.",
            BLUE,
            Scenario.LOAD,
        ),
        Annotation(
            "Engines replaced",
            kit.grew("stoker_engine_replacements_total", _WHERE, "namespace, service, reason"),
            "Engine replaced: {{reason}}",
            "An engine crashed or hung and was replaced.",
            BAD,
            Scenario.FAULT,
        ),
        Annotation(
            "New revisions",
            "count by (namespace, service, revision) (stoker:pod_info{@service}) unless "
            "count by (namespace, service, revision) "
            "(last_over_time(stoker:pod_info{@service}[1h] offset 1m))",
            "Revision {{revision}}",
            "The first pod of a new revision: a rollout has begun.",
            PURPLE,
            Scenario.BASE,
        ),
    ),
)
