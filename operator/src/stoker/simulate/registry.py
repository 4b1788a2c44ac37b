"""Every policy by its name, as `stoker simulate --policy NAME[:PARAMETER]` takes it."""

from collections.abc import Mapping
from typing import Final

from stoker.errors import StokerError
from stoker.simulate.baselines import BASELINES
from stoker.simulate.policy import Factory, Policy, Setting
from stoker.simulate.present import stoker, stoker_queue
from stoker.simulate.reference import oracle, static, static_mean, static_peak

POLICIES: Final[Mapping[str, Factory]] = {
    "stoker": stoker,
    "stoker-queue": stoker_queue,
    "static": static,
    "static-peak": static_peak,
    "static-mean": static_mean,
    "oracle": oracle,
    **BASELINES,
}


class UnknownPolicy(StokerError):  # noqa: N818 - named after what happened, as all of them
    """No policy of this name, or its parameter is no positive number."""


def policy_of(text: str, setting: Setting) -> Policy:
    """A policy from `name` or `name:parameter`."""
    name, colon, value = text.partition(":")
    factory = POLICIES.get(name)
    if factory is None:
        raise UnknownPolicy(f"{name}: no such policy; write one of {', '.join(POLICIES)}")
    if not colon:
        return factory(setting, None)
    try:
        parameter = float(value)
    except ValueError:
        parameter = -1.0
    if not 0 <= parameter < float("inf"):
        raise UnknownPolicy(f"{text}: {value!r} is no number; write it as {name}:2")
    return factory(setting, parameter)
