"""Why a job cannot go on: a reason for machines, a sentence for people."""

from __future__ import annotations


class FetchError(Exception):
    """The job ends, or the source's call is made again."""

    def __init__(
        self, reason: str, message: str, *, passes: bool = False, retry_at: float | None = None
    ) -> None:
        # A file's name may hold bytes that are no text.
        message = message.encode("utf-8", "backslashreplace").decode("utf-8")
        super().__init__(f"{reason}: {message}")
        self.reason = reason  # one of FetchReason
        self.message = message  # where, what, and what to do; without secrets
        self.passes = passes  # whether the same may succeed later
        self.retry_at = retry_at  # Unix seconds; not before, for any call; None: nobody said
