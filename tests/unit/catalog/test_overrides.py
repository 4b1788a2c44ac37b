"""The administrator's numbers on top of the built-in ones."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stoker.catalog.gpus import Gpu
from stoker.catalog.hardware import CatalogError
from stoker.catalog.load import builtin_gpus
from stoker.catalog.overrides import gpus_of, known_plugins, marked
from stoker.settings import AcceleratorSettings

GPUS = builtin_gpus()
GIB = 2**30
DOCUMENT = Path(__file__).parents[3] / "docs" / "catalogue.md"
NEW = {
    "memoryGiB": 32,
    "bandwidthGBs": 1792,
    "tflops": {"float16": 209, "bfloat16": 209, "fp8": 419},
    "computeCapability": "12.0",
}


def settings(**entries: Any) -> dict[str, AcceleratorSettings]:
    return {
        name.replace("_", "-"): AcceleratorSettings.model_validate(entry)
        for name, entry in entries.items()
    }


def resolved(**entries: Any) -> dict[str, Gpu]:
    return gpus_of(settings(**entries))


def test_a_known_name_is_known_hardware() -> None:
    assert resolved(nvidia_l4={}, cpu={}) == {"nvidia-l4": GPUS["nvidia-l4"], "cpu": GPUS["cpu"]}


def test_an_unknown_name_without_hardware_is_not_planned_for() -> None:
    assert resolved(nvidia={"resource": "nvidia.com/gpu"}, our_tpu={"resource": "x.com/tpu"}) == {}


def test_a_price_alone_changes_nothing_else() -> None:
    gpu = resolved(nvidia_l4={"hardware": {"pricePerHour": 0.71}})["nvidia-l4"]
    assert gpu.price_per_hour == 0.71
    assert gpu.spot_price_per_hour == GPUS["nvidia-l4"].spot_price_per_hour
    assert (gpu.memory_bytes, gpu.flops) == (
        GPUS["nvidia-l4"].memory_bytes,
        GPUS["nvidia-l4"].flops,
    )


def test_memory_that_is_said_is_what_a_process_sees() -> None:
    gpu = resolved(cpu={"hardware": {"memoryGiB": 24}})["cpu"]
    assert gpu.memory_bytes == gpu.visible_bytes == 24 * GIB
    assert gpu.shared_memory
    gpu = resolved(nvidia_l4={"hardware": {"memoryGiB": 21.5}})["nvidia-l4"]
    assert gpu.visible_bytes == int(21.5 * GIB)


def test_every_field_may_be_overridden() -> None:
    gpu = resolved(
        nvidia_l4={
            "hardware": {
                "vendor": "nvidia", "memoryGiB": 10, "bandwidthGBs": 100, "tflops": {"fp8": 1},
                "linkGBs": 5, "linkKind": "nvlink", "mostPerNode": 3, "computeCapability": "9.0",
                "pricePerHour": 1, "spotPricePerHour": 0.5,
            }
        }
    )["nvidia-l4"]  # fmt: skip
    assert gpu == Gpu(
        "nvidia-l4", "nvidia", 10 * GIB, 100e9, {"fp8": 1e12}, 5e9, "nvlink", 3, (9, 0), 1, 0.5
    )


def test_a_new_type_says_all_that_a_plan_needs() -> None:
    entry = {"resource": "nvidia.com/gpu", "hardware": NEW}
    gpu = resolved(nvidia_rtx_5090=entry)["nvidia-rtx-5090"]
    assert (gpu.vendor, gpu.memory_bytes, gpu.flops["fp8"]) == ("nvidia", 32 * GIB, 419e12)
    assert (gpu.link, gpu.link_kind, gpu.most_per_node) == (0.0, "none", 1)
    assert gpu.price_per_hour is None


def test_time_slices_are_like_a_type_and_share_it() -> None:
    entries = settings(
        nvidia_l4={
            "resource": "nvidia.com/gpu",
            "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L4"},
            "hardware": {"pricePerHour": 0.8},
        },
        my_l4_shared={"like": "nvidia-l4", "share": 0.25, "resource": "nvidia.com/gpu.shared"},
    )
    gpu, whole = gpus_of(entries)["my-l4-shared"], GPUS["nvidia-l4"]
    assert gpu.visible_bytes == pytest.approx(whole.visible_bytes / 4, abs=2)
    assert gpu.bandwidth == whole.bandwidth / 4
    assert gpu.price_per_hour == pytest.approx(0.2)  # of the administrator's price
    assert (gpu.most_per_node, gpu.link_kind) == (1, "none")
    assert gpu.compute_capability == (8, 9)
    entry = marked("my-l4-shared", entries)
    assert entry.resource == "nvidia.com/gpu.shared"
    assert entry.node_selector == {"nvidia.com/gpu.product": "NVIDIA-L4"}


def test_like_takes_resource_labels_and_tolerations_along() -> None:
    entries = settings(
        mine={"like": "nvidia-h200", "hardware": {"pricePerHour": 2}},
        other={"like": "mine", "nodeSelector": {"pool": "gold"}},
        chips={"like": "amd-mi300x"},
        small={"like": "cpu", "hardware": {"memoryGiB": 8}},
    )
    entry = marked("mine", entries)
    assert entry.resource == "nvidia.com/gpu"
    assert entry.node_selector == {"nvidia.com/gpu.product": "NVIDIA-H200"}
    assert [each.key for each in entry.tolerations] == ["nvidia.com/gpu"]
    assert marked("other", entries).node_selector == {"pool": "gold"}
    assert marked("other", entries).resource == "nvidia.com/gpu"
    assert marked("chips", entries).resource == "amd.com/gpu"
    assert [each.key for each in marked("chips", entries).tolerations] == ["amd.com/gpu"]
    assert marked("small", entries).resource is None
    assert gpus_of(entries)["other"].price_per_hour == 2


def test_a_known_name_may_be_like_itself_or_like_another() -> None:
    gpus = resolved(nvidia_l4={"like": "nvidia-l4", "share": 0.5}, nvidia_t4={"like": "nvidia-l4"})
    assert gpus["nvidia-l4"].bandwidth == GPUS["nvidia-l4"].bandwidth / 2
    assert gpus["nvidia-t4"].flops == gpus["nvidia-l4"].flops
    entries = settings(nvidia_l4={"like": "nvidia-l4"})
    assert marked("nvidia-l4", entries).resource == "nvidia.com/gpu"


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (
            {"mine": {"like": "nvidia-l4s"}},
            ["accelerators.mine.like: there is no type 'nvidia-l4s'", "did you mean nvidia-l4"],
        ),
        ({"mine": {"like": "zzz"}}, ["accelerators.mine.like:", "known: amd-mi300x, cpu,"]),
        ({"a": {"like": "b"}, "b": {"like": "a"}}, [".like: a → b → a leads back to itself"]),
        ({"a": {"like": "a"}}, ["accelerators.a.like: there is no type 'a'"]),
        (
            {"mine": {"hardware": {"pricePerHour": 2}}},
            ["accelerators.mine.hardware:", "vendor, memoryGiB, bandwidthGBs, tflops", "`like:`"],
        ),
        (
            {
                "mine": {
                    "resource": "nvidia.com/gpu",
                    "hardware": {**NEW, "computeCapability": None},
                }
            },
            ["needs computeCapability"],
        ),
        ({"mine": {"like": "nvidia", "hardware": NEW}, "nvidia": {}}, ["mine.like:", "'nvidia'"]),
        ({"mine": {"share": 0.5}}, ["accelerators.mine.share: of what?"]),
        (
            {"mine": {"like": "x"}, "yours": {"like": "y"}},
            ["accelerators.mine.like:", "accelerators.yours.like:"],
        ),
    ],
)
def test_a_slip_names_entry_and_remedy(entries: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(CatalogError) as caught:
        resolved(**entries)
    for word in words:
        assert word in str(caught.value)


def documented() -> list[dict[str, Any]]:
    text = DOCUMENT.read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    values = [yaml.safe_load(block) for block in blocks]
    return [each["accelerators"] for each in values if "accelerators" in each]


def test_plugins_are_packages_that_a_technique_needs() -> None:
    assert known_plugins("vllm", []) == ()
    given = ["fastsafetensors", "vllm-bnb-plugin", "fastsafetensors"]
    assert known_plugins("vllm", given) == ("fastsafetensors", "vllm-bnb-plugin")
    with pytest.raises(CatalogError, match=r"vllm-bnb-plugin .for bitsandbytes") as caught:
        known_plugins("vllm", ["bitsandbytes"])
    assert str(caught.value).startswith("engines.vllm.plugins:")
    with pytest.raises(CatalogError, match="known: none"):
        known_plugins("sglang", ["fastsafetensors"])
    (shown,) = re.findall(r"plugins: \[(.*)\]", DOCUMENT.read_text(encoding="utf-8"))
    assert known_plugins("vllm", shown.split(", "))


def test_the_document_shows_what_works() -> None:
    shown = documented()
    assert len(shown) == 5
    for example in shown:
        (name,) = example
        entries = {name: AcceleratorSettings.model_validate(example[name])}
        gpu = gpus_of(entries)[name]
        assert gpu.name == name
        # All but the price name nodes, or take them from what they are like.
        assert bool(marked(name, entries).node_selector) == (name != "nvidia-l4")
    own = gpus_of({n: AcceleratorSettings.model_validate(e) for s in shown for n, e in s.items()})
    assert own["nvidia-l4-shared"].price_per_hour == pytest.approx(0.71 / 4)
    assert own["nvidia-rtx-5090"].compute_capability == (12, 0)


SPOT = {"nvidia.com/gpu.product": "NVIDIA-L4", "karpenter.sh/capacity-type": "spot"}


@pytest.mark.parametrize(
    ("hardware", "price"),
    [
        ({}, GPUS["nvidia-l4"].spot_price_per_hour),
        ({"spotPricePerHour": 0.3}, 0.3),
        ({"pricePerHour": 0.28}, 0.28),  # of an entry for spot nodes alone
        ({"pricePerHour": 0.71, "spotPricePerHour": 0.3}, 0.3),
    ],
)
def test_an_entry_for_spot_nodes_costs_the_spot_price(
    hardware: dict[str, float], price: float
) -> None:
    entry = {"like": "nvidia-l4", "nodeSelector": SPOT, "hardware": hardware}
    found = resolved(nvidia_l4_spot=entry, nvidia_l4={})
    spot = found["nvidia-l4-spot"]
    assert (spot.price_per_hour, spot.spot_price_per_hour) == (price, price)
    assert found["nvidia-l4"] == GPUS["nvidia-l4"]


def test_an_entry_like_one_for_spot_nodes_is_for_spot_nodes_too() -> None:
    entry = {"like": "nvidia-l4", "nodeSelector": SPOT, "hardware": {"spotPricePerHour": 0.4}}
    half = {"like": "nvidia-l4-spot", "share": 0.5}
    found = resolved(nvidia_l4_spot=entry, half=half)
    assert found["half"].price_per_hour == pytest.approx(0.2)
