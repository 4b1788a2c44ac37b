"""What a pod asks of accelerators, read from its body."""

import functools
import json
from collections.abc import Mapping
from typing import Any, Final

from stoker.naming import Component
from stoker.quantity import parse_quantity
from stoker_worker import contract

Body = Mapping[str, Any]

_SIZES: Final = ("tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size")


def asks_of(spec: Body) -> tuple[tuple[str, int], ...]:
    """Extended resources of the engine's container, by name, and how many of each."""
    limits = (_engine(spec).get("resources") or {}).get("limits") or {}
    found = ((str(name), _count(value)) for name, value in limits.items() if "/" in str(name))
    return tuple(sorted((name, count) for name, count in found if count > 0))


def ranks_of(spec: Body) -> int:
    """Ranks that a pod without accelerators computes: its part of tensor x pipeline x data."""
    for variable in _engine(spec).get("env") or ():
        if variable.get("name") == contract.ENV_CONFIG:
            return _ranks_in(str(variable.get("value") or ""))
    return 1


@functools.lru_cache(maxsize=1024)
def _ranks_in(config: str) -> int:
    try:
        given = json.loads(config)
        args, nodes = given.get("args") or {}, int(given.get("nodes") or 1)
        ranks = 1
        for name in _SIZES:
            ranks *= max(1, int(args.get(name) or 1))
    except (ValueError, TypeError, AttributeError):
        return 1
    return max(1, ranks // max(1, nodes))


def _engine(spec: Body) -> Body:
    for container in spec.get("containers") or ():
        if container.get("name") == Component.ENGINE.value:
            return dict(container)
    return {}


def _count(value: object) -> int:
    try:
        return int(parse_quantity(str(value)))
    except ValueError:
        return 0
