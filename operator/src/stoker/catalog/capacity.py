"""How a node is paid for, as far as its labels tell.

Clouds and node autoscalers mark nodes that may be taken away at any time:

    karpenter.sh/capacity-type              spot, on-demand, reserved
    eks.amazonaws.com/capacityType          SPOT, ON_DEMAND, CAPACITY_BLOCK
    cloud.google.com/gke-spot               true
    cloud.google.com/gke-preemptible        true
    cloud.google.com/gke-provisioning       spot, preemptible, standard
    kubernetes.azure.com/scalesetpriority   spot, regular

The same labels stand in node selectors of pods that want one kind alone.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Capacity(StrEnum):
    """Who may take a node away: its cloud at any time, or nobody."""

    SPOT = "spot"
    ON_DEMAND = "on_demand"


_VALUES: Final = {
    "spot": Capacity.SPOT,
    "preemptible": Capacity.SPOT,
    "on-demand": Capacity.ON_DEMAND,
    "reserved": Capacity.ON_DEMAND,
    "capacity-block": Capacity.ON_DEMAND,
    "standard": Capacity.ON_DEMAND,
    "regular": Capacity.ON_DEMAND,
}
# The value is the kind.
_NAMED: Final = (
    "karpenter.sh/capacity-type",
    "eks.amazonaws.com/capacityType",
    "cloud.google.com/gke-provisioning",
    "kubernetes.azure.com/scalesetpriority",
)
# The value says whether.
_FLAGS: Final = ("cloud.google.com/gke-spot", "cloud.google.com/gke-preemptible")


def capacity_of(labels: Mapping[str, str]) -> Capacity | None:
    """What these labels of a node, or a node selector, say; None where they say nothing."""
    for name in _FLAGS:
        if labels.get(name, "").lower() == "true":
            return Capacity.SPOT
    for name in _NAMED:
        found = _VALUES.get(labels.get(name, "").lower().replace("_", "-"))
        if found is not None:
            return found
    return None
