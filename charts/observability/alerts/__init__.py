"""Alerts by whom they are about. Each has a page in docs/runbooks and is told of once."""

from charts.observability.alerts import budgets, caches, operator, services
from charts.observability.rulefile import Alert, Group

GROUPS = (
    Group("stoker-budgets", budgets.ALERTS),
    Group("stoker-service-alerts", services.ALERTS),
    Group("stoker-cache-alerts", caches.ALERTS),
    Group("stoker-operator-alerts", operator.ALERTS),
)


def alerts() -> tuple[Alert, ...]:
    """All of them."""
    return tuple(rule for group in GROUPS for rule in group.rules if isinstance(rule, Alert))
