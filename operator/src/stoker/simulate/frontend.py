"""The frontend of a simulated service: when requests are held, where they may go, when they end."""

from dataclasses import dataclass
from typing import Final

from stoker.simulate.limit import Rule


@dataclass(frozen=True, slots=True)
class Frontend:
    """When requests are held, and for how long. Defaults: Stoker's frontend."""

    hold_s: float = 600.0
    max_held: int = 500
    queue_per_replica: int = 8  # waiting in an engine that counts as full from here on
    kv_full: float = 0.9  # and so does one with this share of its KV cache in use
    drain_s: float = 600.0  # that a replica may take to end what it computes
    rule: Rule | None = None  # how many requests a replica may have; None: any number


STOKERS_FRONTEND: Final = Frontend()
