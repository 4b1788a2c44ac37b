"""What became of one request, and the verdict on it.

A streamed answer that is cut looks like success to most clients: status 200, some text, a closed
connection. So complete means that everything promised came: the number of tokens that was asked
for (requests ask for an exact number, by `ignore_eos`), a finish reason, and for a stream its
`[DONE]`. Nothing here retries, and nothing is forgiven.
"""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["unary", "stream"]

SHED_STATUS = frozenset({429, 503})
GOOD_FINISH = frozenset({"length", "stop"})

LONG_STREAM_SECONDS = 5.0
"""A stream of this length or more counts as exposed to what happens to its pod."""


class Outcome(enum.StrEnum):
    """The verdict on a request that has ended, or that it has not."""

    COMPLETE = "complete"
    """All tokens, a good finish reason, and `[DONE]` if it was a stream."""

    SHED = "shed"
    """Refused with 429 or 503: try again later."""

    FAILED = "failed"
    """An error, or nothing at all, before the answer's first byte."""

    ABORTED = "aborted"
    """The answer had begun, then an error, a cut connection, silence, or `abort` as its finish."""

    TRUNCATED = "truncated"
    """The answer ended in good order, but not all of it was there."""

    IN_FLIGHT = "in flight"


@dataclass
class Record:
    """One request, from before it is sent; times are `time.monotonic()` unless they say else."""

    number: int
    kind: Kind
    expected_tokens: int
    started_at: float = field(default_factory=time.time)
    """Wall clock, to be laid beside events of the cluster."""
    start: float = field(default_factory=time.monotonic)
    headers: float | None = None
    first_byte: float | None = None
    """Of the body, comments included."""
    first_token: float | None = None
    end: float | None = None
    status: int | None = None
    response_headers: dict[str, str] = field(default_factory=dict)
    """Only those that the client was told to keep."""
    chunks: int = 0
    """Server-sent events that carried text."""
    completion_tokens: int | None = None
    """As the engine counted them."""
    finish_reason: str | None = None
    done: bool = False
    """`[DONE]` was seen."""
    comments: int = 0
    """Server-sent comment lines: what keeps a held stream alive."""
    text: str = ""
    error: str | None = None

    @property
    def outcome(self) -> Outcome:
        """The verdict."""
        if self.end is None:
            return Outcome.IN_FLIGHT
        if self.status in SHED_STATUS:
            return Outcome.SHED
        if self.status is None or self.status >= 400:
            return Outcome.FAILED
        if self.error is not None:
            return Outcome.FAILED if self.first_byte is None else Outcome.ABORTED
        if self.finish_reason == "abort":
            return Outcome.ABORTED
        return Outcome.COMPLETE if self._is_whole() else Outcome.TRUNCATED

    def _is_whole(self) -> bool:
        return (
            self.completion_tokens == self.expected_tokens
            and self.finish_reason in GOOD_FINISH
            and (self.done or self.kind == "unary")
        )

    @property
    def seconds(self) -> float | None:
        """How long the whole request took."""
        return None if self.end is None else self.end - self.start

    @property
    def seconds_to_first_token(self) -> float | None:
        """How long its user saw nothing."""
        return None if self.first_token is None else self.first_token - self.start

    @property
    def upstream_seconds(self) -> float | None:
        """How long the engine took to answer, as the frontend measured it."""
        value = self.response_headers.get("x-envoy-upstream-service-time", "")
        return int(value) / 1000 if value.isdecimal() else None

    @property
    def added_seconds(self) -> float | None:
        """What everything but the engine added until the answer began."""
        if self.headers is None or self.upstream_seconds is None:
            return None
        return self.headers - self.start - self.upstream_seconds

    def was_in_flight(self, moment: float) -> bool:
        """Whether it was sent and not yet answered at a moment of `time.monotonic()`."""
        return self.start <= moment and (self.end is None or self.end > moment)

    def is_long_stream(self) -> bool:
        """Whether it is a stream that lasted, or has lasted so far, `LONG_STREAM_SECONDS`."""
        end = time.monotonic() if self.end is None else self.end
        return self.kind == "stream" and end - self.start >= LONG_STREAM_SECONDS

    def to_json(self) -> dict[str, Any]:
        """Return the record for a file; offsets are seconds after the start."""

        def offset(moment: float | None) -> float | None:
            return None if moment is None else round(moment - self.start, 6)

        return {
            "number": self.number,
            "kind": self.kind,
            "outcome": self.outcome.value,
            "startedAt": self.started_at,
            "headers": offset(self.headers),
            "firstByte": offset(self.first_byte),
            "firstToken": offset(self.first_token),
            "end": offset(self.end),
            "status": self.status,
            "responseHeaders": self.response_headers,
            "expectedTokens": self.expected_tokens,
            "completionTokens": self.completion_tokens,
            "chunks": self.chunks,
            "finishReason": self.finish_reason,
            "done": self.done,
            "comments": self.comments,
            "error": self.error,
        }


@dataclass(frozen=True)
class Exposure:
    """What an event could have harmed: the requests that were in flight when it happened."""

    requests: int
    long_streams: int
    harmed: int
    """Of these, the ones that did not end complete."""

    @classmethod
    def of(cls, records: list[Record]) -> Exposure:
        """Count the records of a snapshot; ask again when they have ended."""
        harmless = {Outcome.COMPLETE, Outcome.IN_FLIGHT}
        return cls(
            requests=len(records),
            long_streams=sum(record.is_long_stream() for record in records),
            harmed=sum(record.outcome not in harmless for record in records),
        )
