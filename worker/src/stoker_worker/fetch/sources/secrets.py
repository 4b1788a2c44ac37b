"""The keys of a source's Secret, from the folder where the kubelet puts them."""

from __future__ import annotations

from pathlib import Path

from stoker_worker.cachecontract import FetchReason
from stoker_worker.fetch.source import SourceError

_MAX_BYTES = 2**20


class Secret:
    """Reads keys when they are asked for, so that a Secret that was renewed is seen."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, *names: str) -> str:
        """Return the first of several keys that is there and not empty, without outer blanks."""
        return next(filter(None, (self._read(name) for name in names)), "")

    def _read(self, name: str) -> str:
        path = self._folder / name
        try:
            with path.open("rb") as file:
                text = file.read(_MAX_BYTES).decode().strip()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError):
            raise SourceError(
                FetchReason.UNAUTHORIZED, f"the key {name} of the Secret cannot be read as text"
            ) from None
        if name.endswith("json"):  # a whole file, which who reads it judges
            return text
        if any(ord(letter) < 33 or ord(letter) > 126 for letter in text):
            raise SourceError(
                FetchReason.UNAUTHORIZED,
                f"the key {name} of the Secret has blanks, line breaks or letters beyond ASCII in "
                "it: write the bare value",
            )
        return text
