"""What nodes say about the accelerators that they carry."""

from typing import Any

import pytest

from stoker.catalog.load import builtin_gpus
from stoker.model import topology
from stoker.model.inventory import Inventory, Stock, Supply, hints, inventory_of, node_of
from stoker.model.platform import AcceleratorPlatform
from stoker.model.topology import Topology

PRODUCT = "nvidia.com/gpu.product"
ZONE = "topology.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"
ENTRIES = {
    entry.name: entry
    for entry in (
        AcceleratorPlatform("cpu", None),
        AcceleratorPlatform("nvidia", "nvidia.com/gpu"),
        AcceleratorPlatform("nvidia-l4", "nvidia.com/gpu", {PRODUCT: "NVIDIA-L4"}),
        AcceleratorPlatform("mig", "nvidia.com/mig-1g.10gb", {PRODUCT: "NVIDIA-H100-80GB-HBM3"}),
        AcceleratorPlatform(
            "amd-mi300x", "amd.com/gpu", {"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM"}
        ),
    )
}
L4 = {PRODUCT: "NVIDIA-L4", "nvidia.com/gpu.memory": "23034"}


def node(
    name: str,
    labels: dict[str, str] | None = None,
    *,
    ready: str = "True",
    cordoned: bool = False,
    **allocatable: str,
) -> dict[str, Any]:
    resources = {"gpu": "nvidia.com/gpu", "mig": "nvidia.com/mig-1g.10gb", "amd": "amd.com/gpu"}
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {
            "allocatable": {resources.get(key, key): value for key, value in allocatable.items()},
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def zoned(zone: str, claim: str = "models") -> Topology:
    required = {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": ZONE, "operator": "In", "values": [zone]}]}
        ]
    }
    found = topology.of_volume({"spec": {"nodeAffinity": {"required": required}}}, claim)
    assert found is not None
    return found


def counted(bodies: list[dict[str, Any]], place: Topology | None = None) -> Inventory:
    return inventory_of([node_of(body, ENTRIES) for body in bodies], ENTRIES, place)


def test_counts_by_type() -> None:
    inventory = counted(
        [
            node("a", L4, gpu="4", cpu="16"),
            node("b", L4, gpu="8", cpu="32"),
            node("c", {PRODUCT: "NVIDIA-H100-80GB-HBM3"}, mig="7", gpu="6"),
            node("d", {"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM"}, amd="8"),
            node("e", cpu="64"),
        ]
    )
    found = {
        name: (s.nodes, s.accelerators, s.most_on_node) for name, s in inventory.stocks.items()
    }
    assert found == {
        "cpu": (5, 5, 1),
        "nvidia": (3, 18, 8),
        "nvidia-l4": (2, 12, 8),
        "mig": (1, 7, 7),
        "amd-mi300x": (1, 8, 8),
    }
    assert inventory.stock("nvidia-l4").memory_bytes == 23034 * 2**20
    assert inventory.stock("never-heard-of") == Stock()


@pytest.mark.parametrize(
    "lost",
    [
        node("a", L4, cordoned=True, gpu="8"),
        node("a", L4, ready="False", gpu="8"),
        node("a", L4, ready="Unknown", gpu="8"),
        node("a", L4, gpu="0"),
        node("a", L4),
        node("a", L4, gpu="many"),
        node("a", {PRODUCT: "NVIDIA-L4-SHARED"}, gpu="8"),
        node("a", gpu="8"),
        {},
        {"metadata": {"labels": None}, "status": {"conditions": None}, "spec": None},
    ],
)
def test_nodes_that_serve_nothing_of_the_type(lost: dict[str, Any]) -> None:
    stock = counted([lost]).stock("nvidia-l4")
    assert (stock.nodes, stock.accelerators, stock.most_on_node) == (0, 0, 0)


def test_order_of_choices() -> None:
    inventory = counted([node("a", L4, gpu="4"), node("b", gpu="1")])
    supply = inventory.supply(["nvidia-l4", "amd-mi300x", "cpu"])
    assert [supply.rank("nvidia-l4", count) for count in (1, 4, 5)] == [0, 0, 1]
    assert supply.rank("amd-mi300x", 1) == 2
    assert supply.rank("cpu", 64) == 0
    assert supply.rank("never-heard-of", 1) == 2
    assert Inventory().supply(["nvidia-l4"]).rank("nvidia-l4", 1) == 2


def test_what_orders_choices_stays_while_nodes_come_and_go() -> None:
    few = [node("a", L4, gpu="4"), node("b", gpu="1")]
    many = [*few, node("c", L4, gpu="4"), node("d", L4, gpu="2"), node("e", cpu="4")]
    names = list(ENTRIES)
    assert counted(few).supply(names) == counted(many).supply(names)
    assert hash(counted(few).supply(names)) == hash(counted(many).supply(names))


def test_a_status_keeps_what_ordered_the_choices() -> None:
    supply = Supply((("nvidia-l4", 4), ("amd-mi300x", 0), ("mig", -1)))
    assert Supply.from_json(supply.to_json()) == supply
    for nonsense in (None, "", "{}", "[]", "3", '{"a": "b"}', '{"a": null}', "{", {"a": 1}):
        assert Supply.from_json(nonsense) is None


