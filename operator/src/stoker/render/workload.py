"""What a revision's replicas are, whichever kind they are: a Deployment, or a LeaderWorkerSet.

Both have `spec.replicas` and `status.replicas`, both keep a template that is never rendered again,
and a replica of either has exactly one pod with the engine's labels. So whoever shares replicas out
asks here, and need not know which of the two it is.
"""

from collections.abc import Mapping
from typing import Any, Final

from stoker.model.replica import Replica
from stoker.render import engine, group
from stoker.render.objects import Owner

Manifest = dict[str, Any]

KINDS: Final = ("Deployment", group.KIND)


def kind_of(replica: Replica) -> str:
    """The kind that runs this replica."""
    return group.KIND if replica.nodes > 1 else "Deployment"


def render_workload(owner: Owner, revision: str, replica: Replica, replicas: int) -> Manifest:
    """The workload of a revision that does not exist yet."""
    render = group.render_group if replica.nodes > 1 else engine.render_engine
    return render(owner, revision, replica, replicas)


def render_companions(owner: Owner, revision: str, replica: Replica) -> tuple[Manifest, ...]:
    """What has to be there for as long as the revision's workload is."""
    return (group.render_group_network(owner, revision),) if replica.nodes > 1 else ()


def rescale(kind: str, observed: Mapping[str, Any], replicas: int) -> Manifest:
    """A workload as the API server has it, with another number of replicas."""
    scale = group.rescale if kind == group.KIND else engine.rescale
    return scale(observed, replicas)


def image_of(observed: Mapping[str, Any]) -> str | None:
    """The engine's image in a workload as the API server has it; None where it cannot be told."""
    image = _engine_of(_pod_of(observed)).get("image")
    return image if isinstance(image, str) else None


def same_place(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a replica of the other finds room where one of the first was."""
    return _place_of(one) == _place_of(other)


def _place_of(observed: Mapping[str, Any]) -> tuple[object, ...]:
    """Which nodes a replica may run on, and what only some nodes have that it takes of them."""
    pod = _pod_of(observed)
    limits = (_engine_of(pod).get("resources") or {}).get("limits") or {}
    devices = {name: amount for name, amount in limits.items() if "/" in name}
    return pod.get("nodeSelector") or {}, pod.get("affinity") or {}, devices, _pods_of(observed)


def _pods_of(observed: Mapping[str, Any]) -> int:
    return group.size_of(observed)


def _pod_of(observed: Mapping[str, Any]) -> Mapping[str, Any]:
    """The spec of the pod that serves."""
    spec = observed.get("spec") or {}
    template = spec.get("template") or (spec.get("leaderWorkerTemplate") or {}).get(
        "leaderTemplate"
    )
    return (template or {}).get("spec") or {}


def _engine_of(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    for container in pod.get("containers") or ():
        if container.get("name") == engine.CONTAINER:
            return dict(container)
    return {}
