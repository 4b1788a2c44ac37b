"""Takes secrets out of what a job says.

Sources leave them out of their messages; this is for the libraries below them, whose errors quote
addresses and headers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from stoker_worker.manifest import path_fault

HIDDEN = "***"
_SHORTEST = 6  # anything shorter would hide half of every message
_MOST_BYTES = 1 << 20
# Keys of a Secret that say where, not who.
_PLACES = re.compile(r"endpoint|region|host|bucket|url", re.IGNORECASE)
_USER = re.compile(r"(\w+://)[^/\s@]+@")
_QUERY = re.compile(r"(\w+://[^\s?#'\"]+)[?#][^\s'\"]*")


class Redactor:
    """Knows the secrets."""

    def __init__(self, secrets: Iterable[str]) -> None:
        found = {secret for secret in secrets if len(secret) >= _SHORTEST}
        found |= {quote(secret, safe="") for secret in found}
        # The longest first: one secret may begin with another.
        self._secrets = sorted(found, key=len, reverse=True)

    @staticmethod
    def of(folder: Path) -> Redactor:
        """Read the keys of a mounted Secret; none where none is mounted."""
        return Redactor(_secrets(folder))

    def clean(self, text: str) -> str:
        """Return the text without secrets, and without what signs an address."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return _QUERY.sub(r"\1", _USER.sub(r"\1", text))


def public(uri: str) -> str:
    """Return an address without user, signature and fragment, for a manifest and for people."""
    return _QUERY.sub(r"\1", _USER.sub(r"\1", uri))


def _secrets(folder: Path) -> Iterator[str]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if path_fault(entry.name) or _PLACES.search(entry.name):
            continue
        try:
            with entry.open("rb") as file:
                text = file.read(_MOST_BYTES).decode("utf-8", "replace").strip()
        except OSError:
            continue
        yield text
        yield from (line.strip() for line in text.splitlines())
        try:
            yield from _leaves(json.loads(text))
        except (ValueError, RecursionError):
            continue


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each)
