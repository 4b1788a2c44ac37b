"""Durations and amounts as the API writes them.

Durations have Go's notation: 90s, 10m, 1h30m. Amounts have that of Kubernetes: 500m, 2, 1.5Gi.
"""

import re
from decimal import Decimal
from typing import Final

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d+)(ms|s|m|h)")
_AMOUNT: Final = re.compile(r"(\d+(?:\.\d+)?|\.\d+)([KMGTPE]i|[numkMGTPE]|)")
_FACTORS: Final = {
    "": Decimal(1),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("num", -3)},
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", 1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)},
}


def parse_quantity(text: str) -> Decimal:
    """The exact amount that a Kubernetes quantity stands for; ValueError when it is none."""
    found = _AMOUNT.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is not a quantity: write for example 500m, 2 or 1.5Gi")
    number, unit = found.groups()
    return Decimal(number) * _FACTORS[unit]


def parse_duration(text: str) -> float:
    """Seconds of a duration; ValueError names what is wrong with it."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration: write for example 90s, 10m or 1h30m")
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


def parse_optional_duration(text: str | None) -> float | None:
    """The same where nothing may be written; nothing stays nothing."""
    return None if text is None else parse_duration(text)


def format_duration(seconds: float) -> str:
    """The shortest spelling of whole seconds: 600 is 10m, 90 is 1m30s, 0 is 0s."""
    rest = round(seconds)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{n}{unit}" for n, unit in ((hours, "h"), (minutes, "m"), (rest, "s")) if n]
    return "".join(parts) or "0s"
