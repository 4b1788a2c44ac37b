"""What the demo says at its end: a table of what was measured, or what went wrong where."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Row:
    """One number, in the words that the table shows."""

    section: str
    name: str
    value: str
    note: str = ""


@dataclass
class Report:
    """What was measured so far, and which step is under way."""

    rows: list[Row] = field(default_factory=list)
    step: str = "begin"

    def add(self, section: str, name: str, value: str, note: str = "") -> None:
        """Note one number."""
        self.rows.append(Row(section, name, value, note))

    def to_json(self) -> list[dict[str, str]]:
        """For a file."""
        return [vars(row) for row in self.rows]


class Reachable(Protocol):
    """What the last words need to know of a finished demo."""

    url: str
    local: bool
    namespace: str
    name: str


def seconds(value: float | None) -> str:
    """A time as people say it."""
    if value is None:
        return "-"
    if value >= 1:
        return f"{value:.1f} s"
    return f"{value * 1000:.0f} ms" if value >= 0.01 else f"{value * 1000:.1f} ms"


def spread(p50: float | None, p95: float | None) -> str:
    """Median and 95th percentile."""
    return f"p50 {seconds(p50)}, p95 {seconds(p95)}"


def table(report: Report, title: str) -> Table:
    """All rows, with the section's name at the first of each."""
    found = Table(title=title, title_justify="left")
    found.add_column("step", no_wrap=True)
    found.add_column("what")
    found.add_column("measured", justify="right", no_wrap=True)
    found.add_column("", style="dim")
    last = ""
    for row in report.rows:
        if last and row.section != last:
            found.add_section()
        shown = "" if row.section == last else row.section
        found.add_row(shown, escape(row.name), escape(row.value), escape(row.note))
        last = row.section
    return found


def explain(report: Report, error: BaseException, diagnosis: Sequence[str]) -> str:
    """Say which step failed, what was seen, and what to look at."""
    seen = str(error).strip() or type(error).__name__
    lines = [
        f"[bold red]The demo failed in the step: {escape(report.step)}[/]",
        f"What was seen: {escape(seen)}",
    ]
    if diagnosis:
        lines += ["What the cluster says:", *(f"  {escape(line)}" for line in diagnosis)]
    lines += [
        "What to do: a condition above with status False names its remedy. More is in",
        "  kubectl describe inferenceservices.stoker.dev tiny -n demo",
        "  kubectl logs -n stoker-system deployment/stoker",
        "The cluster is left as it is, to be looked at; `make demo` tries again from the start,",
        "`make down` ends everything.",
    ]
    return "\n".join(lines)


def conditions(service: dict[str, Any] | None) -> list[str]:
    """The conditions of a service, a line each."""
    if service is None:
        return ["there is no such InferenceService"]
    found = service.get("status", {}).get("conditions", [])
    if not found:
        return ["the service has no condition yet: does the operator run?"]
    return [f"{c['type']}={c['status']} ({c['reason']}): {c['message']}" for c in found]


def next_steps(demo: Reachable) -> str:
    """How to talk to what was left running, and how to end it."""
    body = '{"model": "tiny", "prompt": "Licensed under the", "max_tokens": 24, "stream": true}'
    if demo.local:
        url, first, end = demo.url, "", "`make down` ends all of it and leaves no trace."
    else:
        url = "http://127.0.0.1:8080/v1"
        first = f"  kubectl port-forward -n {demo.namespace} service/{demo.name} 8080:80 &\n"
        end = (
            f"`kubectl delete namespace {demo.namespace}` and "
            "`helm uninstall stoker -n stoker-system` end it."
        )
    return (
        "\nThe service is left running. Its minimum is zero replicas, so after 20 s without\n"
        "requests it sleeps; the first request then waits, wakes a replica and is answered.\n\n"
        f"{escape(first)}"
        f"  curl -N {escape(url)}/completions -H 'content-type: application/json' \\\n"
        f"    -d '{escape(body)}'\n\n"
        f"{end}"
    )
