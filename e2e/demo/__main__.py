"""Command line: `python -m e2e.demo`, with CLUSTER=current for the cluster of the kubectl context.

Progress goes to stderr, the table and what to do next to stdout.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path

from rich.console import Console

from e2e.cluster import ClusterError
from e2e.demo.report import Report, explain, next_steps, table
from e2e.demo.steps import Demo


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m e2e.demo", description=__doc__.split("\n")[0])
    parser.add_argument("-o", "--output", type=Path, help="write the measurements as JSON")
    return parser.parse_args(arguments)


def main() -> int:
    """Run the demo; whatever goes wrong is told in words, with the way out."""
    options = parse()
    report = Report()
    console = Console(width=None if sys.stdout.isatty() else 120)
    demo = Demo(report)
    try:
        with contextlib.closing(demo):
            demo.run()
    except ClusterError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; `make demo` starts anew, `make down` ends everything\n")
        return 130
    except Exception as error:  # noqa: BLE001 - whoever runs a demo wants words, not a traceback
        if report.rows:
            console.print(table(report, "Measured until then"))
        words = explain(report, error, demo.diagnosis())
        console.print(words, highlight=False, soft_wrap=True)
        return 1
    console.print(table(report, "Stoker, measured in this run"))
    console.print(next_steps(demo), highlight=False, soft_wrap=True)
    if options.output is not None:
        options.output.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
