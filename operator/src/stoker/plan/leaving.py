"""Which replica goes when there are to be fewer: the one that costs least to lose.

A ReplicaSet removes pods that do not answer first, then those with the lower
`controller.kubernetes.io/pod-deletion-cost`, and only then has an order of its own. So before a
Deployment is told a lower number, those of its pods that answer get their places in the order

    fewest requests in progress  <  newest  <  name

as costs, 1 for the first to go. A pod that came later has none, which counts as 0, and is the
newest indeed. A replica of which nothing is known is taken to be busy: silence is not idleness.

Costs are written together with a lower number and never else, so a settled service writes nothing;
not when every replica goes; not when those that are there tell who goes from who stays; and at most
once a minute, in between the places of before stand. Whoever goes drains, so a place that has
become wrong costs time and no stream.

Groups of a LeaderWorkerSet are numbered, and the highest goes whatever it costs.
"""

import math
from collections.abc import Iterable
from typing import Final

from stoker import naming
from stoker.model.load import Load
from stoker.model.moment import Moment
from stoker.model.observed import Observed, ObservedPod
from stoker.model.plan import Apply, Delete, DeletionCost
from stoker.naming import Component
from stoker.plan import situation

EVERY_S: Final = 60.0
# An older look says nothing of what a replica does now.
_LOAD_S: Final = 60.0
_ENDED: Final = frozenset({"Succeeded", "Failed"})


def deletion_costs(
    observed: Observed, writes: Iterable[Apply | Delete], now: Moment
) -> tuple[DeletionCost, ...]:
    """What has to be on pods before these writes are carried out, the first to go first."""
    last = observed.past.costs_at
    if last is not None and now.monotonic - last < EVERY_S:
        return ()
    requests = _requests(observed.load, now)
    return tuple(
        cost
        for write in writes
        if isinstance(write, Apply) and _lowers_engines(write)
        for cost in _places(
            _answering(observed, write), int(write.manifest["spec"]["replicas"]), requests
        )
    )


def _lowers_engines(write: Apply) -> bool:
    labels = write.manifest["metadata"].get("labels") or {}
    return (
        write.resource_version is not None
        and write.manifest["kind"] == "Deployment"
        and labels.get(naming.LABEL_COMPONENT) == Component.ENGINE.value
    )


def _answering(observed: Observed, write: Apply) -> list[ObservedPod]:
    """Pods that this Deployment's ReplicaSet controls and that answer."""
    name = write.manifest["metadata"]["name"]
    return [
        pod
        for pod in situation.pods_of(observed, Component.ENGINE)
        if pod.ready
        and not pod.deleting
        and pod.phase not in _ENDED
        and pod.replica_set is not None
        and pod.replica_set.rpartition("-")[0] == name
    ]


def _places(
    pods: list[ObservedPod], stay: int, requests: dict[str, float]
) -> Iterable[DeletionCost]:
    leave = len(pods) - stay
    if leave <= 0 or stay == 0:
        return ()
    order = sorted(pods, key=lambda pod: (requests.get(pod.name, math.inf), -pod.created, pod.name))
    costs = [pod.deletion_cost for pod in order]
    if max(costs[:leave]) < min(costs[leave:]):
        return ()
    return (
        DeletionCost(pod.name, pod.uid, place)
        for place, pod in enumerate(order, start=1)
        if pod.deletion_cost != place
    )


def _requests(load: Load | None, now: Moment) -> dict[str, float]:
    """Requests in progress at each engine that told."""
    if load is None or now.monotonic - load.time > _LOAD_S:
        return {}
    return {each.pod: float(each.running + each.waiting) for each in load.engines}
