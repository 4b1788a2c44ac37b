"""Nodes, device plugins, taints and the scheduler's words, by values."""

from __future__ import annotations

from typing import Any

import pytest

from stoker.commands.doctor.hardware import Wish
from stoker.commands.doctor.links import State
from stoker.commands.doctor.seen import Denied, World
from stoker.model import reasons
from tests.unit.commands.doctor.worlds import (
    around,
    cause,
    condition,
    event,
    pod,
    state,
    with_status,
)

GPU = "nvidia.com/gpu"
SAID = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."


def node(name: str, gpus: int, *, ready: str = "True", **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": more.pop("labels", {"pool": "l4"})},
        "spec": more,
        "status": {
            "allocatable": {"cpu": "8", **({GPU: str(gpus)} if gpus else {})},
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def waiting(
    *nodes: dict[str, Any], count: int = 1, events: tuple[Any, ...] = (), **spec: Any
) -> World:
    asked = {"nodeSelector": {"pool": "l4"}, **spec}
    limits = {"resources": {"limits": {GPU: str(count)}}}
    body = pod(
        spec={**asked, "containers": [limits]},
        conditions=[
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": SAID}
        ],
    )
    return around(with_status(readyReplicas=0), pods=(body,), nodes=nodes, events=events)


TAINT = {"key": "dedicated", "value": "x", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("world", "check", "words"),
    [
        (waiting(), "nodes", "of 0 nodes none has nvidia.com/gpu with pool=l4"),
        (waiting(node("a", 8, labels={"pool": "t4"})), "nodes", "none the labels"),
        (waiting(node("a", 8, ready="Unknown")), "nodes", "cordoned or not ready"),
        (waiting(node("a", 8, unschedulable=True)), "nodes", "cordoned or not ready"),
        (waiting(node("a", 4), count=8), "nodes", "no node has more than 4"),
        (waiting(node("a", 0)), "device-plugin", "advertise no nvidia.com/gpu"),
        (
            waiting(node("a", 0, labels={"nvidia.com/gpu.product": "L4"}), nodeSelector={}),
            "device-plugin",
            "advertise no nvidia.com/gpu",
        ),
        (waiting(node("a", 0), nodeSelector={}), "nodes", "of 1 nodes none has nvidia.com/gpu"),
        (waiting(node("a", 8, taints=[TAINT])), "taints", "dedicated=x:NoSchedule"),
        (waiting(node("a", 8)), "scheduling", "Insufficient nvidia.com/gpu"),
        (
            waiting(node("a", 8, taints=[TAINT]), tolerations=[{"operator": "Exists"}]),
            "scheduling",
            "Insufficient",
        ),
        (
            waiting(node("a", 8, taints=[{**TAINT, "effect": "PreferNoSchedule"}])),
            "scheduling",
            "Insufficient",
        ),
    ],
)
def test_why_a_pod_has_no_node(world: World, check: str, words: str) -> None:
    found = cause(world)
    assert found.id == check
    assert words in found.words


def test_without_the_right_to_list_nodes_the_scheduler_speaks() -> None:
    world = around(waiting(), nodes=Denied("the right to list nodes"))
    assert state(world, "nodes").state is State.UNKNOWN
    found = cause(world)
    assert found.id == "scheduling"
    assert SAID in found.words


@pytest.mark.parametrize("reason", ["TriggeredScaleUp", "Nominated"])
def test_a_node_that_is_on_its_way_is_waited_for(reason: str) -> None:
    world = waiting(events=(event("Pod", "llama-engine-1", reason, "pod triggered scale-up"),))
    assert state(world, "nodes").state is State.WAITS
    assert state(world, "scheduling").state is State.WAITS
    assert state(world, "device-plugin").state is State.OK


def test_a_type_that_brought_no_node_is_told_from_the_status() -> None:
    found = cause(with_status(condition("Schedulable", "False", reasons.NO_NODE_CAME, "none came")))
    assert (found.id, found.words) == ("scheduling", "none came")


@pytest.mark.parametrize(
    ("affinity", "admitted"),
    [
        ({"key": "zone", "operator": "In", "values": ["a"]}, True),
        ({"key": "zone", "operator": "NotIn", "values": ["a"]}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "other", "operator": "DoesNotExist"}, True),
    ],
)
def test_node_affinity_is_read_as_the_scheduler_reads_it(
    affinity: dict[str, Any], admitted: bool
) -> None:
    terms = [{"matchExpressions": [affinity]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    wish = Wish(pod(spec={"affinity": {"nodeAffinity": required}}))
    assert wish.picky
    assert wish.admits(node("a", 1, labels={"zone": "a"})) is admitted
