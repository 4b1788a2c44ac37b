"""The catalogue of accelerators: plausible, well named, in step with the chart."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stoker.catalog.gpus import Gpu
from stoker.catalog.hardware import CatalogError
from stoker.catalog.load import builtin_gpus, builtin_marks, parse_gpus
from stoker.reconcile.platform import platform_of
from stoker.settings import load_settings

GPUS = builtin_gpus()
VALUES = Path(__file__).parents[3] / "charts" / "stoker" / "values.yaml"
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
GIB = 2**30
GENERATIONS = {
    (7, 0): "Volta", (7, 5): "Turing", (8, 0): "Ampere", (8, 6): "Ampere", (8, 9): "Ada",
    (9, 0): "Hopper", (10, 0): "Blackwell", (12, 0): "Blackwell",
}  # fmt: skip
# What a data centre's, a workstation's and a gamer's card has cost per hour between 2024 and 2026.
PRICES = (0.05, 20.0)


def entry(**fields: Any) -> dict[str, Any]:
    complete = {
        "vendor": "nvidia", "memoryMiB": 1024, "bandwidthGBs": 100, "tflops": {"float16": 1},
        "computeCapability": "8.0", "source": "test",
    }  # fmt: skip
    return {name: value for name, value in {**complete, **fields}.items() if value is not None}


@pytest.mark.parametrize("name", GPUS)
def test_names_are_those_that_a_service_may_write(name: str) -> None:
    assert NAME.fullmatch(name)
    assert len(name) <= 63
    assert name == "cpu" or name.startswith(f"{GPUS[name].vendor}-")
    assert GPUS[name].name == name


@pytest.mark.parametrize("gpu", GPUS.values(), ids=GPUS)
def test_numbers_are_plausible(gpu: Gpu) -> None:
    assert 8 * GIB <= gpu.memory_bytes <= 300 * GIB
    # Firmware and driver keep between nothing and a gigabyte, or 6 % of a small card.
    kept = gpu.memory_bytes - gpu.visible_bytes
    assert 0 <= kept <= max(1.0 * GIB, 0.06 * gpu.memory_bytes)
    assert 10e9 <= gpu.bandwidth <= 10e12
    assert gpu.flops["float32"] >= 1e12
    assert all(1e12 <= rate <= 1e16 for rate in gpu.flops.values())
    # The slowest card reads its memory in 8 s, the fastest in 10 ms.
    assert 0.01 <= gpu.memory_bytes / gpu.bandwidth <= 8 or gpu.vendor == "cpu"
    assert 1 <= gpu.most_per_node <= 8
    if gpu.most_per_node > 1:
        assert 10e9 <= gpu.link <= 1e12
        assert gpu.link_kind != "none"
    else:
        assert gpu.link == 0
        assert gpu.link_kind == "none"


@pytest.mark.parametrize("gpu", GPUS.values(), ids=GPUS)
def test_rates_are_dense_and_follow_the_generation(gpu: Gpu) -> None:
    flops = gpu.flops
    if gpu.vendor == "cpu":
        return
    # Half the bits, twice the rate: a table with sparsity in one row alone would show here.
    if "fp8" in flops:
        assert flops["fp8"] / flops["float16"] == pytest.approx(2, rel=0.03)
    if "fp4" in flops:
        assert flops["fp4"] / flops["fp8"] == pytest.approx(2, rel=0.03)
    if "int8" in flops:
        # GeForce counts integers at the full rate and floats with 32-bit accumulation at half.
        assert flops["int8"] / flops["float16"] == pytest.approx(
            4 if "rtx" in gpu.name and "pro" not in gpu.name else 2, rel=0.03
        )
    if "bfloat16" in flops:
        assert flops["bfloat16"] == flops["float16"]
    if gpu.vendor != "nvidia":
        assert gpu.compute_capability is None
        return
    assert gpu.compute_capability in GENERATIONS
    assert ("bfloat16" in flops) == (gpu.compute_capability >= (8, 0))
    assert ("fp8" in flops) == (gpu.compute_capability >= (8, 9))
    assert ("fp4" in flops) == (gpu.compute_capability >= (10, 0))
    assert ("int8" in flops) == (gpu.compute_capability >= (7, 5))


@pytest.mark.parametrize("gpu", GPUS.values(), ids=GPUS)
def test_prices_are_positive_and_spot_is_cheaper(gpu: Gpu) -> None:
    assert gpu.price_per_hour is not None
    assert gpu.spot_price_per_hour is not None
    assert PRICES[0] <= gpu.price_per_hour <= PRICES[1]
    assert gpu.spot_price_per_hour == pytest.approx(0.4 * gpu.price_per_hour, rel=0.01)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ("nvidia-l4", "nvidia-l40s"),
        ("nvidia-a100-40gb", "nvidia-a100-80gb"),
        ("nvidia-a100-80gb-pcie", "nvidia-h100-80gb-pcie"),
        ("nvidia-h100-80gb-pcie", "nvidia-h100-80gb"),
        ("nvidia-h100-80gb", "nvidia-h200"),
        ("nvidia-h200", "nvidia-b200"),
        ("nvidia-rtx-3060", "nvidia-rtx-4070"),
        ("nvidia-rtx-4070", "nvidia-rtx-4080"),
        ("nvidia-rtx-4080", "nvidia-rtx-4090"),
        ("nvidia-v100-16gb", "nvidia-v100-32gb"),
        ("nvidia-a100-80gb-mig-1g-10gb", "nvidia-a100-80gb-mig-2g-20gb"),
        ("nvidia-a100-80gb-mig-2g-20gb", "nvidia-a100-80gb-mig-3g-40gb"),
        ("nvidia-a100-80gb-mig-3g-40gb", "nvidia-a100-80gb"),
        ("nvidia-h100-80gb-mig-3g-40gb", "nvidia-h100-80gb"),
    ],
)
def test_more_money_buys_no_less(less: str, more: str) -> None:
    small, large = GPUS[less], GPUS[more]
    assert small.bandwidth <= large.bandwidth
    assert small.flops["float16"] <= large.flops["float16"]
    assert (small.price_per_hour or 0) < (large.price_per_hour or math.inf)


def test_the_published_numbers_are_there() -> None:
    """A few that other sources state exactly; they guard against a slip of the hand."""
    mib = {name: gpu.memory_bytes / 2**20 for name, gpu in GPUS.items()}
    assert mib["nvidia-h100-80gb"] == 81559
    assert mib["nvidia-l40s"] == 46068
    assert mib["nvidia-rtx-pro-6000"] == 97887
    assert mib["nvidia-b200"] == 183359
    assert mib["nvidia-rtx-4090"] == 24564
    assert GPUS["nvidia-h100-80gb"].visible_bytes == pytest.approx(79.1 * GIB, rel=1e-6)
    assert GPUS["nvidia-h100-80gb"].flops["bfloat16"] == 989e12
    assert GPUS["nvidia-l4"].flops["bfloat16"] == 121e12
    assert GPUS["nvidia-l4"].compute_capability == (8, 9)
    assert GPUS["amd-mi300x"].link == 448e9


def test_a_slice_is_part_of_its_whole_and_alone() -> None:
    whole, part = GPUS["nvidia-h100-80gb"], GPUS["nvidia-h100-80gb-mig-1g-10gb"]
    assert part.bandwidth == whole.bandwidth / 8
    assert part.flops["fp8"] == pytest.approx(whole.flops["fp8"] * 16 / 132, rel=0.01)
    assert part.compute_capability == whole.compute_capability
    assert part.most_per_node == 1


def test_the_chart_offers_every_type_as_the_vendors_label_it(tmp_path: Path) -> None:
    values = yaml.safe_load(VALUES.read_text())
    offered = values["accelerators"]
    assert set(offered) == {*GPUS, "nvidia"}
    assert list(offered) == ["cpu", "nvidia", *(name for name in GPUS if name != "cpu")]
    for name, marks in builtin_marks().items():
        assert offered[name].get("resource") == marks.resource
        selector = offered[name].get("nodeSelector", {})
        assert selector == ({marks.label: marks.products[0]} if marks.label else {})
        assert bool(offered[name].get("tolerations")) == (marks.resource is not None)
    config = {
        "images": {"worker": "w", "envoy": "e", "picker": "p"},
        "engines": {"vllm": {"image": "v"}},
        "accelerators": offered,
        "defaultAccelerator": values["defaultAccelerator"],
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    platform = platform_of(load_settings(file), "stoker-system")
    assert platform.gpus == GPUS
    assert "nvidia" in platform.accelerators


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "gpus.yaml: must be a mapping"),
        ({"a": entry(bandwidth=3)}, "a.bandwidth: Extra inputs are not permitted"),
        ({"a": entry(memoryMiB=None)}, "a: memoryMiB is missing"),
        ({"a": entry(visibleGiB=2)}, "a: memoryMiB is missing or smaller than visibleGiB"),
        ({"a": entry(tflops=None)}, "a.hardware: a type that Stoker does not know needs tflops"),
        ({"a": entry(computeCapability=None)}, "needs computeCapability"),
        ({"a": entry(), "b": entry(like="c")}, "b.like: there is no type 'c'"),
        ({"a": entry(source=None)}, "a.source: Field required"),
        ({"a": entry(tflops={"fp9": 1})}, "a.tflops.fp9: Extra inputs"),
        ({"a": entry(computeCapability=8.9)}, "a.computeCapability:"),
        ({"a": entry(pricePerHour=-1)}, "a.pricePerHour:"),
    ],
)
def test_a_slip_in_the_file_names_its_entry(data: Any, words: str) -> None:
    with pytest.raises(CatalogError, match=re.escape(words)):
        parse_gpus(data)


def test_an_entry_is_like_another_in_all_that_it_does_not_say() -> None:
    gpus, marks = parse_gpus(
        {
            "nvidia-a": entry(products=["A"], pricePerHour=2),
            "nvidia-b": {"like": "nvidia-a", "pricePerHour": 3, "source": "test"},
        }
    )
    assert gpus["nvidia-b"].price_per_hour == 3
    assert gpus["nvidia-b"].memory_bytes == gpus["nvidia-a"].memory_bytes
    assert marks["nvidia-b"].products == ("A",)


def test_a_caller_cannot_change_the_catalogue_of_another() -> None:
    builtin_gpus().clear()
    assert builtin_gpus() == GPUS
