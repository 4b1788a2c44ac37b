"""What the cluster really has of each accelerator type, read from its nodes.

It only orders choices. A type that has no node yet is still planned and its pod made, or a node
group that is at zero would never wake. What is counted is what pods may ask for: `allocatable`, as
the device plugins of NVIDIA and AMD fill it; labels are those of NVIDIA's GPU feature discovery and
AMD's node labeller, where they are there. Taints are not looked at: who may tolerate which is the
user's template's affair. What is in use is not looked at either: it would take the right to read
every pod of the cluster. Extended resources that DRA serves are in no node's `allocatable`, so a
type of that kind always counts as absent.

    node bodies ──► Node (what is needed of one) ──► Inventory (counts) ──► Supply (what orders)

A `Node` is small, and equal as long as nothing changed that matters here: heartbeats and images are
gone. A `Supply` is coarser still, so that most comings and goings of nodes change nothing.
"""

import json
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from stoker.catalog.capacity import Capacity, capacity_of
from stoker.catalog.gpus import Gpu
from stoker.model import reasons
from stoker.model.plan import Verdict
from stoker.model.platform import AcceleratorPlatform
from stoker.model.topology import Topology
from stoker.quantity import parse_quantity

# Newer versions of GPU feature discovery write both, older ones the second alone.
_DRIVER_LABELS: Final = ("nvidia.com/cuda.driver-version.major", "nvidia.com/cuda.driver.major")
_MEMORY_LABEL: Final = "nvidia.com/gpu.memory"  # MiB of one whole device
_MIB: Final = 2**20
# Drivers differ by about half a gigabyte of 24 in what they report; another product by far more.
_SLACK: Final = 0.95
# Labels that volumes are usually bound by; a key that begins so is kept unasked.
_TOPOLOGY_KEYS: Final = ("topology.", "kubernetes.io/hostname", "failure-domain.beta.kubernetes.io")
# Any number of ranks shares a node's processors.
_ANY_NUMBER: Final = 2**16
_OUT_OF_REACH: Final = -1


@dataclass(frozen=True, slots=True)
class Node:
    """What is needed of one node."""

    name: str
    serves: bool  # ready and schedulable
    carries: tuple[tuple[str, int], ...]  # catalogue name, accelerators that pods may ask for
    labels: Mapping[str, str]  # topology alone, and what was asked for
    driver: int | None = None  # NVIDIA driver branch, where a label tells
    memory_bytes: int | None = None  # of a whole device, where a label tells
    capacity: Capacity | None = None  # spot or on demand, where a label tells


@dataclass(frozen=True, slots=True)
class Stock:
    """What there is of one type, where the volume can be reached. Processors count in nodes."""

    nodes: int = 0  # that serve
    accelerators: int = 0  # allocatable on them
    most_on_node: int = 0
    resting: int = 0  # nodes that are not ready or cordoned
    elsewhere: int = 0  # nodes that serve, and from which the volume cannot be reached
    drivers: frozenset[int] = frozenset()  # NVIDIA driver branches, where labels tell
    memory_bytes: int | None = None  # of the smallest whole device, where labels tell


@dataclass(frozen=True, slots=True)
class Supply:
    """What choices are ordered by: of each type the most accelerators on one node.

    0 where there is no node, -1 where the volume cannot be reached from those that there are.
    """

    most_on_node: tuple[tuple[str, int], ...]

    def rank(self, name: str, per_node: int) -> int:
        """How soon `per_node` accelerators on one node can be had: smaller is sooner.

        0: a node has so many, 1: the type is there, but no node has so many, 2: no node has the
        type yet, 3: the model's volume cannot be reached from its nodes.
        """
        most = dict(self.most_on_node).get(name, 0)
        if most == 0:
            return 2
        if most < 0:
            return 3
        return 0 if most >= per_node else 1

    def to_json(self) -> str:
        """As a status keeps it."""
        return json.dumps(dict(self.most_on_node), separators=(",", ":"))

    @staticmethod
    def from_json(text: object) -> "Supply | None":
        """Read it again; None for what makes no sense."""
        try:
            given: dict[str, Any] = json.loads(text) if isinstance(text, str) else {}
            if not given:
                return None
            return Supply(tuple((str(name), int(most)) for name, most in given.items()))
        except (ValueError, TypeError, AttributeError):
            return None


@dataclass(frozen=True, slots=True)
class Inventory:
    """What the cluster has, by the names of the administrator's catalogue."""

    stocks: Mapping[str, Stock] = field(default_factory=dict, hash=False)
    # Names of types that are processors: any number of ranks shares a node.
    divisible: frozenset[str] = frozenset()
    # Where the model's volume is, if not everywhere.
    topology: Topology | None = None

    def stock(self, name: str) -> Stock:
        """What there is of a type; nothing where it was not looked for."""
        return self.stocks.get(name, Stock())

    def reaches(self, name: str) -> bool:
        """Whether nodes of a type reach the volume, or new ones may."""
        stock = self.stock(name)
        if stock.nodes or stock.resting:
            return True
        pinned = self.topology is not None and self.topology.pinned
        return not stock.elsewhere and not pinned

    def supply(self, names: Iterable[str]) -> Supply:
        """What choices among these types are ordered by."""
        return Supply(tuple((name, self._most(name)) for name in names))

    def _most(self, name: str) -> int:
        stock = self.stock(name)
        if stock.nodes == 0:
            return 0 if self.reaches(name) else _OUT_OF_REACH
        return _ANY_NUMBER if name in self.divisible else stock.most_on_node


def is_usual(key: str) -> bool:
    """Whether a label is kept of every node, unasked."""
    return key.startswith(_TOPOLOGY_KEYS)


