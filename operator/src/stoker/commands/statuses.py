"""Reading an object whose fields may be absent, of another version, or of another type.

A status may be written by an older or a newer operator, and a file by anybody: what cannot be read
counts as not said. Nothing here raises.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from stoker.quantity import format_duration

# Longer than any service lives; what is beyond is no time.
_LONGEST_S = 1e9


def mapping(value: object) -> Mapping[str, Any]:
    """The value as a mapping; an empty one where it is none."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: object) -> list[Mapping[str, Any]]:
    """The mappings in a list."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return []
    return [each for each in value if isinstance(each, Mapping)]


def whole(value: object) -> int | None:
    """A whole number."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(value: object) -> float | None:
    """A number that is one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def text(value: object) -> str | None:
    """A text; empty is none."""
    return value if isinstance(value, str) and value else None


def unix(value: object) -> float | None:
    """Seconds since 1970 of a time as the API server writes it, or as YAML reads it."""
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC)
        return found.timestamp()
    except (ValueError, OverflowError):
        return None


def duration(seconds: float) -> str:
    """A span of time, in words; 1.5s, 40s, 3m20s, 2h."""
    if abs(seconds) > _LONGEST_S:
        return "a very long time"
    if 0 < seconds < 10:
        return f"{seconds:.2g}s"
    days, rest = divmod(round(seconds), 86_400)
    if days:
        return f"{days}d{format_duration(rest // 3600 * 3600)}" if rest >= 3600 else f"{days}d"
    return format_duration(rest)


def condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """One condition; empty where there is none."""
    for each in mappings(status.get("conditions")):
        if each.get("type") == kind:
            return each
    return {}
