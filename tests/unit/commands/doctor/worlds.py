"""Worlds by values: a service that answers on a platform that works, and changes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from stoker.cluster.kinds import CACHE, LEADER_WORKER_SET, POOL, SERVICE
from stoker.commands.doctor.chain import ALL
from stoker.commands.doctor.links import Link, first_broken, walk
from stoker.commands.doctor.seen import Api, Around, Kinds, Operator, World
from stoker.model.observed import Key

KEY = Key("chat", "llama")
NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z
THEN = "2025-12-31T23:00:00Z"
SERVED = {
    kind.api_version: frozenset(
        each.plural for each in (SERVICE, CACHE, POOL) if each.api_version == kind.api_version
    )
    for kind in (SERVICE, CACHE, POOL, LEADER_WORKER_SET)
}


def condition(kind: str, status: str, reason: str, message: str = "said so") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


READY = condition("Ready", "True", "AllReady", "Every replica answers.")
PLANNED = condition("Planned", "True", "Planned", "vllm on 1 x nvidia-l4")
STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "desiredReplicas": 1,
    "readyReplicas": 1,
    "conditions": [READY, PLANNED],
}
BODY: dict[str, Any] = {
    "metadata": {"name": "llama", "namespace": "chat", "generation": 1, "creationTimestamp": THEN},
    "spec": {"model": {"uri": "pvc://models/llama"}},
    "status": STATUS,
}
DEPLOYMENT: dict[str, Any] = {
    "metadata": {"name": "stoker", "namespace": "stoker-system", "labels": {}},
    "spec": {
        "replicas": 2,
        "template": {"spec": {"serviceAccountName": "stoker", "containers": [{"image": "op:1"}]}},
    },
    "status": {"availableReplicas": 2},
}
LEASE: dict[str, Any] = {
    "spec": {
        "holderIdentity": "stoker-1",
        "leaseDurationSeconds": 15,
        "renewTime": "2025-12-31T23:59:58.000000Z",
    }
}
OPERATOR = Operator((DEPLOYMENT,), (), LEASE, config={}, lacks=())
AROUND = Around(
    namespace={"metadata": {"name": "chat"}},
    pods=(),
    deployments=(),
    events=(),
    claims={"models": {"status": {"phase": "Bound"}}},
    caches=(),
    quotas=(),
    policies=(),
    nodes=(),
)
WORLD = World(NOW, KEY, Api("v1.34.9"), Kinds(SERVED), OPERATOR, BODY, AROUND)


def with_status(*conditions: dict[str, Any], **more: Any) -> World:
    """The service with these conditions in front, and other fields of the status."""
    kinds = {each["type"] for each in conditions}
    kept = [each for each in STATUS["conditions"] if each["type"] not in kinds]
    status = {**STATUS, "conditions": [*conditions, *kept], **more}
    return replace(WORLD, service={**BODY, "status": status})


def around(world: World = WORLD, **more: Any) -> World:
    return replace(world, around=replace(world.around, **more))


def operator(**more: Any) -> World:
    return replace(WORLD, operator=replace(OPERATOR, **more))


def pod(
    component: str = "engine",
    name: str = "llama-engine-1",
    *,
    spec: dict[str, Any] | None = None,
    **status: Any,
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "uid": name,
            "creationTimestamp": THEN,
            "labels": {"stoker.dev/component": component, "stoker.dev/service": "llama"},
        },
        "spec": spec or {},
        "status": {"phase": "Pending", **status},
    }


def container(
    name: str, state: dict[str, Any], last: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {"name": name, "restartCount": 1, "state": state, "lastState": last or {}}


def event(kind: str, name: str, reason: str, note: str) -> dict[str, Any]:
    about = {"kind": kind, "name": name}
    return {"involvedObject": about, "reason": reason, "message": note, "lastTimestamp": THEN}


def cause(world: World) -> Link:
    found = first_broken(walk(world, ALL))
    assert found is not None, "nothing is broken"
    return found


def state(world: World, check: str) -> Link:
    return next(link for link in walk(world, ALL, everything=True) if link.id == check)
