"""Which pods are billed now, at what price, and what their time is for.

A pod is billed from the moment it has a node until it is gone: it keeps accelerators from others
for that long. A pod without a node costs nothing, however long it waits, and neither does one whose
containers have ended. The time that a new node takes to boot before a pod is bound to it is the
node's: nobody can tell for whom it was bought, as its other accelerators wait too.

    price of a pod = accelerators that it asks for x price of one, spot or on demand

The type is the entry of the administrator's catalogue whose resource the pod asks for and whose
labels its node has (or, where the node is not known, its node selector). Pods of a replica that
spans several are billed one by one. Frontends, and Jobs that read or fetch models, are not billed:
they have no accelerator.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from stoker.catalog.capacity import Capacity, capacity_of
from stoker.catalog.gpus import Gpu
from stoker.model.inventory import Node
from stoker.model.observed import Observed, ObservedPod
from stoker.model.platform import AcceleratorPlatform, Platform
from stoker.naming import Component

CURRENCY: Final = "USD"
# A replica whose requests nobody has counted for so long may do anything. The slowest look is made
# every 30 seconds.
SEEN_S: Final = 90.0

_BILLED: Final = frozenset({Component.ENGINE, Component.FOLLOWER})
_ENDED: Final = frozenset({"Succeeded", "Failed"})
_NO_NAME: Final = "unknown"


class Share(StrEnum):
    """What the time of a pod is for."""

    SERVING = "serving"  # ready, and at least one request runs
    IDLE = "idle"  # ready, and nothing runs
    STARTING = "starting"  # on a node and not ready: image, weights, warm-up, restarts
    ENDING = "ending"  # told to go: answers its last requests and leaves
    UNKNOWN = "unknown"  # ready, and nobody could count its requests


@dataclass(frozen=True, slots=True)
class Charge:
    """One pod that is billed. Prices in US dollars, times in Unix seconds unless told."""

    pod: str  # its uid
    revision: str
    capacity: Capacity
    accelerators: int
    per_hour: float | None  # of the whole pod; None: no price is known
    share: Share
    leads: bool = True  # whether it stands for a replica: followers do not
    placed_at: float | None = None  # when it got its node
    ready_at: float | None = None
    seen_until: float = 0.0  # monotonic; when what was counted of its requests is too old


def charges_of(observed: Observed, platform: Platform) -> tuple[Charge, ...]:
    """All pods of a service that are billed now."""
    plan = observed.service.status.get("plan")
    planned = plan.get("accelerator") if isinstance(plan, Mapping) else None
    spec = observed.service.spec
    liked = [str(planned), *(() if spec is None else spec.accelerator.types)]
    pods = {pod.name: pod for pod in observed.pods}
    found = []
    for pod in observed.pods:
        if pod.component not in _BILLED or pod.node is None or pod.phase in _ENDED:
            continue
        leader = pods.get(leader_of(pod), pod)
        share, until = _share(pod, leader, observed)
        kind, count = _type(pod, observed.nodes.get(pod.node), platform, liked)
        capacity = _capacity(pod, observed.nodes.get(pod.node))
        each = price_of(platform.gpus.get(kind or ""), capacity)
        found.append(
            Charge(
                pod=pod.uid,
                revision=pod.revision or _NO_NAME,
                capacity=capacity,
                accelerators=count,
                per_hour=None if each is None else each * count,
                share=share,
                leads=pod.component is Component.ENGINE,
                placed_at=pod.scheduled_at,
                ready_at=leader.ready_at,
                seen_until=until,
            )
        )
    return tuple(found)


def price_of(gpu: Gpu | None, capacity: Capacity) -> float | None:
    """US dollars per hour for one accelerator; None where nobody knows.

    A type without a spot price costs on spot nodes what it costs on demand: the dearest it can be.
    """
    if gpu is None:
        return None
    if capacity is Capacity.SPOT and gpu.spot_price_per_hour is not None:
        return gpu.spot_price_per_hour
    return gpu.price_per_hour


def price_now(charges: Iterable[Charge]) -> dict[tuple[str, Capacity], float]:
    """US dollars per hour of all pods with a known price, by revision and capacity."""
    found: dict[tuple[str, Capacity], float] = {}
    for each in charges:
        if each.per_hour is not None:
            place = (each.revision, each.capacity)
            found[place] = found.get(place, 0.0) + each.per_hour
    return found


def unpriced(charges: Iterable[Charge]) -> dict[str, int]:
    """Accelerators that are billed at a price that nobody knows, by revision."""
    found: dict[str, int] = {}
    for each in charges:
        if each.per_hour is None:
            found[each.revision] = found.get(each.revision, 0) + each.accelerators
    return found


def leader_of(pod: ObservedPod) -> str:
    """The pod that answers for this one: a group's leader, whose name the others begin with."""
    return pod.name.rpartition("-")[0] if pod.component is Component.FOLLOWER else pod.name


def _share(pod: ObservedPod, leader: ObservedPod, observed: Observed) -> tuple[Share, float]:
    """What a pod's time is for, and until when that was counted."""
    if pod.deleting or leader.deleting:
        return Share.ENDING, 0.0
    if not leader.ready or leader.component is Component.FOLLOWER:
        return Share.STARTING, 0.0
    load = observed.load
    for sample in () if load is None else load.engines:
        if sample.pod == leader.name and sample.uid in ("", leader.uid):
            until = 0.0 if load is None else load.time + SEEN_S
            return (Share.SERVING if sample.running > 0 else Share.IDLE), until
    return Share.UNKNOWN, 0.0


def _type(
    pod: ObservedPod, node: Node | None, platform: Platform, liked: list[str]
) -> tuple[str | None, int]:
    """The name of a pod's accelerators in the catalogue, None for none of them; and how many."""
    asked = dict(pod.asks)
    entries = platform.accelerators.values()
    if not asked:
        fit, count = [entry for entry in entries if entry.resource is None], pod.ranks
    else:
        fit = [entry for entry in entries if entry.resource in asked]
        count = max((asked[entry.resource] for entry in fit if entry.resource), default=1)
    if node is not None:
        carried = dict(node.carries)
        fit = [entry for entry in fit if entry.name in carried]
    else:
        selected = dict(pod.selector)
        fit = [entry for entry in fit if entry.node_selector.items() <= selected.items()]

    def order(entry: AcceleratorPlatform) -> tuple[int, int, str]:
        # Of several that fit the planned one; else the one that says most of its nodes.
        rank = liked.index(entry.name) if entry.name in liked else len(liked)
        return rank, -len(entry.node_selector), entry.name

    best = min(fit, key=order, default=None)
    return (None if best is None else best.name), count


def _capacity(pod: ObservedPod, node: Node | None) -> Capacity:
    """As its node says, or as the pod asks; on demand where nobody says anything."""
    told = None if node is None else node.capacity
    return told or capacity_of(dict(pod.selector)) or Capacity.ON_DEMAND