def test_a_heartbeat_and_what_nobody_needs_make_no_other_node() -> None:
    first = node("a", {**L4, ZONE: "z1", "feature.node.kubernetes.io/cpu-model": "7"}, gpu="4")
    later = node("a", {**L4, ZONE: "z1", "feature.node.kubernetes.io/cpu-model": "8"}, gpu="4")
    later["metadata"]["resourceVersion"] = "77"
    later["status"]["images"] = [{"names": ["registry/engine:1"], "sizeBytes": 1}]
    later["status"]["conditions"].append({"type": "DiskPressure", "status": "False"})
    later["status"]["conditions"][0]["lastHeartbeatTime"] = "2026-01-01T00:00:00Z"
    kept = node_of(first, ENTRIES)
    assert kept == node_of(later, ENTRIES)
    assert kept.labels == {ZONE: "z1"}
    asked = node_of(first, ENTRIES, {"feature.node.kubernetes.io/cpu-model"})
    assert asked.labels["feature.node.kubernetes.io/cpu-model"] == "7"


def test_nodes_that_the_volume_cannot_reach_come_last() -> None:
    here = node("a", {ZONE: "z1"}, gpu="1")
    there = node("b", {**L4, ZONE: "z2"}, gpu="8")
    inventory = counted([here, there], zoned("z1"))
    stock = inventory.stock("nvidia-l4")
    assert (stock.nodes, stock.elsewhere, stock.most_on_node) == (0, 1, 0)
    supply = inventory.supply(["nvidia-l4", "nvidia", "amd-mi300x", "cpu"])
    assert dict(supply.most_on_node) == {
        "nvidia-l4": -1,
        "nvidia": 1,
        "amd-mi300x": 0,
        "cpu": 2**16,
    }
    ranks = [supply.rank(name, 1) for name in ("nvidia", "amd-mi300x", "nvidia-l4")]
    assert ranks == [0, 2, 3]


def test_a_volume_on_one_node_waits_for_that_node_and_for_no_new_one() -> None:
    local = Topology(((topology.Requirement(HOST, "In", ("a",)),),), "models")
    up = node("a", {**L4, HOST: "a"}, gpu="1")
    down = node("a", {**L4, HOST: "a"}, gpu="1", ready="Unknown")
    names = ["nvidia-l4", "amd-mi300x"]
    assert counted([up], local).supply(names).most_on_node == (("nvidia-l4", 1), ("amd-mi300x", -1))
    assert counted([down], local).supply(names).most_on_node == (
        ("nvidia-l4", 0),
        ("amd-mi300x", -1),
    )


def test_a_volume_out_of_reach_is_told_with_its_place() -> None:
    there = [node("b", {**L4, ZONE: "z2"}, gpu="8")]
    (hint,) = hints("nvidia-l4", counted(there, zoned("z1")), None, None)
    assert hint.reason == "VolumeNotOnNodes"
    assert "claim models can be reached from zone z1" in hint.message
    assert "the nodes with nvidia-l4 are elsewhere" in hint.message
    assert "accelerator.types" in hint.message
    assert hints("nvidia-l4", counted(there, zoned("z2")), None, None) == []
    # No node yet: one may come there.
    assert hints("amd-mi300x", counted(there, zoned("z1")), None, None) == []
    held = topology.anywhere("models").held_on(["c", "a"])
    (hint,) = hints("nvidia-l4", counted(there, held), None, None)
    assert "pods on node a/c have it" in hint.message
    assert "ReadOnlyMany" in hint.message
    (hint,) = hints("amd-mi300x", counted(there, held), None, None)
    assert "no node there has amd-mi300x" in hint.message


def test_an_old_driver_is_told() -> None:
    gpu = builtin_gpus()["nvidia-l4"]
    nodes = [
        node("a", {**L4, "nvidia.com/cuda.driver.major": "535"}, gpu="1"),
        node(
            "b",
            {
                **L4,
                "nvidia.com/cuda.driver-version.major": "580",
                "nvidia.com/cuda.driver.major": "535",
            },
            gpu="1",
        ),
        node("c", {**L4, "nvidia.com/cuda.driver.major": "12"}, gpu="1"),
        node("d", {**L4, "nvidia.com/cuda.driver.major": "new"}, gpu="1"),
    ]
    inventory = counted(nodes)
    assert inventory.stock("nvidia-l4").drivers == {535, 580}
    (hint,) = hints("nvidia-l4", inventory, gpu, 580)
    assert hint.reason == "DriverTooOld"
    assert "Nodes with nvidia-l4 have NVIDIA driver 535, and" in hint.message
    assert hints("nvidia-l4", inventory, gpu, 535) == []
    assert hints("nvidia-l4", inventory, gpu, None) == []
    assert hints("nvidia-l4", Inventory(), None, 580) == []


def test_devices_that_are_smaller_than_the_catalogue_says_are_told() -> None:
    gpu = builtin_gpus()["nvidia-a100-80gb"]
    whole = Inventory({"a100": Stock(nodes=1, memory_bytes=81920 * 2**20)})
    half = Inventory({"a100": Stock(nodes=1, memory_bytes=40960 * 2**20)})
    assert hints("a100", whole, gpu, None) == []
    (hint,) = hints("a100", half, gpu, None)
    assert hint.reason == "LessMemoryThanCatalogue"
    assert "40.0 GiB" in hint.message
    assert "accelerators.a100.hardware.memoryGiB" in hint.message
    slice_of_it = builtin_gpus()["nvidia-a100-80gb-mig-1g-10gb"]
    assert hints("slice", Inventory({"slice": whole.stock("a100")}), slice_of_it, None) == []
