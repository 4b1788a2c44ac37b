"""Pods and nodes that cost something, as short as tests want them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stoker.catalog.capacity import Capacity
from stoker.model.inventory import Node
from stoker.model.load import EngineSample, Load
from stoker.model.moment import Moment
from stoker.model.observed import Key, Observed, ObservedPod, ObservedService
from stoker.naming import Component
from tests.unit.plan.worlds import PLANNING, spec

PLAIN = spec()
START = 1_700_000_000.0
L4 = {"nvidia.com/gpu.product": "NVIDIA-L4"}
GPUS = PLANNING.gpus
PRICE = 1.2  # of an L4 on demand
SPOT = 0.48
PLATFORM = replace(
    PLANNING,
    gpus={
        **GPUS,
        "nvidia-l4": replace(GPUS["nvidia-l4"], price_per_hour=PRICE, spot_price_per_hour=SPOT),
    },
)


def at(seconds: float, jump: float = 0.0) -> Moment:
    """So many seconds after the beginning; `jump` is how far the Unix clock has gone wrong."""
    return Moment(1000.0 + seconds, START + seconds + jump)


def pod(
    name: str = "chat-0",
    *,
    placed: float | None = 0.0,
    ready: float | None = None,
    gpus: int = 1,
    node: str = "node-1",
    **fields: Any,
) -> ObservedPod:
    """An engine's pod on a node; times in seconds after the beginning."""
    given: dict[str, Any] = {
        "uid": f"uid-{name}",
        "component": Component.ENGINE,
        "revision": "aaaa",
        "phase": "Running",
        "deleting": False,
        "ip": "10.0.0.1",
        "created": START,
        "restarts": 0,
        "unschedulable": None,
        "selector": tuple(L4.items()),
        "asks": (("nvidia.com/gpu", gpus),) if gpus else (),
    }
    return ObservedPod(
        name=name,
        ready=ready is not None,
        node=None if placed is None else node,
        scheduled=placed is not None,
        scheduled_at=None if placed is None else START + placed,
        ready_at=None if ready is None else START + ready,
        **{**given, **fields},
    )


def node(
    name: str = "node-1", capacity: Capacity | None = None, carries: str = "nvidia-l4"
) -> Node:
    return Node(name, serves=True, carries=((carries, 8),), labels={}, capacity=capacity)


def load(time: float, **running: int) -> Load:
    """What was counted so many seconds after the beginning; `_` in a pod's name is `-`."""
    engines = tuple(
        EngineSample(name.replace("_", "-"), count, 0, 0.0) for name, count in running.items()
    )
    return Load(at(time).monotonic, (), engines)


def look(
    *pods: ObservedPod,
    nodes: tuple[Node, ...] = (),
    counted: Load | None = None,
    status: dict[str, Any] | None = None,
    **fields: Any,
) -> Observed:
    service = ObservedService(
        key=Key("team", "chat"),
        uid="1",
        generation=1,
        resource_version="1",
        spec=spec(**fields) if fields else PLAIN,
        spec_error=None,
        annotations={},
        status={} if status is None else status,
        deleting=False,
    )
    return Observed(service, (), pods, nodes={each.name: each for each in nodes}, load=counted)
