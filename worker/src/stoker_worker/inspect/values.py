"""Numbers and words out of a configuration that anybody may have written.

Every dimension has a bound: far above any model that exists, and low enough that sums of products
stay exact and a plan stays a plan. A null is as good as absent, as in the libraries that write
these files.
"""

from __future__ import annotations

from typing import Any, List, Mapping, Optional

from stoker_worker.inspect.errors import InspectError, Reason

# The largest value that is believed; keys that are not here may have up to 2**31.
BOUNDS: Mapping[str, int] = {
    "layers": 512,
    "hidden": 2**20,
    "width": 2**24,  # of an MLP
    "heads": 2**14,
    "head_dim": 2**16,
    "vocab": 2**24,
    "experts": 2**14,
    "state": 2**24,
    "tokens": 2**31,
}


class Values:
    """A JSON object with its place, so that a complaint can name it."""

    def __init__(self, data: Mapping[str, Any], where: str) -> None:
        self.data = data
        self.where = where

    def has(self, name: str) -> bool:
        """Whether the key is there and not null."""
        return self.data.get(name) is not None

    def whole(self, bound: str, *names: str, default: Optional[int] = None, low: int = 1) -> int:
        """The first of the keys that is there, a whole number between `low` and the bound."""
        name = next((each for each in names if self.has(each)), None)
        if name is None:
            if default is None:
                raise InspectError(
                    Reason.MODEL_CONFIG_INVALID,
                    f"{self.where} has no {names[0]}; copy the file from the model's source again",
                )
            return default
        value = self.data[name]
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise InspectError(
                Reason.MODEL_CONFIG_INVALID,
                f"{self.where}: {name} is {_shown(value)}, not a whole number; copy the file from "
                "the model's source again",
            )
        if not low <= value <= BOUNDS[bound]:
            raise InspectError(
                Reason.DIMENSION_ABSURD,
                f"{self.where}: {name} is {_shown(value)}, not between {low} and {BOUNDS[bound]}; "
                "copy the file from the model's source again",
            )
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false; anything else is the default."""
        value = self.data.get(name)
        return value if isinstance(value, bool) else default

    def text(self, name: str, default: str = "") -> str:
        """A string; anything else is the default."""
        value = self.data.get(name)
        return value if isinstance(value, str) else default

    def number(self, name: str, default: float) -> float:
        """A positive number below 2**31; anything else is the default."""
        value = self.data.get(name)
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 2**31
        return float(value) if good and value is not None else default

    def words(self, name: str) -> List[str]:
        """A list of strings; empty where it is anything else."""
        value = self.data.get(name)
        good = isinstance(value, list) and all(isinstance(each, str) for each in value)
        return list(value) if good and value is not None else []

    def wholes(self, name: str) -> List[int]:
        """A list of whole numbers; empty where it is anything else."""
        value = self.data.get(name)
        good = isinstance(value, list) and all(
            isinstance(each, int) and not isinstance(each, bool) for each in value
        )
        return list(value) if good and value is not None else []

    def inner(self, name: str) -> Values:
        """An object inside this one; empty where it is anything else."""
        value = self.data.get(name)
        return Values(value if isinstance(value, dict) else {}, f"{self.where}: {name}")


def _shown(value: object) -> str:
    # A number of thousands of digits is as absurd as any, and Python would refuse to print it.
    if isinstance(value, int) and abs(value) > 10**20:
        return "a number of more than 20 digits"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
