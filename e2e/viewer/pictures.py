"""Which pictures there are: of which dashboard, of what, and which of its rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Picture:
    """One picture of docs/images."""

    name: str
    dashboard: str
    """The dashboard's uid."""
    chosen: dict[str, str] = field(default_factory=dict)
    """What the page is told beside it: `var-NAME` of a variable, `rows` to keep."""


_SERVICE: Final = {"var-namespace": "demo", "var-service": "seen"}


def _service(name: str, *rows: str) -> Picture:
    return Picture(
        f"dashboard-service-{name}", "stoker-service", {**_SERVICE, "rows": "|".join(rows)}
    )


PICTURES: Final = (
    Picture("dashboard-fleet", "stoker-fleet"),
    _service("users", "Now", "What users feel"),
    _service("queue", "Queue and replicas", "Batch"),
    _service("engine", "KV cache and prefix cache", "Speculation"),
    _service(
        "machine",
        "Accelerators",
        "The engines' hosts, and what the plan did not foresee",
    ),
    Picture("dashboard-cold-starts", "stoker-cold-starts"),
    Picture("dashboard-caches", "stoker-caches"),
    Picture("dashboard-cost", "stoker-cost"),
    Picture("dashboard-operator", "stoker-operator"),
)
