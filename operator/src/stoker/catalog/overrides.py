"""The administrator's accelerators as hardware: Stoker's own types with his numbers on top.

And the packages of his engine images, as far as a technique needs them.

Each name of his catalogue is, in this order, what `like` says, or Stoker's own type of that name,
or what its `hardware` says in full. A name that is none of these is usable and cannot be planned
for: it is left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from stoker.catalog.capacity import Capacity, capacity_of
from stoker.catalog.gpus import Gpu
from stoker.catalog.hardware import CatalogError, Marks, gpu_of, part_of, unknown
from stoker.catalog.load import builtin_engines, builtin_gpus, builtin_marks
from stoker.settings import AcceleratorSettings, HardwareSettings

_NOTHING = HardwareSettings.model_validate({})


def gpus_of(accelerators: Mapping[str, AcceleratorSettings]) -> dict[str, Gpu]:
    """Hardware of the administrator's types, by name, where it is known.

    Raises `CatalogError`, whose lines name the entries, for a `like` that is not there, that leads
    back to itself, or for a new type that says too little.
    """
    known = builtin_gpus()
    found: dict[str, Gpu] = {}
    problems: list[str] = []
    for name, accelerator in accelerators.items():
        try:
            gpu = _resolve(name, accelerators, known, ())
        except CatalogError as error:
            problems.append(str(error))
            continue
        if gpu is not None:
            found[name] = _priced(gpu, accelerator, marked(name, accelerators))
        elif accelerator.share != 1:
            problems.append(f"accelerators.{name}.share: of what? Write `like:` with a known type")
    if problems:
        raise CatalogError("\n".join(dict.fromkeys(problems)))
    return found


def marked(name: str, accelerators: Mapping[str, AcceleratorSettings]) -> AcceleratorSettings:
    """An entry with the resource, labels and tolerations that it takes from the one it is `like`.

    Those of the administrator's own entry of that name, or the vendor's usual ones.
    """
    entry = accelerators[name]
    if entry.like is None:
        return entry
    if entry.like in accelerators and entry.like != name:
        base = marked(entry.like, accelerators)
    else:
        base = _usual(builtin_marks()[entry.like])
    fields = ("resource", "node_selector", "tolerations")
    taken = {each: getattr(base, each) for each in fields if each not in entry.model_fields_set}
    return entry.model_copy(update=taken)


def known_plugins(engine: str, plugins: Iterable[str]) -> tuple[str, ...]:
    """The packages of an engine's image, each once; `CatalogError` where one is of no use to it."""
    offered = builtin_engines().get(engine)
    known: Mapping[str, str] = {} if offered is None else offered.plugins
    given = tuple(dict.fromkeys(plugins))
    for name in given:
        if name not in known:
            what = ", ".join(f"{package} (for {feature})" for package, feature in known.items())
            raise CatalogError(
                f"engines.{engine}.plugins: no technique needs the package {name!r}; "
                f"known: {what or 'none'}"
            )
    return given


def _resolve(
    name: str,
    accelerators: Mapping[str, AcceleratorSettings],
    known: Mapping[str, Gpu],
    path: tuple[str, ...],
) -> Gpu | None:
    where = f"accelerators.{name}"
    if name in path:
        raise CatalogError(f"{where}.like: {' → '.join((*path, name))} leads back to itself")
    entry = accelerators.get(name)
    if entry is None:
        return known.get(name)
    base = known.get(name)
    if entry.like is not None:
        # An entry may bear the name of the very type that it is like.
        if entry.like != name:
            base = _resolve(entry.like, accelerators, known, (*path, name))
        if base is None:
            offered = {*known, *accelerators} - {name}
            raise CatalogError(unknown(f"{where}.like", entry.like, offered))
    if base is None and entry.hardware == _NOTHING:
        return None
    if base is not None and entry.share < 1:
        base = part_of(base, entry.share)
    return gpu_of(where, name, entry.hardware, base, entry.resource)


def _priced(gpu: Gpu, given: AcceleratorSettings, entry: AcceleratorSettings) -> Gpu:
    """The type at the spot price, where its nodes are spot nodes alone.

    A `pricePerHour` that stands in such an entry itself is the price of these nodes.
    """
    if capacity_of(entry.node_selector) is not Capacity.SPOT:
        return gpu
    own = given.hardware
    price = (
        own.spot_price_per_hour
        or own.price_per_hour
        or gpu.spot_price_per_hour
        or gpu.price_per_hour
    )
    return replace(gpu, price_per_hour=price, spot_price_per_hour=price)


def _usual(marks: Marks) -> AcceleratorSettings:
    if marks.resource is None:
        return AcceleratorSettings.model_validate({})
    taint = marks.resource.partition("/")[0] + "/gpu"
    selector = {marks.label: marks.products[0]} if marks.label and marks.products else {}
    return AcceleratorSettings.model_validate(
        {
            "resource": marks.resource,
            "node_selector": selector,
            "tolerations": [{"key": taint, "operator": "Exists", "effect": "NoSchedule"}],
        }
    )
