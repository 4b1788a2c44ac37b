"""The operator itself. Without it services go on, but nothing is scaled, repaired or told."""

from typing import Final

from charts.observability.promql import counted, labels
from charts.observability.rulefile import Alert

_PROCESS: Final = ("cluster", "namespace", "job")
_WHERE: Final = "{{ $labels.namespace }}"

ALERTS: Final = (
    Alert(
        "StokerOperatorDown",
        "absent(stoker_build_info)",
        "critical",
        "Prometheus knows nothing of Stoker's operator",
        "No operator is being scraped: it does not run, or its page is not reached. Alerts about "
        "its services cannot fire meanwhile.",
        hold="10m",
    ),
    Alert(
        "StokerOperatorWithoutLeader",
        f"max by {labels(_PROCESS)} (stoker_leader) == 0",
        "critical",
        f"No process of the operator in {_WHERE} leads",
        "Operators run, but none holds the Lease: services keep running as they are, and nothing "
        "is scaled or repaired.",
        hold="2m",
    ),
    Alert(
        "StokerWatchStale",
        f"max by {labels((*_PROCESS, 'resource'))} (\n"
        f"  stoker_watch_age_seconds and on {labels((*_PROCESS, 'pod', 'instance'))} "
        "stoker_leader == 1\n) > 300",
        "critical",
        f"The operator in {_WHERE} no longer sees changes of {{{{ $labels.resource }}}}",
        "Its watch has told nothing that could be confirmed for {{ $value | humanizeDuration }}.",
        hold="2m",
    ),
    Alert(
        "StokerReconcileBugs",
        f"sum by {labels(_PROCESS)} ({counted('stoker_reconcile_bugs_total', '15m')}) > 0",
        "warning",
        f"The operator in {_WHERE} has met an error that nobody foresaw",
        "{{ $value | humanize }} passes in a quarter of an hour ended in a bug. Each is tried "
        "again; the object that it was about may stand still.",
    ),
    Alert(
        "StokerOperatorFallsBehind",
        f"histogram_quantile(0.99, sum by {labels((*_PROCESS, 'kind', 'le'))} "
        "(rate(stoker_queue_wait_seconds_bucket[10m]))) > 15",
        "warning",
        f"The operator in {_WHERE} is slow to look at {{{{ $labels.kind }}}}",
        "One object in a hundred waits {{ $value | humanizeDuration }} for its turn.",
        hold="10m",
    ),
)
