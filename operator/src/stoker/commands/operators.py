"""The table of operators that PyTorch's profiler writes beside a trace, as values.

`key_averages().table()` is made where the whole profile is in memory, so nobody has to read a trace
of many megabytes for its sums. It is a table of fixed columns: a line of dashes says how wide each
is, the next one names them, and times carry their unit.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_RULE: Final = re.compile(r"-+(?: +-+)+ *")
_TIME: Final = re.compile(r"([0-9.]+)(us|ms|s)")
_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_DEVICE_SELF: Final = re.compile(r"Self (?!CPU)(\w+)")


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator, summed over all its calls. Seconds; `self` is without what it called."""

    name: str
    calls: int
    self_s: float
    total_s: float
    # On the accelerator; None where none was recorded.
    device_self_s: float | None = None
    device_total_s: float | None = None

    @property
    def weight(self) -> float:
        """What operators are compared by: time of the accelerator, else of processors."""
        return self.self_s if self.device_self_s is None else self.device_self_s


def read(table: str) -> list[Operator]:
    """Operators, the heaviest first; ValueError where it is no such table."""
    lines = table.splitlines()
    rules = [at for at, line in enumerate(lines) if _RULE.fullmatch(line)]
    if len(rules) < 3 or rules[1] - rules[0] != 2:
        raise ValueError("no table of PyTorch's profiler")
    spans = [found.span() for found in re.finditer("-+", lines[rules[0]])]
    # A name that is wider than its column moves those behind it.
    names = re.split(" {2,}", lines[rules[0] + 1].strip())
    device = next((found[1] for name in names if (found := _DEVICE_SELF.fullmatch(name))), None)
    if len(names) != len(spans):
        raise ValueError(f"a table of PyTorch's profiler with {len(names)} names of columns")
    rows = [
        dict(zip(names, _cells(line, spans), strict=True))
        for line in lines[rules[1] + 1 : rules[2]]
    ]
    return sorted((_operator(row, device) for row in rows), key=lambda each: -each.weight)


def _cells(line: str, spans: Sequence[tuple[int, int]]) -> list[str]:
    return [line[start:end].strip() for start, end in spans]


def _operator(row: Mapping[str, str], device: str | None) -> Operator:
    try:
        return Operator(
            row["Name"],
            int(row["# of Calls"]),
            _seconds(row["Self CPU"]),
            _seconds(row["CPU total"]),
            None if device is None else _seconds(row[f"Self {device}"]),
            None if device is None else _seconds(row[f"{device} total"]),
        )
    except KeyError as error:
        raise ValueError(f"a table of PyTorch's profiler without the column {error}") from error


def _seconds(text: str) -> float:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time of PyTorch's profiler")
    return float(found[1]) * _UNITS[found[2]]
