"""What the benchmarks share: options, a table, a JSON file, and an installed Stoker."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from e2e.cluster import connect
from e2e.engine import ensure_site_packages
from e2e.load import median, percentile
from e2e.models import ensure_models
from e2e.stack import Stack, container_pids, process_name

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMESPACE = "bench"


def options_of(doc: str | None) -> argparse.ArgumentParser:
    """A parser with what every benchmark takes."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n", maxsplit=1)[0])
    parser.add_argument("-o", "--output", type=Path, help="write the numbers as JSON")
    return parser


def cluster_options_of(doc: str | None) -> argparse.ArgumentParser:
    """The same for a benchmark on the cluster."""
    parser = options_of(doc)
    parser.add_argument(
        "--no-install", action="store_true", help="take the Stoker that is installed as it is"
    )
    return parser


def installed(options: argparse.Namespace, namespace: str = NAMESPACE) -> Stack:
    """Stoker on the cluster, and a namespace with the claims of model and engine."""
    cluster = connect(images=not options.no_install)
    stack = Stack(cluster, ensure_site_packages(), ensure_models())
    if not options.no_install:
        stack.install()
    stack.prepare_namespace(namespace)
    return stack


def report(
    title: str,
    rows: Sequence[tuple[str, str, str]],
    numbers: dict[str, Any],
    output: Path | None,
) -> None:
    """Print name, value and promise of each number, and write them where it was asked for."""
    table = Table(title=title, title_justify="left")
    for heading in ("", "measured", "promised"):
        table.add_column(heading, justify="left" if not heading else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    if output is not None:
        found = {"benchmark": title, "at": datetime.now(UTC).isoformat(), **machine(), **numbers}
        output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """What it ran on, and how busy that was."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "memoryGiB": round(pages / 2**30),
        "loadAverage": os.getloadavg()[0],
    }


def milliseconds(value: float | None) -> str:
    """A time for a table."""
    return "-" if value is None else f"{value * 1000:.1f} ms"


def p50_p99(values: Sequence[float]) -> str:
    """Median and 99th percentile for a table."""
    return f"p50 {milliseconds(median(values))}, p99 {milliseconds(percentile(values, 99))}"


def resident_mib(pid: int) -> float:
    """Memory that a process has in use, by its own pages and those that it shares."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_seconds(pid: int) -> float:
    """Processor time of a process since its start."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_share(pids: Sequence[int], seconds: float) -> dict[int, float]:
    """Share of one core that each process takes during that time."""
    before = {pid: cpu_seconds(pid) for pid in pids}
    time.sleep(seconds)
    return {pid: (cpu_seconds(pid) - before[pid]) / seconds for pid in pids}


def processes(pod: dict[str, Any]) -> dict[int, str]:
    """Processes of a pod by their command lines, without the one that holds its network."""
    found = {pid: process_name(pid) for pid in container_pids(pod["metadata"]["uid"])}
    return {pid: name for pid, name in found.items() if name and "pause" not in name.split()[0]}
