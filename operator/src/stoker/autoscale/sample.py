"""What one decision looks at: the load, and the replicas that are there to carry it."""

from dataclasses import dataclass

from stoker.model.load import Load
from stoker.model.observed import Observed
from stoker.naming import Component


@dataclass(frozen=True, slots=True)
class Sample:
    """The present, as the autoscaler sees it."""

    # Replicas that the last decision wanted; None before the first one.
    wanted: int | None
    ready: int
    load: Load | None
    # Wanted replicas that have no node: not slow, but not there, and asking for more brings none.
    missing: int = 0


def sample_of(observed: Observed, load: Load | None) -> Sample:
    """Read the present; the last decision comes from status, so a restart keeps it."""
    wanted = observed.service.status.get("desiredReplicas")
    pods = [pod for pod in observed.pods if pod.component is Component.ENGINE and not pod.deleting]
    ready = sum(pod.ready for pod in pods)
    placed = sum(pod.ready or pod.scheduled for pod in pods)
    if not isinstance(wanted, int):
        return Sample(None, ready, load)
    return Sample(wanted, ready, load, missing=max(0, wanted - placed))
