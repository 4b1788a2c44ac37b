"""The ladder of techniques on a CPU: what is claimed, what is measured, what the planner says.

    python -m benchmarks.techniques [--only weights,kv,prefix,speculation,batching,chunks,compile]

The model is tiny, the kernels and the scheduler are vLLM's own. Memory and tokens hold for any
model; of times only ratios mean something, and those of a GPU with a large model are others: the
column beside says what the planner makes of it for the catalogue's `cpu`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from rich.console import Console
from rich.table import Table

from benchmarks.common import machine, options_of
from benchmarks.techniques import memory, pace
from benchmarks.techniques.rows import Row

RUNGS: dict[str, Callable[[], list[Row]]] = {
    "weights": memory.weights,
    "kv": memory.kv_cache,
    "prefix": pace.prefix_caching,
    "speculation": pace.speculation,
    "batching": pace.batching,
    "chunks": pace.chunked_prefill,
    "compile": pace.compiling,
}


def main() -> int:
    parser = options_of(__doc__)
    parser.add_argument("--only", help=f"some of {', '.join(RUNGS)}, with commas between")
    options = parser.parse_args()
    chosen = options.only.split(",") if options.only else list(RUNGS)
    unknown = sorted(set(chosen) - set(RUNGS))
    if unknown:
        parser.error(f"no rungs {', '.join(unknown)}; there are {', '.join(RUNGS)}")
    rows: list[Row] = []
    for name in chosen:
        rows += RUNGS[name]()
        # After each rung: what was measured is not lost with what comes later.
        _write(rows, options.output)
    _print(rows)
    return 0


def _print(rows: list[Row]) -> None:
    table = Table(title="Techniques on a CPU", title_justify="left", show_lines=True)
    for heading in ("technique", "claimed", "measured", "planned"):
        table.add_column(heading)
    for row in rows:
        table.add_row(row.technique, row.claim, row.measured, row.planned)
    Console(width=None if sys.stdout.isatty() else 150).print(table)


def _write(rows: list[Row], output: Path | None) -> None:
    if output is None:
        return
    found = {
        "benchmark": "techniques",
        "at": datetime.now(UTC).isoformat(),
        **machine(),
        "rows": [
            {"technique": row.technique, "claimed": row.claim, "measured": row.measured,
             "planned": row.planned, **row.numbers}
            for row in rows
        ],
    }  # fmt: skip
    output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
