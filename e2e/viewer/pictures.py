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


def _of(dashboard: str, name: str, *rows: str, **variables: str) -> Picture:
    chosen = {f"var-{variable}": value for variable, value in variables.items()}
    return Picture(f"dashboard-{name}", f"stoker-{dashboard}", {**chosen, "rows": "|".join(rows)})


_SCALED: Final = {"namespace": "demo", "service": "tiny"}
_SEEN: Final = {"namespace": "demo", "service": "seen"}

PICTURES: Final = (
    _of("fleet", "fleet", "Now", "Services", "What users feel: the ten worst"),
    _of("fleet", "fleet-size", "How much there is"),
    _of("service", "service-users", "Now", "What users feel", **_SEEN),
    _of("service", "service-queue", "Queue and replicas", "Batch", **_SCALED),
    _of("service", "service-engine", "KV cache and prefix cache", "Speculation", **_SEEN),
    _of(
        "service",
        "service-machine",
        "Accelerators",
        "The engines' hosts, and what the plan did not foresee",
        **_SEEN,
    ),
    _of("cold-starts", "cold-starts", "Now", "Where the time goes", "Waiting for nodes"),
    _of("caches", "caches", "Now", "Caches", "Filling and keeping"),
    _of("cost", "cost", "Now", "Services", "For what"),
    _of(
        "cost",
        "cost-compared",
        "For a request and a million tokens, mean of the last hour",
        "Compared",
    ),
    _of("operator", "operator", "Now", "Its work", "What it sees"),
    _of("operator", "operator-process", "The API server, and the process"),
)
