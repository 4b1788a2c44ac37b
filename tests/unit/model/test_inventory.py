"""What nodes say about the accelerators that they carry."""

from typing import Any

import pytest

from stoker.catalog.load import builtin_gpus
from stoker.model.inventory import Inventory, Stock, hints, inventory_of
from stoker.model.platform import AcceleratorPlatform

PRODUCT = "nvidia.com/gpu.product"
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


def test_counts_by_type() -> None:
    inventory = inventory_of(
        [
            node("a", L4, gpu="4", cpu="16"),
            node("b", L4, gpu="8", cpu="32"),
            node("c", {PRODUCT: "NVIDIA-H100-80GB-HBM3"}, mig="7", gpu="6"),
            node("d", {"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM"}, amd="8"),
            node("e", cpu="64"),
        ],
        ENTRIES,
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
    assert inventory.stock("nvidia-l4").free is None
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
    stock = inventory_of([lost], ENTRIES).stock("nvidia-l4")
    assert (stock.nodes, stock.accelerators, stock.most_on_node) == (0, 0, 0)


def test_what_pods_ask_for_is_not_free() -> None:
    nodes = [node("a", L4, gpu="4"), node("b", L4, gpu="8")]
    used = {"a": {"nvidia.com/gpu": 1}, "b": {"nvidia.com/gpu": 9, "amd.com/gpu": 3}}
    stock = inventory_of(nodes, ENTRIES, used).stock("nvidia-l4")
    assert (stock.free, stock.most_free_on_node) == (3, 3)


def test_order_of_choices() -> None:
    nodes = [node("a", L4, gpu="4"), node("b", gpu="1")]
    inventory = inventory_of(nodes, ENTRIES, {"a": {"nvidia.com/gpu": 2}})
    assert [inventory.rank("nvidia-l4", count) for count in (1, 2, 3, 4, 5)] == [0, 0, 1, 1, 2]
    assert inventory.rank("amd-mi300x", 1) == 3
    assert inventory.rank("cpu", 2) == 0
    uncounted = inventory_of(nodes, ENTRIES)
    assert uncounted.rank("nvidia-l4", 4) == 0
    assert Inventory().rank("nvidia-l4", 1) == 3


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
    stock = inventory_of(nodes, ENTRIES).stock("nvidia-l4")
    assert stock.drivers == {535: 1, 580: 1}
    (hint,) = hints("nvidia-l4", stock, gpu, 580)
    assert hint.reason == "DriverTooOld"
    assert "1 of 4 nodes with nvidia-l4 have NVIDIA driver 535" in hint.message
    assert hints("nvidia-l4", stock, gpu, 535) == ()
    assert hints("nvidia-l4", stock, gpu, None) == ()
    assert hints("nvidia-l4", Stock(), None, 580) == ()


def test_devices_that_are_smaller_than_the_catalogue_says_are_told() -> None:
    gpu = builtin_gpus()["nvidia-a100-80gb"]
    whole = Stock(nodes=1, memory_bytes=81920 * 2**20)
    half = Stock(nodes=1, memory_bytes=40960 * 2**20)
    assert hints("a100", whole, gpu, None) == ()
    (hint,) = hints("a100", half, gpu, None)
    assert hint.reason == "LessMemoryThanCatalogue"
    assert "40.0 GiB" in hint.message
    assert "accelerators.a100.hardware.memoryGiB" in hint.message
    slice_of_it = builtin_gpus()["nvidia-a100-80gb-mig-1g-10gb"]
    assert hints("slice", whole, slice_of_it, None) == ()
