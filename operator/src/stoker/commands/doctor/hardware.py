"""Where pods may run: nodes of the type, the device plugin, taints, and the scheduler's own words.

Nodes are judged only while a pod waits for one. A type without nodes is no fault by itself, as a
node autoscaler may bring one: where its event says that it does, the service waits.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from stoker.commands import statuses
from stoker.commands.doctor import fixes
from stoker.commands.doctor.links import Broken, Check, Ok, Outcome, Unknown, Waits
from stoker.commands.doctor.podwords import events_about, pods_of, said
from stoker.commands.doctor.seen import Body, Denied, World, of_component, several
from stoker.commands.doctor.service import spoken
from stoker.model import reasons
from stoker.model.topology import of_volume
from stoker.naming import LABEL_COMPONENT, Component
from stoker.plan import failures
from stoker.quantity import parse_quantity

_ENGINES: Final = (Component.ENGINE, Component.FOLLOWER)
# How vendors' labels show that a node has accelerators, whatever its kubelet advertises.
_MARKS: Final = (
    "nvidia.com/gpu.",
    "amd.com/gpu.",
    "feature.node.kubernetes.io/pci-10de",
    "feature.node.kubernetes.io/pci-1002",
    "cloud.google.com/gke-accelerator",
)
_COMING: Final = frozenset({"TriggeredScaleUp", "Nominated", "NodeClaimCreated"})
_HARD: Final = frozenset({"NoSchedule", "NoExecute"})
_PLUGIN: Final = {
    "nvidia.com": "NVIDIA's (the GPU operator brings it): `kubectl get pods -A -l "
    "app=nvidia-device-plugin-daemonset`",
    "amd.com": "AMD's (the ROCm GPU operator brings it): `kubectl get pods -A -l "
    "name=amdgpu-dp-ds`",
}


class Wish:
    """What the oldest engine pod without a node asks of one."""

    def __init__(self, pod: Body) -> None:
        spec = statuses.mapping(pod.get("spec"))
        self.name = str(statuses.mapping(pod.get("metadata")).get("name"))
        self.selector = dict(statuses.mapping(spec.get("nodeSelector")))
        self.affinity = statuses.mapping(statuses.mapping(spec.get("affinity")).get("nodeAffinity"))
        self.tolerations = statuses.mappings(spec.get("tolerations"))
        self.resource, self.count = _extended(statuses.mappings(spec.get("containers")))

    @property
    def words(self) -> str:
        """The labels it asks for."""
        return ", ".join(f"{name}={value}" for name, value in self.selector.items())

    @property
    def picky(self) -> bool:
        """Whether it asks for labels at all."""
        required = "requiredDuringSchedulingIgnoredDuringExecution"
        return bool(self.selector) or bool(self.affinity.get(required))

    def admits(self, node: Body) -> bool:
        """Whether the node's labels are those that are asked for."""
        metadata = statuses.mapping(node.get("metadata"))
        labels = statuses.mapping(metadata.get("labels"))
        if any(labels.get(name) != value for name, value in self.selector.items()):
            return False
        required = self.affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
        # A volume's demand on nodes is written the same way.
        topology = of_volume({"spec": {"nodeAffinity": {"required": required}}}, "")
        return topology is None or topology.admits(str(metadata.get("name")), dict(labels))

    def tolerates(self, taint: Mapping[str, Any]) -> bool:
        """As the scheduler reads it."""
        if taint.get("effect") not in _HARD:
            return True
        return any(
            each.get("key") in {None, "", taint.get("key")}
            and each.get("effect") in {None, "", taint.get("effect")}
            and (
                each.get("operator") == "Exists"
                or (each.get("value") or "") == (taint.get("value") or "")
            )
            for each in self.tolerations
        )


def wish_of(world: World) -> Wish | None:
    """Of the oldest engine pod that has no node; None where all have one, or need no device."""
    waiting = [
        body
        for body in several(world.around.pods)
        if _component(body) in set(_ENGINES)
        and not statuses.mapping(body.get("spec")).get("nodeName")
        and not statuses.mapping(body.get("metadata")).get("deletionTimestamp")
        and statuses.mapping(body.get("status")).get("phase", "Pending") == "Pending"
    ]
    waiting.sort(key=lambda body: str(statuses.mapping(body["metadata"]).get("creationTimestamp")))
    wishes = (Wish(body) for body in waiting)
    return next((each for each in wishes if each.resource), None)


