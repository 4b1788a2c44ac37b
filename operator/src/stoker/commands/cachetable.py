"""Caches as a table that fits: a line for each where there is room for it, else short lines."""

import os
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from stoker.commands import caches, statuses
from stoker.commands.caches import CacheView
from stoker.commands.tables import safe

_STYLES = {"Ready": "green", "Degraded": "yellow", "Failed": "bold red"}
# Of a line that nobody's terminal bounds.
_ENDLESS = 10_000


def show(cached: Sequence[CacheView], now: float, *, everywhere: bool, wide: bool) -> None:
    """Print them on the standard output."""
    screen = Console(highlight=False)
    bounded = screen.is_terminal or "COLUMNS" in os.environ
    console = screen if bounded else Console(highlight=False, width=_ENDLESS)
    table = _table(cached, now, everywhere=everywhere, wide=wide)
    if console.measure(table, options=console.options.update(max_width=_ENDLESS)).maximum <= (
        console.width
    ):
        console.print(table)
        return
    for each in cached:
        _stack(console, each, now, wide=wide)


def _table(cached: Sequence[CacheView], now: float, *, everywhere: bool, wide: bool) -> Table:
    heads = ["NAME", "PHASE", "DONE", "SIZE", "SPEED", "LEFT", "NODES", "VERIFIED", "USED BY"]
    heads += ["REASON"] + (["MODEL", "REVISION", "CLAIM", "MESSAGE"] if wide else [])
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for head in (["NAMESPACE"] if everywhere else []) + heads:
        table.add_column(head, no_wrap=True)
    for each in cached:
        row = [each.name, each.phase or "-", _percent(each), caches.amount(each) or "-"]
        row += [each.speed or "-", each.remaining or "-", _nodes(each), _age(each, now)]
        row += [_used(each), each.reason or "-"]
        if wide:
            kept = each.claim or each.image
            row += [each.uri or "-", each.revision or "-", kept or "-", each.message or "-"]
        cells = [safe(cell) for cell in ([each.namespace] if everywhere else []) + row]
        at = 2 if everywhere else 1
        cells[at] = _coloured(cells[at])
        table.add_row(*cells)
    return table


def _stack(console: Console, each: CacheView, now: float, *, wide: bool) -> None:
    done = "" if each.percent is None else f" {each.percent}%"
    amount = caches.amount(each)
    head = (
        f"[bold]{safe(each.namespace)}/{safe(each.name)}[/]: {_coloured(safe(each.phase or '-'))}"
    )
    console.print(f"{head}{done}{f', {amount}' if amount else ''}")
    if each.speed is not None:
        left = "" if each.remaining is None else f", {each.remaining} left"
        _below(console, f"{each.speed}{left}")
    if each.nodes_wanted is not None:
        _below(console, f"nodes {_nodes(each)}")
    if each.last_verified is not None:
        _below(console, f"verified {_age(each, now)}")
    _below(console, "unused" if each.used_by == () else f"used by {_used(each)}")
    if each.reason is not None:
        _below(console, f"{each.reason}: {each.message or ''}".rstrip(": "))
    if wide:
        kept = f"image {each.image}" if each.image else f"claim {each.claim or '-'}"
        _below(console, f"{each.uri}, revision {each.revision or '-'}, {kept}")


def _below(console: Console, text: str) -> None:
    console.print(Padding(safe(text), (0, 0, 0, 2)))


def _coloured(phase: str) -> str:
    style = _STYLES.get(phase)
    return f"[{style}]{escape(phase)}[/]" if style else phase


def _percent(each: CacheView) -> str:
    return "-" if each.percent is None else f"{each.percent}%"


def _nodes(each: CacheView) -> str:
    return "-" if each.nodes_wanted is None else f"{each.nodes_ready or 0}/{each.nodes_wanted}"


def _age(each: CacheView, now: float) -> str:
    at = statuses.unix(each.last_verified) if each.last_verified else None
    return "-" if at is None else f"{statuses.duration(max(0.0, now - at))} ago"


def _used(each: CacheView) -> str:
    if each.used_by is None:
        return "?"
    return ", ".join(each.used_by) or "unused"
