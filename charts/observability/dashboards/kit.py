"""What the dashboards share: selectors, variables, links between them and to the runbooks.

The label `cluster` comes from Prometheus's external labels and may be absent. An absent label
matches the empty text, and so `.*`, which is what "All" stands for in every variable.
"""

import functools
import re
from typing import Final

from charts.observability.dashboards.values import (
    PURPLE,
    Annotation,
    Kind,
    Link,
    Panel,
    Scenario,
    Variable,
)
from charts.observability.rulefile import RUNBOOKS

DATASOURCE: Final = "${datasource}"
FLEET: Final = "stoker-fleet"
SERVICE: Final = "stoker-service"
COLD_STARTS: Final = "stoker-cold-starts"
CACHES: Final = "stoker-caches"
COST: Final = "stoker-cost"
OPERATOR: Final = "stoker-operator"

_MATCHERS: Final = {
    "cluster": 'cluster=~"$cluster"',
    "place": 'cluster=~"$cluster", namespace=~"$namespace"',
    "service": 'cluster=~"$cluster", namespace=~"$namespace", service=~"$service"',
    "revision": 'cluster=~"$cluster", namespace=~"$namespace", service=~"$service", '
    'revision=~"$revision"',
    "cache": 'cluster=~"$cluster", namespace=~"$namespace", cache=~"$cache"',
}
_MARK: Final = re.compile(r"@([a-z]+)")

CLUSTER: Final = Variable(
    "cluster",
    "Cluster",
    "stoker_build_info",
    "The label that Prometheus adds to tell clusters apart. All: also where it adds none.",
    Scenario.CLUSTERS,
)
NAMESPACE: Final = Variable(
    "namespace",
    "Namespace",
    'stoker_service_info{cluster=~"$cluster"}',
    "Where the services are.",
)
MANY_SERVICES: Final = Variable(
    "service",
    "Service",
    'stoker_service_info{cluster=~"$cluster", namespace=~"$namespace"}',
    "InferenceServices, by name.",
)
# One page is about one service: figures of two of them in one line would say nothing of either.
ONE_NAMESPACE: Final = Variable(
    "namespace", "Namespace", NAMESPACE.series, "Where the service is.", many=False
)
ONE_SERVICE: Final = Variable(
    "service", "Service", MANY_SERVICES.series, "The InferenceService's name.", many=False
)
REVISION: Final = Variable(
    "revision",
    "Revision",
    'stoker:requests_running{cluster=~"$cluster", namespace=~"$namespace", service=~"$service"}',
    "One rollout of the service. Two at once: a rollout is under way.",
)


# What tells services apart. Two processes of the operator may tell of one for a moment, while one
# takes over, and a target may be scraped twice: figures are taken once, then added up.
EACH: Final = "cluster, namespace, service"
# The longest word that a label of few values can have: a table's column has to be that wide.
LONGEST: Final = {
    "alertname": "StokerErrorBudgetBurnForDays",
    "condition": "BetterPlanAvailable",
    "phase": "Resolving",
    "reason": "ImageVolumesNotSupported",
    "severity": "critical",
}
# How a line of many services is called.
LINE: Final = "{{namespace}}/{{service}}"
# One number, a quarter of a row wide: what is looked at first.
figure: Final = functools.partial(Panel, kind=Kind.STAT, width=6, height=4)


def replicas(state: str) -> str:
    """Replicas in this state, by service: desired, ready or pending (there, but not ready)."""
    return once("stoker_service_replicas", f'state="{state}"')


def limit(bound: str) -> str:
    """The fewest (min) or the most (max) replicas that a service may have, by service."""
    return once("stoker_service_replicas_limit", f'bound="{bound}"')


def once(metric: str, more: str = "", *, by: str = "", of: str = "service") -> str:
    """A gauge, once for each service and what else it tells apart (`by`)."""
    matchers = f"@{of}, {more}" if more else f"@{of}"
    labels = f"{EACH}, {by}" if by else EACH
    return f"max by ({labels}) ({metric}{{{matchers}}})"


def counted(counter: str, where: str, by: str, window: str = "$__interval") -> str:
    """How much a counter grew within a bar or another window, where it did, also if it began in it.

    Counters of events appear with the first of them, which `increase` alone would not see.
    """
    series = f"{counter}{{{where}}}"
    new = f"({series} unless {series} offset {window})"
    return f"sum by ({by}) ({new} or increase({series}[{window}])) > 0"


# A new leader starts without memory of the load; what moves after it has this as a cause.
LED: Final = Annotation(
    "Operator took the lead",
    'max by (instance) (stoker_leader{cluster=~"$cluster"}) == 1 unless '
    'max by (instance) (last_over_time(stoker_leader{cluster=~"$cluster"}[1h] offset 1m)) == 1',
    "Operator {{instance}} leads",
    "Another operator process took the lead, or the only one was restarted: its counters begin "
    "anew.",
    PURPLE,
    Scenario.BASE,
)


def promql(expr: str) -> str:
    """An expression with its selectors written out: `{@service}` becomes matchers of variables."""
    flat = " ".join(expr.split())
    return _MARK.sub(lambda found: _MATCHERS[found[1]], flat)


def letter(number: int) -> str:
    """What Grafana calls the query of a panel with this number."""
    return chr(ord("A") + number)


def runbook(page: str) -> Link:
    """What to do about it."""
    return Link(f"Runbook: {page}", f"{RUNBOOKS}/{page}.md")


def to_service(namespace: str, service: str, column: str = "") -> Link:
    """The page of one service; the arguments are Grafana's variables of the clicked value."""
    chosen = f"var-namespace={namespace}&var-service={service}&var-revision=$__all"
    return Link(
        "This service",
        f"/d/{SERVICE}?{chosen}&${{cluster:queryparam}}&${{datasource:queryparam}}"
        "&${__url_time_range}",
        column,
    )


# From a line of a time series, and from a row of a table.
OF_LINE: Final = to_service("${__field.labels.namespace}", "${__field.labels.service}")
OF_ROW: Final = to_service("${__data.fields.Namespace}", "${__data.fields.Service}", "Service")
OF_ALERT: Final = Link("Its runbook", f"{RUNBOOKS}/${{__data.fields.Alert}}.md", "Alert")

# A counter that appears with its first count, or after the operator moved, has grown by what it
# shows; one that was seen within the hour by the difference.
_GREW: Final = """
sum by ({labels}) (
  {metric}{{{where}}}
  - (last_over_time({metric}{{{where}}}[1h] offset 1m) or 0 * {metric}{{{where}}})
) > 0
"""


def grew(metric: str, where: str, labels: str) -> str:
    """By how much a counter grew within a minute, where it did: for annotations."""
    return _GREW.format(metric=metric, where=where, labels=labels)
