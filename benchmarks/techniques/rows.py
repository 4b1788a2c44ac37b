"""One line of the ladder, and words for its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """What is claimed of a technique, what was measured, what the planner says."""

    technique: str
    claim: str
    measured: str
    planned: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


def change(new: float, old: float) -> str:
    """As a percentage of what was, with its sign."""
    return f"{100 * (new / old - 1):+.0f} %".replace("-", "\N{MINUS SIGN}")


def times(new: float, old: float) -> str:
    """As a multiple of what was."""
    return f"{new / old:.2f}\N{MULTIPLICATION SIGN}"
