"""Read a streamed completion: bytes in, events out, no connection anywhere."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """One `data:` field, or a comment when `data` is None."""

    data: str | None


class EventParser:
    """Cuts bytes, however they were packed, into events."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Event]:
        """Take what arrived and return the events that are whole now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        events = []
        for raw in lines:
            line = raw.rstrip(b"\r").decode(errors="replace")
            if line.startswith(":"):
                events.append(Event(None))
            elif line.startswith("data:"):
                events.append(Event(line.removeprefix("data:").strip()))
        return events


@dataclass(frozen=True)
class Piece:
    """What one event, or one unary body, says about an answer."""

    text: str = ""
    finish_reason: str | None = None
    completion_tokens: int | None = None
    error: str | None = None


def read_piece(body: str | bytes) -> Piece:
    """Read the JSON of a chat or text completion, whole or a chunk of it."""
    try:
        found = json.loads(body)
    except ValueError:
        return Piece(error=f"not JSON: {body[:80]!r}")
    if not isinstance(found, dict):
        return Piece(error=f"not an object: {body[:80]!r}")
    if found.get("error"):
        return Piece(error=_message(found["error"]))
    usage: dict[str, Any] = found.get("usage") or {}
    choices: list[dict[str, Any]] = found.get("choices") or [{}]
    choice = choices[0]
    message = choice.get("delta") or choice.get("message") or {}
    return Piece(
        text=message.get("content") or choice.get("text") or "",
        finish_reason=choice.get("finish_reason"),
        completion_tokens=usage.get("completion_tokens"),
    )


def _message(error: object) -> str:
    if isinstance(error, dict) and error.get("message"):
        return str(error["message"])
    return str(error)
