"""Exit statuses of the commands; docs/planner.md, scaling.md and cache-commands.md list them."""

from enum import IntEnum


class Exit(IntEnum):
    """What a script may act on. 1 is what Python itself ends with when a command breaks."""

    DONE = 0
    BAD_INPUT = 2  # options, files or a kubeconfig that cannot be used
    REFUSED = 3  # it does not fit, is refused, or is not planned yet
    NOT_FOUND = 4  # no such object, or no such kind
    NO_OFFER = 5  # the plan that runs is the one that would be chosen today
    CHANGED = 6  # the offer went, or became another one, while it was being accepted
    FORBIDDEN = 7  # the API server refuses
    UNREACHABLE = 8  # the API server does not answer, or does not take the credentials
    UNHEALTHY = 9  # the object is not as its spec wants it, and the answer says why
    TIMED_OUT = 10  # what was waited for had not come by --timeout; it goes on
