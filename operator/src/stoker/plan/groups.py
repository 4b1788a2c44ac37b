"""Over how many pods a replica is spread, and whether that can be had.

A replica stays in one pod where a node has enough accelerators: links between nodes are an order of
magnitude slower. Where it does not fit into one, it takes the fewest nodes that share it out
evenly, unless the spec says how many.
"""

from collections.abc import Mapping
from dataclasses import replace

from stoker.catalog.gpus import Gpu
from stoker.model import reasons
from stoker.model.plan import Verdict
from stoker.model.platform import Platform
from stoker.model.replica import Replica
from stoker.render import group


def spread(replica: Replica, asked: int | None, gpus: Mapping[str, Gpu]) -> Replica:
    """The replica over the pods that it takes.

    Parameters
    ----------
    asked
        Pods that the spec names; None: as many as needed.
    gpus
        Hardware by accelerator type; a type that is not there is taken to fit into one pod.
    """
    return replace(replica, nodes=asked or _needed(replica, gpus))


def refuse(replica: Replica, platform: Platform) -> Verdict | None:
    """Why a replica cannot be spread like that here; None when it can."""
    if replica.nodes == 1:
        return None
    if not platform.groups:
        return Verdict(
            reasons.GROUPS_NOT_OFFERED,
            f"A replica of {replica.accelerators.count} accelerators spans {replica.nodes} nodes, "
            "and this cluster offers no LeaderWorkerSets: ask for fewer accelerators per replica "
            "(parallelism, accelerator.perReplica), or ask the administrator for "
            "leaderWorkerSet.enabled.",
        )
    problem = group.unfit(replica)
    if problem is None:
        return None
    return Verdict(
        reasons.GROUP_UNEVEN,
        f"parallelism: {problem}; choose sizes whose product divides by {replica.nodes}.",
    )


def _needed(replica: Replica, gpus: Mapping[str, Gpu]) -> int:
    """The fewest pods of equal size that fit a node of each type that may be chosen."""
    count = replica.accelerators.count
    known = [gpus[name].most_per_node for name in replica.accelerators.names if name in gpus]
    most = max(1, min(known, default=count))
    return next(
        nodes for nodes in range(1, count + 1) if nodes * most >= count and not count % nodes
    )
