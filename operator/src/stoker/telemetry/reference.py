"""The reference of the operator's metrics, written from `families`: `make generate` calls this."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from stoker.telemetry import families
from stoker.telemetry.families import Family

PATH: Final = Path("docs/metrics-reference.md")
_HEAD: Final = """# Metrics of the operator

Every metric that the operator shows on port 8080, `/metrics`; made by `make generate` from the same
table that the operator uses. How to connect Prometheus, and the metrics of engines and frontends,
are in [metrics.md](metrics.md).

Beside these there are the usual `process_*` metrics. A histogram has the suffixes `_bucket`,
`_sum` and `_count`. What is *leader's* is shown by the process that leads alone; a service's or a
cache's series end with it. Nothing is shown for what is not known: absent is not zero.
"""
_GROUPS: Final = (
    ("The operator itself", families.OF_PROCESS),
    ("Services", families.OF_SERVICES),
    ("Cost", families.OF_COST),
    ("Model caches", families.OF_CACHES),
)


def reference() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(_section(title, found) for title, found in _GROUPS)])


def _section(title: str, found: Iterable[Family]) -> str:
    rows = "\n".join(map(_row, found))
    return f"## {title}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n{rows}\n"


def _row(family: Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels)
    leader = " *Leader's.*" if family.leader else ""
    return f"| `{family.shown}` | {family.type} | {labels} | {family.help}{leader} |"


if __name__ == "__main__":
    # Beside the repository's root, which is where `make` runs.
    (Path(*sys.argv[1:2]) / PATH).write_text(reference(), encoding="utf-8")
