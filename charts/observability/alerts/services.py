"""What users of one service feel, and what keeps its replicas from helping them."""

from typing import Final

from charts.observability import names
from charts.observability.metric import SERVICE
from charts.observability.promql import counted, labels, of_service
from charts.observability.rulefile import Alert
from charts.observability.services import ON

_WHO: Final = "{{ $labels.namespace }}/{{ $labels.service }}"
_DESIRED: Final = of_service('stoker_service_replicas{state="desired"}')
_READY: Final = of_service('stoker_service_replicas{state="ready"}')
_MOST: Final = of_service('stoker_service_replicas_limit{bound="max"}')
_REPLACED: Final = "stoker_engine_replacements_total"


def _condition(**expected: str) -> str:
    chosen = ",".join(f'{label}="{value}"' for label, value in expected.items())
    return of_service(f"stoker_service_condition{{{chosen}}}")


ALERTS: Final = (
    Alert(
        "StokerQueueGrowsAtMax",
        f"{names.QUEUE}\n"
        f"and {ON} min_over_time({names.QUEUE}[10m]) > {ON} {_DESIRED}\n"
        f"and {ON} deriv({names.QUEUE}[10m]) >= 0\n"
        f"and {ON} ({_DESIRED} >= {ON} {_MOST})",
        "warning",
        f"{{{{ $value }}}} requests wait for {_WHO}, which has as many replicas as it may",
        "For ten minutes more requests than replicas have waited, the queue does not shrink, and "
        "maxReplicas is reached: no scaling will help.",
        hold="5m",
    ),
    Alert(
        "StokerHeldRequestsTimeOut",
        of_service(counted(names.HOLD_TIME.count, "10m", 'outcome="EvictedTTL"'), "sum") + " > 0",
        "warning",
        f"Requests to {_WHO} give up waiting for a replica",
        "{{ $value | humanize }} requests in ten minutes waited for all of frontend.holdTimeout "
        "and were answered with 503.",
        keep="5m",
    ),
    Alert(
        "StokerNoReplicaReady",
        f"{names.QUEUE} > 0\nand {ON} {_READY} == 0",
        "critical",
        f"Nobody answers the requests to {_WHO}",
        "{{ $value }} requests wait, and for 15 minutes no replica has been ready.",
        hold="15m",
    ),
    Alert(
        "StokerReplicaUnschedulable",
        f"{of_service('stoker_service_pending_seconds')} > {ON} "
        f"{of_service('stoker_service_startup_deadline_seconds')}\n"
        f"or\n{_condition(reason='NoNodeCame')}",
        "warning",
        f"No node comes for a replica of {_WHO}",
        "A replica has waited for a node for longer than earlier starts took to get one. It is "
        "withdrawn and asked for again later.",
        keep="10m",
    ),
    Alert(
        "StokerEngineCrashLoop",
        of_service(counted(_REPLACED, "30m", 'reason!="hung"'), "sum") + " >= 3",
        "critical",
        f"The engines of {_WHO} end again and again",
        "{{ $value | humanize }} engines ended by themselves within half an hour.",
    ),
    Alert(
        "StokerEngineHung",
        of_service(counted(_REPLACED, "30m", 'reason="hung"'), "sum") + " > 0",
        "warning",
        f"An engine of {_WHO} hung and was replaced",
        "{{ $value | humanize }} engines made no progress within half an hour, though they had "
        "requests. What they were computing is lost.",
    ),
    Alert(
        "StokerMetricMissing",
        _condition(condition="ScalingActive", reason="MetricMissing"),
        "warning",
        f"An engine of {_WHO} lacks a number that scaling needs",
        "The engine answers, but without a series that Stoker knows: perhaps a new version with "
        "new names. The service keeps its replicas and does not scale.",
        hold="2m",
    ),
    Alert(
        "StokerScalingBlind",
        of_service("stoker_scaling_blind_seconds") + " > 120",
        "critical",
        f"{_WHO} cannot be scaled: its numbers do not arrive",
        "For {{ $value | humanizeDuration }} the operator has had no complete sample of this "
        "service's load. It removes no replica and adds none.",
    ),
    Alert(
        "StokerPlanResidualLarge",
        f"max by {labels((*SERVICE, 'quantity'))} (stoker_plan_residual_ratio) > 1.5\n"
        f"or\nmin by {labels((*SERVICE, 'quantity'))} (stoker_plan_residual_ratio) < 0.67",
        "info",
        f"{_WHO} runs otherwise than planned: {{{{ $labels.quantity }}}}",
        "Measured is {{ $value | humanize }} times what was planned. Limits, batch and targets "
        "that follow from the plan may be wrong.",
        hold="30m",
    ),
    Alert(
        "StokerBudgetReached",
        of_service("stoker_budget_reached") + " == 1",
        "warning",
        f"The budget of {_WHO} keeps replicas from coming",
        "The load asks for more replicas than scaling.budget.maxPerHour pays for.",
        hold="10m",
    ),
    Alert(
        "StokerEngineNotScraped",
        f"{_READY} > 0\nunless {ON} {names.REQUESTS_RUNNING}",
        "info",
        f"Prometheus knows nothing of the engines of {_WHO}",
        "Replicas are ready, but no series of theirs arrive: alerts about the time to the first "
        "token and the queue of this service cannot fire.",
        hold="15m",
    ),
    Alert(
        "StokerFrontendNotScraped",
        f"{_READY} > 0\nunless {ON} {names.HELD_REQUESTS}",
        "info",
        f"Prometheus knows nothing of the frontend of {_WHO}",
        "Replicas are ready, but no series of the frontend arrive: alerts about errors and held "
        "requests of this service cannot fire.",
        hold="15m",
    ),
)
