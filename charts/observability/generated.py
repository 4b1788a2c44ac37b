"""Every generated file of the chart, by its path below `charts/stoker`."""

from collections.abc import Mapping

from charts.observability import (
    alerts,
    costs,
    dashboards,
    recording,
    rulefile,
    scraped,
    services,
)


def files() -> Mapping[str, str]:
    """Path to content. Each source adds its own here."""
    recorded = (*recording.groups(), *services.groups(), *costs.groups())
    found = {
        "rules/alerts.yaml": rulefile.text("Symptoms, each with a runbook.", alerts.GROUPS),
        "rules/recording.yaml": rulefile.text("One vocabulary for what engines tell.", recorded),
        **dashboards.files(),
    }
    return {**found, "rules/scraped.txt": scraped.pattern(found.values())}
