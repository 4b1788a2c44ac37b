"""The two clocks, asked by the shell alone; the core gets their readings as an argument."""

import time
from typing import Protocol

# The boot-time clock goes on while the machine sleeps: a leader that was suspended together with
# its node must find its Lease expired when it wakes.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Where the shell reads the time."""

    def monotonic(self) -> float:
        """Seconds that never jump back; comparable inside this process only."""

    def unix(self) -> float:
        """Seconds since 1970; may jump."""


class SystemClock:
    """The clocks of this machine."""

    def monotonic(self) -> float:
        """Seconds since boot, suspended time included."""
        return time.clock_gettime(_STEADY)

    def unix(self) -> float:
        """Seconds since 1970."""
        return time.time()