def _nodes(world: World) -> Outcome:
    wish = wish_of(world)
    if wish is None:
        return Ok("no pod waits for an accelerator")
    if isinstance(world.around.nodes, Denied):
        return Unknown(world.around.nodes.right)
    coming = _coming(world, wish)
    if coming is not None:
        return Waits(coming)
    nodes = several(world.around.nodes)
    having = [node for node in nodes if _has(node, wish.resource)]
    fitting = [node for node in nodes if wish.admits(node)]
    if not having and not any(map(_marked, fitting if wish.picky else nodes)):
        if wish.picky and fitting:
            return Ok(f"{len(fitting)} nodes have the labels {wish.words}")
        asked = f" with {wish.words}" if wish.picky else ""
        return _no_nodes(world, wish, f"of {len(nodes)} nodes none has {wish.resource}{asked}")
    if wish.picky and not fitting:
        return _no_nodes(
            world,
            wish,
            f"{len(having)} nodes have {wish.resource}, and none the labels that the pod asks for: "
            f"{wish.words or 'its node affinity'}",
        )
    resting = [node for node in fitting if _has(node, wish.resource) and not _serves(node)]
    if resting and len(resting) == sum(_has(node, wish.resource) for node in fitting):
        names = _names(resting)
        return Broken(
            f"nodes {names}",
            "every node of the type is cordoned or not ready",
            f"`kubectl describe node {names.split(',')[0]}`, then `kubectl uncordon` it",
        )
    most = max((_amount(node, wish.resource) for node in fitting), default=0)
    if 0 < most < wish.count:
        return Broken(
            f"pod {wish.name}",
            f"it asks for {wish.count:g} {wish.resource} on one node, and no node has more than "
            f"{most:g}",
            fixes.filled(
                "Lower accelerator.perReplica or parallelism.tensor, or add larger nodes: "
                "`kubectl edit infer {name} -n {ns}`",
                world.key,
            ),
        )
    return Ok(f"{len(fitting)} nodes are of the type")


def _no_nodes(world: World, wish: Wish, why: str) -> Broken:
    return Broken(
        f"pod {wish.name}",
        why,
        "Add a node of the type (a node pool that may grow is enough), or choose another in "
        + fixes.filled(
            "accelerator.types: `kubectl edit infer {name} -n {ns}`. What there is: "
            "`kubectl get nodes --show-labels`",
            world.key,
        ),
    )


def _plugin(world: World) -> Outcome:
    wish = wish_of(world)
    if wish is None or _coming(world, wish) is not None:
        return Ok("")
    if isinstance(world.around.nodes, Denied):
        return Unknown(world.around.nodes.right)
    nodes = [node for node in several(world.around.nodes) if wish.admits(node)]
    if any(_has(node, wish.resource) for node in nodes):
        return Ok(f"nodes advertise {wish.resource}")
    meant = nodes if wish.picky else [node for node in nodes if _marked(node)]
    if not meant:
        return Ok("")
    vendor = wish.resource.partition("/")[0]
    plugin = _PLUGIN.get(vendor, f"of {vendor}: `kubectl get daemonsets -A`")
    return Broken(
        f"nodes {_names(meant)}",
        f"they are of the type, and their kubelets advertise no {wish.resource}",
        f"Look at the device plugin, {plugin}, and at the driver on the node.",
    )