def node_of(
    body: Mapping[str, Any],
    accelerators: Mapping[str, AcceleratorPlatform],
    asked: Collection[str] = (),
) -> Node:
    """What is needed of a node's body, as the API server gives it.

    `asked` names labels to keep beside the usual ones of topology.
    """
    metadata = body.get("metadata") or {}
    labels = metadata.get("labels") or {}
    branch = next((n for n in map(labels.get, _DRIVER_LABELS) if n), "")
    memory = labels.get(_MEMORY_LABEL, "")
    return Node(
        name=str(metadata.get("name", "")),
        serves=_serves(body),
        carries=tuple(
            (name, count)
            for name, entry in accelerators.items()
            if (count := _count(entry, body, labels)) > 0
        ),
        # Five thousand nodes share a few words.
        labels={
            sys.intern(str(key)): sys.intern(str(value))
            for key, value in labels.items()
            if key in asked or is_usual(key)
        },
        # Mistaken labels hold the version of CUDA, which has two digits.
        driver=int(branch) if branch.isdecimal() and int(branch) >= 100 else None,
        memory_bytes=int(memory) * _MIB if memory.isdecimal() and int(memory) > 0 else None,
        capacity=capacity_of(labels),
    )


def inventory_of(
    nodes: Iterable[Node],
    accelerators: Mapping[str, AcceleratorPlatform],
    topology: Topology | None = None,
) -> Inventory:
    """Count what nodes hold of each type; with a topology, on nodes that reach the volume."""
    found: dict[str, list[Node]] = {name: [] for name in accelerators}
    resting = dict.fromkeys(accelerators, 0)
    elsewhere = dict.fromkeys(accelerators, 0)
    most = dict.fromkeys(accelerators, 0)
    sums = dict.fromkeys(accelerators, 0)
    for node in nodes:
        reaches = topology is None or topology.admits(node.name, node.labels)
        for name, count in node.carries:
            if not reaches:
                elsewhere[name] += node.serves
            elif not node.serves:
                resting[name] += 1
            else:
                found[name].append(node)
                most[name] = max(most[name], count)
                sums[name] += count
    stocks = {
        name: Stock(
            nodes=len(present),
            accelerators=sums[name],
            most_on_node=most[name],
            resting=resting[name],
            elsewhere=elsewhere[name],
            drivers=frozenset(node.driver for node in present if node.driver is not None),
            memory_bytes=min(
                (node.memory_bytes for node in present if node.memory_bytes is not None),
                default=None,
            ),
        )
        for name, present in found.items()
    }
    divisible = frozenset(name for name, entry in accelerators.items() if entry.resource is None)
    return Inventory(stocks, divisible, topology)


def hints(name: str, inventory: Inventory, gpu: Gpu | None, driver: int | None) -> list[Verdict]:
    """What is wrong with the nodes of a type, as far as they and the volume tell.

    `driver` is the oldest branch that the engine's image runs with, `gpu` the catalogue's entry.
    No number of nodes is said, so that the words stay while nodes come and go.
    """
    stock = inventory.stock(name)
    found = []
    if inventory.topology is not None and not inventory.reaches(name):
        found.append(_not_on_nodes(name, inventory.topology, there=stock.elsewhere > 0))
    old = sorted(branch for branch in stock.drivers if branch < (driver or 0))
    if old:
        branches = ", ".join(str(branch) for branch in old)
        found.append(
            Verdict(
                reasons.DRIVER_TOO_OLD,
                f"Nodes with {name} have NVIDIA driver {branches}, and the engine's image needs "
                f"{driver}: the engine fails there unless the image brings a compatibility "
                "package. Give these nodes a newer driver, or set engine.image to one for this.",
            )
        )
    if gpu is not None and stock.memory_bytes is not None:
        has, says = stock.memory_bytes / 2**30, gpu.memory_bytes / 2**30
        if has < says * _SLACK:
            found.append(
                Verdict(
                    reasons.LESS_MEMORY_THAN_CATALOGUE,
                    f"A node with {name} has devices of {has:.1f} GiB, and the catalogue says "
                    f"{says:.1f} GiB: correct accelerators.{name}.hardware.memoryGiB or the "
                    "entry's nodeSelector in the chart's values.",
                )
            )
    return found


def _not_on_nodes(name: str, topology: Topology, *, there: bool) -> Verdict:
    nodes = f"the nodes with {name} are elsewhere" if there else f"no node there has {name}"
    if topology.held:
        return Verdict(
            reasons.VOLUME_NOT_ON_NODES,
            f"The volume of claim {topology.claim} goes to one node at a time (ReadWriteOnce), "
            f"pods on {topology.words} have it, and {nodes}: put the model on a claim with "
            "accessModes ReadOnlyMany or ReadWriteMany, or name the type of that node in "
            "accelerator.types.",
        )
    return Verdict(
        reasons.VOLUME_NOT_ON_NODES,
        f"The volume of claim {topology.claim} can be reached from {topology.words}, and {nodes}: "
        "name a type that is there in accelerator.types, add such a node there, or put the model "
        "on a volume that these nodes reach.",
    )


def _count(entry: AcceleratorPlatform, body: Mapping[str, Any], labels: Mapping[str, str]) -> int:
    if any(labels.get(key) != value for key, value in entry.node_selector.items()):
        return 0
    return 1 if entry.resource is None else _allocatable(body, entry.resource)


def _serves(node: Mapping[str, Any]) -> bool:
    if (node.get("spec") or {}).get("unschedulable"):
        return False
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def _allocatable(node: Mapping[str, Any], resource: str) -> int:
    amount = ((node.get("status") or {}).get("allocatable") or {}).get(resource, "0")
    try:
        return int(parse_quantity(str(amount)))
    except ValueError:
        return 0
