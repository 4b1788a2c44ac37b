"""Services as a table that fits its screen: columns go in an order until the rest fits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from stoker.commands.rates import Row
from stoker.commands.statuses import duration
from stoker.commands.tables import plain, safe

ABSENT: Final = "-"
# A queue that was told longer ago than this is marked.
_OLD_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Column:
    """One column; the lower its rank, the longer it stays."""

    head: str
    rank: int
    show: Callable[[Row], str]
    right: bool = True


def _name(row: Row) -> str:
    return row.name


def _rate(value: float | None) -> str:
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _queue(row: Row) -> str:
    if row.queue is None:
        return ABSENT
    old = row.queue_age_seconds is not None and row.queue_age_seconds > _OLD_S
    return f"~{row.queue}" if old else str(row.queue)


COLUMNS: Final = (
    Column("NAMESPACE", 6, lambda row: row.namespace, right=False),
    Column("SERVICE", 0, _name, right=False),
    Column("READY", 1, lambda row: f"{row.ready or 0}/{_count(row.desired)}"),
    Column("REQ/S", 3, lambda row: _rate(row.requests_per_second)),
    Column("QUEUE", 2, _queue),
    Column("RUN", 7, lambda row: _count(row.running)),
    Column(
        "TTFT",
        4,
        lambda row: ABSENT if row.ttft_seconds is None else duration(row.ttft_seconds),
    ),
    Column("TOK/S", 3, lambda row: _rate(row.tokens_per_second)),
    Column("KV", 5, lambda row: ABSENT if row.kv_cache is None else f"{row.kv_cache:.0%}"),
    Column(
        "$/H",
        6,
        lambda row: ABSENT if row.dollars_per_hour is None else f"{row.dollars_per_hour:.2f}",
    ),
)


def _count(value: int | None) -> str:
    return ABSENT if value is None else str(value)


def fitting(rows: Sequence[Row], width: int, *, everywhere: bool) -> list[Column]:
    """The columns that fit, in their order; the highest ranks go first."""
    kept = [each for each in COLUMNS if everywhere or each.head != "NAMESPACE"]
    while len(kept) > 1 and _width(kept, rows) > width:
        kept.remove(max(kept, key=lambda each: (each.rank, COLUMNS.index(each))))
    return kept


def _width(columns: Sequence[Column], rows: Sequence[Row]) -> int:
    widths = [max(len(each.head), *(len(each.show(row)) for row in rows), 0) for each in columns]
    return sum(widths) + 2 * (len(columns) - 1)


def table(rows: Sequence[Row], width: int, *, everywhere: bool) -> Table:
    """The table."""
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    columns = fitting(rows, width, everywhere=everywhere)
    for each in columns:
        found.add_column(each.head, justify="right" if each.right else "left", no_wrap=True)
    for row in rows:
        found.add_row(*(_styled(each, row) for each in columns))
    return found


def _styled(column: Column, row: Row) -> str:
    text = safe(column.show(row))
    if column.head == "READY" and row.desired is not None and (row.ready or 0) < row.desired:
        return f"[yellow]{text}[/]"
    if column.head == "QUEUE" and (row.queue or 0) > 0:
        return f"[yellow]{text}[/]"
    return text


def screen(rows: Sequence[Row], width: int, notes: Sequence[str], *, everywhere: bool) -> Group:
    """The table, and below it what is missing and why."""
    parts: list[RenderableType] = [table(rows, width, everywhere=everywhere)]
    parts += [Text(plain(note), style="dim") for note in notes]
    return Group(*parts)


def fitted(
    console: Console, rows: Sequence[Row], notes: Sequence[str], *, everywhere: bool
) -> Group:
    """The same for a screen that does not scroll: the busiest rows, and how many are not shown.

    The last note stays longest: it says how to end.
    """
    width, height = console.width, console.height
    said = [Text(plain(note), style="dim") for note in notes]
    room = max(1, min(height // 2, height - 3))  # the heads, a row and the count stay
    while len(said) > 1 and sum(len(each.wrap(console, width)) for each in said) > room:
        del said[-2]
    left = height - 1 - sum(len(each.wrap(console, width)) for each in said)
    fit = rows if len(rows) <= left else rows[: max(1, left - 1)]
    parts: list[RenderableType] = [table(fit, width, everywhere=everywhere)]
    if len(fit) < len(rows):
        parts.append(Text(f"and {len(rows) - len(fit)} more, which are less busy", style="dim"))
    return Group(*parts, *said)


def print_lines(
    console: Console, rows: Sequence[Row], notes: Sequence[str], *, everywhere: bool
) -> None:
    """The same for a pipe: all columns, and what is missing on the standard error's console."""
    console.print(table(rows, 10_000, everywhere=everywhere), soft_wrap=True)
    for note in notes:
        Console(stderr=True, highlight=False).print(Text(plain(note)), soft_wrap=True)
