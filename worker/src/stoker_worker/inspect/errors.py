"""Why a model's facts cannot be had: a reason for machines, a sentence for people."""

from __future__ import annotations

from stoker_worker.contract import FactsReason

Reason = FactsReason


class InspectError(Exception):
    """No facts: the reason, and a message that says where, what, and what to do."""

    def __init__(self, reason: str, message: str) -> None:
        # A file's name may hold bytes that are no text.
        message = message.encode("utf-8", "backslashreplace").decode("utf-8")
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
