"""Arrivals from lines of text: public request traces, and simple ones of your own.

Two kinds of header are known, further columns are ignored:

    TIMESTAMP,ContextTokens,GeneratedTokens     Azure's public traces; dates, times of one zone
    arrival_s,input_tokens,output_tokens        seconds

Azure's times count from the first request; seconds are taken as they are. Rows have to be sorted by
time. A request without a token of prompt or of answer counts as one of each, as an engine computes
at least that.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Final

from stoker.errors import StokerError
from stoker.planner.batching import Arrival

AZURE: Final = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
SIMPLE: Final = ("arrival_s", "input_tokens", "output_tokens")
# Copies of a request lie in the same ten seconds as the request.
JITTER_S: Final = 10.0
_LONGEST: Final = 100_000_000  # tokens; beyond that it is no request but a mistake


class TraceError(StokerError):
    """A trace that cannot be used; the message has the file's name and the line's number."""


def parse(lines: Iterable[str], name: str) -> tuple[Arrival, ...]:
    """The requests of a trace. `name` is what errors call it."""
    rows = iter(enumerate(lines, 1))
    number, header = next(rows, (1, ""))
    names = [each.strip() for each in header.lstrip("\ufeff").strip().split(",")]
    columns, read_time = _columns(names, f"{name}:{number}")
    found: list[Arrival] = []
    last = -math.inf
    start: float | None = None
    for number, line in rows:
        text = line.strip()
        if not text:
            continue
        where = f"{name}:{number}"
        cells = text.split(",")
        if len(cells) <= max(columns):
            raise TraceError(f"{where}: has {len(cells)} columns, the header has {len(names)}")
        time = read_time(cells[columns[0]].strip(), where)
        if time < last:
            raise TraceError(f"{where}: is earlier than the line before; sort the trace by time")
        last = time
        if start is None:
            start = time if names[columns[0]] == AZURE[0] else 0.0
        tokens = [_tokens(cells[column], names[column], where) for column in columns[1:]]
        found.append(Arrival(time - start, *tokens))
    if not found:
        raise TraceError(f"{name}: has no request; below the header, write one per line")
    return tuple(found)


def multiply(arrivals: Sequence[Arrival], times: float, seed: int = 0) -> tuple[Arrival, ...]:
    """A trace with `times` as many requests: copies at another moment of the same ten seconds.

    A fraction copies, or keeps, a part of the requests that chance chooses.
    """
    if not 0 < times < math.inf:
        raise TraceError(f"a trace cannot be multiplied by {times:g}; write a number above 0")
    whole, part = int(times), times - int(times)
    chance = Random(f"copies {seed}")  # noqa: S311 - of the simulation's seed
    found: list[Arrival] = []
    for each in arrivals:
        copies = whole + (chance.random() < part)
        if copies:
            found.append(each)
        window = each.at_s // JITTER_S * JITTER_S
        for _ in range(copies - 1):
            at = window + chance.random() * JITTER_S
            found.append(Arrival(at, each.input_tokens, each.output_tokens))
    found.sort(key=lambda each: each.at_s)
    return tuple(found)


def _columns(
    names: Sequence[str], where: str
) -> tuple[tuple[int, ...], Callable[[str, str], float]]:
    for known, read in ((AZURE, _moment), (SIMPLE, _seconds)):
        if all(each in names for each in known):
            return tuple(names.index(each) for each in known), read
    raise TraceError(
        f"{where}: the header must name the columns {','.join(SIMPLE)} or {','.join(AZURE)}"
    )


def _seconds(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise TraceError(f"{where}: arrival_s is {text!r}; write seconds from 0")
    return value


def _moment(text: str, where: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise TraceError(
            f"{where}: TIMESTAMP is {text!r}; write it as 2023-11-16 18:15:46.680"
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _tokens(text: str, column: str, where: str) -> int:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 <= value <= _LONGEST and value == int(value)):
        raise TraceError(f"{where}: {column} is {text.strip()!r}; write a whole number of tokens")
    return max(1, int(value))
