"""A report for people: lines that a narrow terminal wraps, and no table that it would cut."""

from typing import Any, Final

from rich.console import Console

from stoker.commands import answers
from stoker.commands.doctor.advice import Judgement
from stoker.commands.doctor.links import Link, State
from stoker.commands.doctor.report import Report
from stoker.commands.tables import safe

_STYLES: Final = {
    State.OK: "green",
    State.WAITS: "yellow",
    State.UNKNOWN: "yellow",
    State.BROKEN: "bold red",
    State.NOT_JUDGED: "dim",
}
_MARKS: Final = {
    State.OK: "ok",
    State.WAITS: "waits",
    State.UNKNOWN: "?",
    State.BROKEN: "BROKEN",
    State.NOT_JUDGED: "-",
}


def show(console: Console, report: Report, *, everything: bool) -> None:
    """The cause and its fix first; with `everything` every link."""
    cause = report.cause
    style = "bold red" if cause else ("bold yellow" if report.state != "healthy" else "bold green")
    at = "" if cause is None else f" at {safe(cause.title)} ({safe(cause.id)})"
    _say(console, f"[bold]{safe(report.subject)}[/]: [{style}]{safe(report.state)}[/]{at}")
    if cause is not None:
        _say(console, f"  [bold]where[/] {safe(cause.where)}")
        _say(console, f"  [bold]why[/]   {safe(cause.words)}")
        _say(console, f"  [bold]fix[/]   {safe(cause.fix)}")
    _links(console, report, everything=everything)
    _advise(console, report, everything=everything)
    for each in report.services:
        mark = "[green]ok[/]" if each.healthy else "[bold red]BROKEN[/]"
        _say(console, f"{mark} {safe(each.service)}: {safe(each.words)}")
    if report.note:
        _say(console, f"[dim]{safe(report.note)}[/]")


def _advise(console: Console, report: Report, *, everything: bool) -> None:
    if report.bound is not None:
        basis = f" ({safe(report.bound.basis)})" if report.bound.basis else ""
        _say(
            console,
            f"[bold]bounded by {safe(report.bound.name)}[/]{basis}: {safe(report.bound.words)}",
        )
    for each in report.advice:
        if each.judgement is Judgement.GAIN:
            _say(console, f"[bold yellow]gain[/]   {safe(each.title)}: {safe(each.words)}")
            _say(console, f"  [bold]write[/] {safe(each.change)}")
        elif everything or each.judgement is Judgement.UNKNOWN:
            mark = "ok    " if each.judgement is Judgement.WELL else "?     "
            _say(console, f"[dim]{mark} {safe(each.title)}: {safe(each.words)}[/]")


def _links(console: Console, report: Report, *, everything: bool) -> None:
    told = False
    past = False
    for link in report.links:
        past = past or link is report.cause
        if everything:
            later = past and link is not report.cause
            _say(console, _line(link, dim=later))
        elif link.state in {State.WAITS, State.UNKNOWN}:
            _say(console, _line(link, dim=link.state is State.UNKNOWN))
        told = told or link.state is State.OK
    if told and not everything:
        good = sum(link.state is State.OK for link in report.links)
        _say(console, f"[dim]{good} of {len(report.links)} links are fine; --all shows each[/]")


def _line(link: Link, *, dim: bool) -> str:
    style = "dim" if dim else _STYLES[link.state]
    words = f": {safe(link.words)}" if link.words else ""
    return f"[{style}]{_MARKS[link.state]:<6}[/] {'[dim]' if dim else ''}{safe(link.title)}{words}"


def as_data(report: Report) -> dict[str, Any]:
    """The same for programs."""
    cause = report.cause
    return {
        "subject": report.subject,
        "state": report.state,
        "healthy": report.state == "healthy" and all(each.healthy for each in report.services),
        "cause": None if cause is None else _data(cause),
        "links": [_data(link) for link in report.links],
        "services": [
            {"service": each.service, "healthy": each.healthy, "words": each.words}
            for each in report.services
        ],
        "bound": None if report.bound is None else answers.as_data_of(report.bound),
        "advice": [answers.as_data_of(each) for each in report.advice],
        **({"note": report.note} if report.note else {}),
    }


def _data(link: Link) -> dict[str, str]:
    found = {"check": link.id, "title": link.title, "state": link.state.value}
    more = {"where": link.where, "words": link.words, "fix": link.fix}
    return found | {name: value for name, value in more.items() if value}


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False)
