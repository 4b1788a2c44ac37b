"""What the nodes of the planned type say against the plan: told, and never acted on.

A plan stays, whatever nodes come; so what was found wrong with them is a word to people. It is said
of the type that runs, and while none is chosen only if no type would do.
"""

from collections.abc import Mapping
from typing import Any

from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.catalog.enginefile import version_of_image
from stoker.catalog.load import builtin_engines
from stoker.model import reasons
from stoker.model.inventory import Inventory, hints
from stoker.model.observed import Observed
from stoker.model.plan import Verdict
from stoker.model.platform import Platform
from stoker.plan.replica import types_of


def unsuitable(
    observed: Observed,
    spec: InferenceServiceSpec,
    platform: Platform,
    plan: Mapping[str, Any] | None,
) -> Verdict | None:
    """Why nodes of the planned type cannot run the engine; the first reason, and all the words."""
    inventory = observed.inventory
    if inventory is None:
        return None
    before = observed.service.status.get("plan")
    told = plan if plan is not None else before
    chosen = told.get("accelerator") if isinstance(told, Mapping) else None
    if isinstance(chosen, str) and chosen in platform.accelerators:
        found = _hints(chosen, inventory, spec, platform)
    else:
        found = _of_none(inventory, spec, platform)
    if not found:
        return None
    return Verdict(found[0].reason, " ".join(each.message for each in found))


def _hints(
    name: str, inventory: Inventory, spec: InferenceServiceSpec, platform: Platform
) -> list[Verdict]:
    engine = platform.engines[spec.engine.name.value]
    version = version_of_image(spec.engine.image or engine.image)
    features = builtin_engines()[spec.engine.name.value].at(version)
    return hints(name, inventory, platform.gpus.get(name), features.driver)


def _of_none(inventory: Inventory, spec: InferenceServiceSpec, platform: Platform) -> list[Verdict]:
    """While no type is chosen: that the volume is where none of them is."""
    types = types_of(spec, platform)
    if any(inventory.reaches(name) for name in types):
        return []
    found = _hints(types[0], inventory, spec, platform)
    return [each for each in found if each.reason == reasons.VOLUME_NOT_ON_NODES]
