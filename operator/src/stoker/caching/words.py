"""Sizes, speeds and times as people read them."""

from typing import Final

from stoker.quantity import format_duration

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP: Final = 1024


def size(count: float) -> str:
    """Bytes: 512 B, 15.9 GiB."""
    value, unit = float(count), 0
    while value >= _STEP and unit < len(_UNITS) - 1:
        value, unit = value / _STEP, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def speed(per_second: float) -> str:
    """Bytes per second: 112.0 MiB/s."""
    return f"{size(per_second)}/s"


def remaining(seconds: float) -> str:
    """A rough time: 2m10s; above a minute to ten seconds."""
    return format_duration(max(1.0, seconds if seconds < 60 else round(seconds, -1)))
