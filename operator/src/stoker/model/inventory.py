"""What the cluster really has of each accelerator type, read from its nodes.

It only orders choices. A type that has no node yet is still planned and its pod made, or a node
group that is at zero would never wake. What is counted is what pods may ask for: `allocatable`, as
the device plugins of NVIDIA and AMD fill it; labels are those of NVIDIA's GPU feature discovery and
AMD's node labeller, where they are there. Taints are not looked at: who may tolerate which is the
user's template's affair. Extended resources that DRA serves are in no node's `allocatable`, so a
type of that kind always counts as absent.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from stoker.catalog.gpus import Gpu
from stoker.model.plan import Verdict
from stoker.model.platform import AcceleratorPlatform
from stoker.quantity import parse_quantity

DRIVER_TOO_OLD: Final = "DriverTooOld"
LESS_MEMORY: Final = "LessMemoryThanCatalogue"

# Newer versions of GPU feature discovery write both, older ones the second alone.
_DRIVER_LABELS: Final = ("nvidia.com/cuda.driver-version.major", "nvidia.com/cuda.driver.major")
_MEMORY_LABEL: Final = "nvidia.com/gpu.memory"  # MiB of one whole device
_MIB: Final = 2**20
# Drivers differ by about half a gigabyte of 24 in what they report; another product by far more.
_SLACK: Final = 0.95


@dataclass(frozen=True, slots=True)
class Stock:
    """What there is of one type. Processors (`cpu`) are counted in nodes."""

    nodes: int = 0  # that are ready and schedulable
    accelerators: int = 0  # allocatable on them
    most_on_node: int = 0
    free: int | None = None  # of them, not asked for by any pod; None where nobody counted
    most_free_on_node: int | None = None
    # NVIDIA driver branch → nodes that have it, where labels tell.
    drivers: Mapping[int, int] = field(default_factory=dict, hash=False)
    memory_bytes: int | None = None  # of the smallest whole device, where labels tell
    divisible: bool = False  # any number of ranks shares a node: processors


@dataclass(frozen=True, slots=True)
class Inventory:
    """What the cluster has, by the names of the administrator's catalogue."""

    stocks: Mapping[str, Stock] = field(default_factory=dict, hash=False)

    def stock(self, name: str) -> Stock:
        """What there is of a type; nothing where it was not looked for."""
        return self.stocks.get(name, Stock())

    def rank(self, name: str, per_node: int) -> int:
        """How soon `per_node` accelerators on one node can be had: smaller is sooner.

        0: free now (or nobody counted), 1: there and in use, 2: the type is there, but no node
        has so many, 3: no node has the type.
        """
        stock = self.stock(name)
        if stock.nodes == 0:
            return 3
        if stock.most_on_node < per_node and not stock.divisible:
            return 2
        free = stock.most_free_on_node
        return 0 if free is None or free >= per_node else 1


def inventory_of(
    nodes: Iterable[Mapping[str, Any]],
    accelerators: Mapping[str, AcceleratorPlatform],
    used: Mapping[str, Mapping[str, int]] | None = None,
) -> Inventory:
    """Count what node bodies, as the API server gives them, hold of each type.

    `used` gives, by node, how many of each resource pods ask for; without it nothing is known to
    be free. Nodes that are cordoned or not ready count nothing.
    """
    present = [node for node in nodes if _serves(node)]
    return Inventory({name: _stock(entry, present, used) for name, entry in accelerators.items()})


def hints(name: str, stock: Stock, gpu: Gpu | None, driver: int | None) -> tuple[Verdict, ...]:
    """What is wrong with the nodes of a type, as far as their labels tell.

    `driver` is the oldest branch that the engine's image runs with, `gpu` the catalogue's entry.
    """
    found = []
    old = {branch: count for branch, count in stock.drivers.items() if branch < (driver or 0)}
    if old:
        branches = ", ".join(str(branch) for branch in sorted(old))
        nodes = f"{sum(old.values())} of {stock.nodes} nodes with {name}"
        found.append(
            Verdict(
                DRIVER_TOO_OLD,
                f"{nodes} have NVIDIA driver {branches}, and the engine's image needs {driver}: "
                "the engine fails there unless the image brings a compatibility package.",
            )
        )
    if gpu is not None and stock.memory_bytes is not None:
        has, says = stock.memory_bytes / 2**30, gpu.memory_bytes / 2**30
        if has < says * _SLACK:
            found.append(
                Verdict(
                    LESS_MEMORY,
                    f"a node with {name} has devices of {has:.1f} GiB, and the catalogue says "
                    f"{says:.1f} GiB: correct accelerators.{name}.hardware.memoryGiB or the "
                    "entry's nodeSelector.",
                )
            )
    return tuple(found)


def _stock(
    entry: AcceleratorPlatform,
    nodes: Iterable[Mapping[str, Any]],
    used: Mapping[str, Mapping[str, int]] | None,
) -> Stock:
    counts: list[int] = []
    free: list[int] = []
    drivers: dict[int, int] = {}
    memories: list[int] = []
    for node in nodes:
        labels = _labels(node)
        if any(labels.get(key) != value for key, value in entry.node_selector.items()):
            continue
        count = 1 if entry.resource is None else _allocatable(node, entry.resource)
        if count < 1:
            continue
        counts.append(count)
        if entry.resource is not None and used is not None:
            name = node.get("metadata", {}).get("name", "")
            free.append(max(0, count - used.get(name, {}).get(entry.resource, 0)))
        branch = next((n for n in map(labels.get, _DRIVER_LABELS) if n), "")
        # Mistaken labels hold the version of CUDA, which has two digits.
        if branch.isdecimal() and int(branch) >= 100:
            drivers[int(branch)] = drivers.get(int(branch), 0) + 1
        memory = labels.get(_MEMORY_LABEL, "")
        if memory.isdecimal() and int(memory) > 0:
            memories.append(int(memory) * _MIB)
    counted = used is not None and entry.resource is not None
    return Stock(
        nodes=len(counts),
        accelerators=sum(counts),
        most_on_node=max(counts, default=0),
        free=sum(free) if counted else None,
        most_free_on_node=max(free, default=0) if counted else None,
        drivers=dict(sorted(drivers.items())),
        memory_bytes=min(memories, default=None),
        divisible=entry.resource is None,
    )


def _serves(node: Mapping[str, Any]) -> bool:
    if (node.get("spec") or {}).get("unschedulable"):
        return False
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def _labels(node: Mapping[str, Any]) -> Mapping[str, str]:
    return (node.get("metadata") or {}).get("labels") or {}


def _allocatable(node: Mapping[str, Any], resource: str) -> int:
    amount = ((node.get("status") or {}).get("allocatable") or {}).get(resource, "0")
    try:
        return int(parse_quantity(str(amount)))
    except ValueError:
        return 0
