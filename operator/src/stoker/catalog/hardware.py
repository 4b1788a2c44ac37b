"""Entries of the catalogue, as YAML has them, and the `Gpu` that each stands for.

An entry may be `like` another one: it takes everything that it does not say from there. A `slice`
is a part of that other type (MIG); an administrator's `share` is one number for all of it.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from stoker.catalog.gpus import Gpu
from stoker.settings import ConfigError, HardwareSettings

_GIB: Final = 2**30
_MIB: Final = 2**20
_VENDORS: Final = {"nvidia.com/": "nvidia", "amd.com/": "amd"}

Part = Annotated[float, Field(gt=0, le=1)]


class CatalogError(ConfigError):
    """The catalogue cannot be used; each line says which entry, what is wrong and what to write."""


class Slice(BaseModel):
    """Part of a whole accelerator that an entry is. Memory is said by the entry itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bandwidth: Part
    compute: Part
    price: Part


class Entry(HardwareSettings):
    """One type of `gpus.yaml`: what an administrator may say, and what only Stoker's file says."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True
    )

    source: str = Field(min_length=3)
    like: str | None = None
    memory_mib: int | None = Field(None, alias="memoryMiB", gt=0)
    visible_gib: float | None = Field(None, alias="visibleGiB", gt=0)
    shared_memory: bool = False
    slice: Slice | None = None
    resource: str | None = None
    products: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Marks:
    """How a cluster tells that a node carries a type, where its vendor's labels are in use."""

    resource: str | None  # extended resource; None for processors
    label: str | None  # node label that names the product
    products: tuple[str, ...]  # its values; the first is the usual one


def gpu_of(
    where: str, name: str, hardware: HardwareSettings, base: Gpu | None, resource: str | None = None
) -> Gpu:
    """The type that `hardware` describes, on top of what `base` has.

    `where` names the entry in errors. Raises `CatalogError` when neither of the two says what a
    plan needs.
    """
    capability = _capability(hardware.compute_capability)
    if base is None:
        vendor = hardware.vendor or _vendor(resource)
        missing = [
            field
            for field, given in (
                ("vendor", vendor),
                ("memoryGiB", hardware.memory_gib),
                ("bandwidthGBs", hardware.bandwidth_gbs),
                ("tflops", _rates(hardware)),
                ("computeCapability", capability or vendor != "nvidia" or None),
            )
            if not given
        ]
        if missing:
            raise CatalogError(
                f"{where}.hardware: a type that Stoker does not know needs {', '.join(missing)}; "
                "write them, or `like:` with the name of a type that it knows"
            )
        base = Gpu(name, vendor or "", 1, 1.0, {}, shared_memory=vendor == "cpu")
    changes = {
        "vendor": hardware.vendor,
        "bandwidth": _scaled(hardware.bandwidth_gbs, 1e9),
        "flops": _rates(hardware) or None,
        "link": _scaled(hardware.link_gbs, 1e9),
        "link_kind": hardware.link_kind,
        "most_per_node": hardware.most_per_node,
        "compute_capability": capability,
        "price_per_hour": hardware.price_per_hour,
        "spot_price_per_hour": hardware.spot_price_per_hour,
    }
    if hardware.memory_gib is not None:  # what a process sees: nothing of it is reserved
        changes |= {"memory_bytes": int(hardware.memory_gib * _GIB), "reserved_bytes": 0}
    given = {field: value for field, value in changes.items() if value is not None}
    return replace(base, name=name, **given)  # type: ignore[arg-type]


def builtin_gpu(name: str, entry: Entry, known: Mapping[str, Gpu]) -> Gpu:
    """The type that an entry of Stoker's own file describes; `known` holds those above it."""
    base = None
    if entry.like is not None:
        if entry.like not in known:
            raise CatalogError(unknown(f"{name}.like", entry.like, known))
        base = known[entry.like]
        if entry.slice is not None:
            base = part_of(base, 1.0, entry.slice)
    if entry.memory_mib is None:
        memory, reserved = (base.memory_bytes, base.reserved_bytes) if base else (0, 0)
    else:
        memory = entry.memory_mib * _MIB
        visible = memory if entry.visible_gib is None else int(entry.visible_gib * _GIB)
        reserved = memory - visible
    if memory <= 0 or reserved < 0:
        raise CatalogError(f"{name}: memoryMiB is missing or smaller than visibleGiB")
    hardware = HardwareSettings.model_validate(
        {
            field: getattr(entry, field)
            for field in HardwareSettings.model_fields
            if field != "memory_gib"
        }
        | {"memory_gib": memory / _GIB}
    )
    found = gpu_of(name, name, hardware, base, entry.resource)
    return replace(
        found,
        memory_bytes=memory,
        reserved_bytes=reserved,
        shared_memory=entry.shared_memory or (base is not None and base.shared_memory),
    )


def marks_of(entry: Entry, gpu: Gpu, whole: Marks | None) -> Marks:
    """How nodes of a built-in type are marked; a slice is found on nodes of the whole."""
    if gpu.vendor == "cpu":
        return Marks(None, None, ())
    label, resource = {
        "nvidia": ("nvidia.com/gpu.product", "nvidia.com/gpu"),
        "amd": ("amd.com/gpu.product-name", "amd.com/gpu"),
    }[gpu.vendor]
    products = entry.products or (whole.products if whole else ())
    return Marks(entry.resource or resource, label, products)


def part_of(gpu: Gpu, share: float, pieces: Slice | None = None) -> Gpu:
    """A part of an accelerator: no links to others, and alone in its replica where it is a slice.

    Parts of one device cannot talk to each other (NCCL refuses two ranks on one device), so a
    replica gets one of them.
    """
    cut = pieces or Slice(bandwidth=share, compute=share, price=share)
    return replace(
        gpu,
        memory_bytes=int(gpu.memory_bytes * share),
        reserved_bytes=int(gpu.reserved_bytes * share),
        bandwidth=gpu.bandwidth * cut.bandwidth,
        flops={dtype: rate * cut.compute for dtype, rate in gpu.flops.items()},
        link=0.0,
        link_kind="none",
        most_per_node=1,
        price_per_hour=_scaled(gpu.price_per_hour, cut.price),
        spot_price_per_hour=_scaled(gpu.spot_price_per_hour, cut.price),
    )


def unknown(where: str, name: str, known: Iterable[str]) -> str:
    """The words for a name that is not in the catalogue, with the nearest one that is."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1)
    meant = f"did you mean {near[0]}? Known" if near else "known"
    return f"{where}: there is no type {name!r}; {meant}: {', '.join(names)}"


def _rates(hardware: HardwareSettings) -> dict[str, float]:
    if hardware.tflops is None:
        return {}
    rates = hardware.tflops.model_dump(exclude_none=True)
    return {dtype: rate * 1e12 for dtype, rate in rates.items()}


def _capability(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    major, minor = text.split(".")
    return int(major), int(minor)


def _vendor(resource: str | None) -> str | None:
    if resource is None:
        return None
    return next((who for prefix, who in _VENDORS.items() if resource.startswith(prefix)), None)


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
