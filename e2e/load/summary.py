"""Many records in a few numbers."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from e2e.load.records import Kind, Outcome, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the value that `percent` of the values do not exceed: one that occurred.

    The nearest rank, not an interpolation: with few values it errs to the slow side. None when
    there are no values.
    """
    if not values:
        return None
    rank = max(1, math.ceil(len(values) * percent / 100 - 1e-9))
    return sorted(values)[rank - 1]


def median(values: Sequence[float]) -> float | None:
    """Return the middle value, the lower one of two; None when there are none."""
    return percentile(values, 50)


@dataclass(frozen=True)
class Spread:
    """How a time was distributed, in seconds."""

    count: int
    p50: float | None
    p90: float | None
    p99: float | None
    worst: float | None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread:
        """Leave out what was not measured and rank the rest."""
        known = [value for value in values if value is not None]
        return cls(
            count=len(known),
            p50=median(known),
            p90=percentile(known, 90),
            p99=percentile(known, 99),
            worst=max(known, default=None),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the numbers under their names."""
        return {"count": self.count, "p50": self.p50, "p90": self.p90, "p99": self.p99,
                "worst": self.worst}  # fmt: skip


@dataclass(frozen=True)
class Summary:
    """What a run came to; latencies are those of complete requests only."""

    outcomes: dict[Outcome, int]
    latency: dict[Kind, Spread]
    first_token: Spread
    """Of streams."""
    added: Spread
    """What everything but the engine took; known where a frontend says what the engine took."""
    tokens_per_second: float | None
    errors: dict[str, int]
    """The words of the failures and how often each was heard."""

    @classmethod
    def of(cls, records: Sequence[Record]) -> Summary:
        """Sum up records."""
        complete = [record for record in records if record.outcome is Outcome.COMPLETE]
        of_kind: dict[Kind, list[Record]] = {"unary": [], "stream": []}
        for record in complete:
            of_kind[record.kind].append(record)
        ends = [record.end for record in complete if record.end is not None]
        busy = max(ends) - min(record.start for record in complete) if ends else 0.0
        return cls(
            outcomes=dict(Counter(record.outcome for record in records)),
            latency={
                kind: Spread.of(record.seconds for record in found)
                for kind, found in of_kind.items()
            },
            first_token=Spread.of(record.seconds_to_first_token for record in of_kind["stream"]),
            added=Spread.of(record.added_seconds for record in complete),
            tokens_per_second=(
                sum(record.completion_tokens or 0 for record in complete) / busy if busy else None
            ),
            errors=dict(
                Counter(
                    f"{record.status or 'no status'}: {record.error or record.outcome.value}"
                    for record in records
                    if record.outcome not in {Outcome.COMPLETE, Outcome.IN_FLIGHT}
                ).most_common(10)
            ),
        )

    @property
    def total(self) -> int:
        """How many requests there were."""
        return sum(self.outcomes.values())

    @property
    def lost(self) -> int:
        """How many did not end complete; refusals count."""
        kept = {Outcome.COMPLETE, Outcome.IN_FLIGHT}
        return sum(count for outcome, count in self.outcomes.items() if outcome not in kept)

    def to_json(self) -> dict[str, Any]:
        """Return the numbers for a file, times in seconds."""
        return {
            "requests": self.total,
            "outcomes": {outcome.value: count for outcome, count in self.outcomes.items()},
            "latency": {kind: spread.to_json() for kind, spread in self.latency.items()},
            "firstToken": self.first_token.to_json(),
            "added": self.added.to_json(),
            "tokensPerSecond": self.tokens_per_second,
            "errors": self.errors,
        }

    def table(self, title: str = "Load") -> Table:
        """Return the numbers for a person."""
        table = Table(title=title)
        for heading in ("", "count", "p50", "p90", "p99", "worst"):
            table.add_column(heading, justify="left" if not heading else "right")
        rows = {
            "unary": self.latency["unary"],
            "stream": self.latency["stream"],
            "stream, first token": self.first_token,
            "beside the engine": self.added,
        }
        for name, spread in rows.items():
            if spread.count:
                times = (spread.p50, spread.p90, spread.p99, spread.worst)
                table.add_row(name, str(spread.count), *map(_milliseconds, times))
        table.add_section()
        for outcome in Outcome:
            if count := self.outcomes.get(outcome, 0):
                table.add_row(outcome.value, str(count), "", "", "", "")
        if self.tokens_per_second is not None:
            table.add_row("tokens a second", f"{self.tokens_per_second:.0f}", "", "", "", "")
        return table


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.0f} ms"
