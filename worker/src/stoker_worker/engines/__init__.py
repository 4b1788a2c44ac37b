"""The engines that the worker can supervise, one pure driver each."""

from __future__ import annotations

from stoker_worker.contract import ContractError
from stoker_worker.engines.base import Driver, Place, Request
from stoker_worker.engines.vllm import Vllm

__all__ = ["DRIVERS", "Driver", "Place", "Request", "driver_named"]

DRIVERS = {"vllm": Vllm}


def driver_named(name: str) -> Driver:
    """Find a driver; ContractError names those that exist."""
    try:
        return DRIVERS[name]()
    except KeyError:
        known = ", ".join(sorted(DRIVERS))
        raise ContractError(f"there is no engine driver {name!r}, only {known}") from None