def _taints(world: World) -> Outcome:
    wish = wish_of(world)
    if wish is None or _coming(world, wish) is not None:
        return Ok("")
    if isinstance(world.around.nodes, Denied):
        return Unknown(world.around.nodes.right)
    meant = [
        node
        for node in several(world.around.nodes)
        if wish.admits(node) and _has(node, wish.resource) and _serves(node)
    ]
    against = {
        str(statuses.mapping(node.get("metadata")).get("name")): taint
        for node in meant
        for taint in statuses.mappings(statuses.mapping(node.get("spec")).get("taints"))
        if not wish.tolerates(taint)
    }
    if not meant or len(against) < len(meant):
        return Ok("the pod tolerates the nodes' taints" if meant else "")
    taint = next(iter(against.values()))
    told = f"{taint.get('key')}={taint.get('value') or ''}:{taint.get('effect')}".replace("=:", ":")
    return Broken(
        f"nodes {','.join(sorted(against)[:3])}",
        f"they have {wish.resource}, and a taint that the pod does not tolerate: {told}",
        "Add the toleration for everybody in the chart's values "
        "(`accelerators.TYPE.tolerations`), or for this service in template.tolerations: "
        + fixes.filled("`kubectl edit infer {name} -n {ns}`", world.key),
    )


def _scheduling(world: World) -> Outcome:
    pods = pods_of(world)
    wish = wish_of(world)
    resource = None if wish is None else wish.resource
    engines = of_component(pods, *_ENGINES)
    verdict = (
        failures.unschedulable_of(engines, resource)
        or failures.unschedulable_of(of_component(pods, Component.FACTS), resource)
        or failures.unschedulable_of(of_component(pods, Component.FRONTEND, Component.CACHE), None)
    )
    if verdict is None:
        told = spoken(world, {reasons.NO_NODE_CAME})
        if told is None:
            return Ok("every pod has a node" if pods else "")
        return Broken("nodes", told[1], _wait_or_change(world))
    if verdict.reason == reasons.SCHEDULING_GATED:
        return Waits(verdict.message)
    waiting = [pod.name for pod in pods if pod.unschedulable is not None]
    coming = None if wish is None else _coming(world, wish)
    if coming is not None:
        return Waits(coming)
    return Broken(f"pod {waiting[0]}", verdict.message, _wait_or_change(world))


def _wait_or_change(world: World) -> str:
    return (
        "Free or add a node, or ask for less: accelerator.types, accelerator.perReplica, "
        + fixes.filled(
            "template.resources: `kubectl edit infer {name} -n {ns}`. What is taken: "
            "`kubectl describe nodes`",
            world.key,
        )
    )


def _coming(world: World, wish: Wish) -> str | None:
    for event in events_about(world, "Pod", wish.name):
        if event.get("reason") in _COMING:
            return f"a node is on its way for {wish.name}: {said(event)}"
    return None


def _extended(containers: Iterable[Mapping[str, Any]]) -> tuple[str, float]:
    """The extended resource that is asked for, and how much of it."""
    for container in containers:
        limits = statuses.mapping(statuses.mapping(container.get("resources")).get("limits"))
        for name, amount in limits.items():
            if "/" in name:
                return name, _number(amount)
    return "", 0.0


def _amount(node: Body, resource: str) -> float:
    return _number(
        statuses.mapping(statuses.mapping(node.get("status")).get("allocatable")).get(resource, "0")
    )


def _number(text: object) -> float:
    try:
        return float(parse_quantity(str(text)))
    except ValueError:
        return 0.0


def _has(node: Body, resource: str) -> bool:
    return _amount(node, resource) > 0


def _marked(node: Body) -> bool:
    labels = statuses.mapping(statuses.mapping(node.get("metadata")).get("labels"))
    return any(str(name).startswith(_MARKS) for name in labels)


def _serves(node: Body) -> bool:
    ready = statuses.condition(statuses.mapping(node.get("status")), "Ready")
    cordoned = statuses.mapping(node.get("spec")).get("unschedulable")
    return ready.get("status") == "True" and not cordoned


def _names(nodes: Iterable[Body]) -> str:
    names = sorted(str(statuses.mapping(node.get("metadata")).get("name")) for node in nodes)
    return ",".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _component(body: Body) -> object:
    labels = statuses.mapping(statuses.mapping(body.get("metadata")).get("labels"))
    return labels.get(LABEL_COMPONENT)


CHECKS: Final = (
    Check("nodes", "nodes of the type", _nodes),
    Check("device-plugin", "device plugin", _plugin),
    Check("taints", "taints", _taints),
    Check("scheduling", "scheduling", _scheduling),
)
