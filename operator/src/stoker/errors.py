"""The errors that Stoker itself raises; each says where, what and what to do instead.

Every failure of a pass is one of three things, and its class says which: the user's or the
administrator's doing (`Refused`: becomes a condition), a world that is not ready (`Conflict`,
`ClusterUnavailable`, `Terminating`: tried again later), or a bug (anything else: logged with its
traceback, counted, tried again, and never in the way of another service).
"""
# ruff: noqa: N818 (each is named after what happened, as a log line reads)


class StokerError(Exception):
    """Base of every error that a person may read."""


class Conflict(StokerError):
    """The cluster changed under a write; look again and decide anew."""


class NotFound(StokerError):
    """There is no such object, or no such kind."""


class Refused(StokerError):
    """The API server refuses what was asked and will refuse it again: invalid or forbidden.

    `kind` is that of the object, where it was one of a service's.
    """

    kind: str = ""


class Terminating(StokerError):
    """The namespace is being deleted; nothing can be made in it any more."""


class LeadershipLost(StokerError):
    """The process may no longer write."""


class ClusterUnavailable(StokerError):
    """The API server did not answer; try later."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
