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


def sample_of(observed: Observed, load: Load | None) -> Sample:
    """Read the present; the last decision comes from status, so a restart keeps it."""
    wanted = observed.service.status.get("desiredReplicas")
    ready = sum(
        pod.component is Component.ENGINE and pod.ready and not pod.deleting
        for pod in observed.pods
    )
    return Sample(wanted if isinstance(wanted, int) else None, ready, load)
