"""How often a service is looked at: as often as its next decision needs it, and no oftener.

* Something goes on: every `BUSY_S`. A change is known after half of that on average and that at
  most, so it stays below two seconds with the time that the look itself takes.
* Nothing goes on: a tenth of the time for which nothing has, `RARE_S` at most. The first request
  after a quiet time is told by the frontend (`render.envoy_notify`); a lost hint costs one pause.
* No replica: the frontend alone can have news. It is asked five times a second where services at
  zero are few; all of them together are asked `ZERO_PAGES_PER_S` times a second at most.

Each pause is shortened by chance, by up to `SPREAD`, so that thousands of services do not come all
in the same moment. `RARE_S` is below the age from which a load is stale, and below a third of a
window's longest gap.
"""

from typing import Final

BUSY_S: Final = 1.6
RARE_S: Final = 10.0
ZERO_S: Final = 0.2
ZERO_PAGES_PER_S: Final = 100.0
SPREAD: Final = 0.25
_SHARE: Final = 0.1


def pause_of(idle_s: float) -> float:
    """Seconds until the next look at a service with replicas, after so many without a request."""
    return min(max(BUSY_S, _SHARE * idle_s), RARE_S)


def pause_at_zero(pages: int) -> float:
    """The same at zero, where all services at zero have so many frontends together."""
    return min(max(ZERO_S, pages / ZERO_PAGES_PER_S), RARE_S)
