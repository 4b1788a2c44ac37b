"""Who is billed, at what price, and what for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from stoker.catalog.capacity import Capacity, capacity_of
from stoker.cost.prices import Share, charges_of, price_now, price_of, unpriced
from stoker.model.platform import AcceleratorPlatform
from stoker.naming import Component
from tests.unit.cost.worlds import GPUS, L4, PLATFORM, PRICE, SPOT, load, look, node, pod

if TYPE_CHECKING:
    from stoker.model.observed import ObservedPod

NAMES = (
    ("karpenter.sh/capacity-type", "spot", "on-demand"),
    ("eks.amazonaws.com/capacityType", "SPOT", "ON_DEMAND"),
    ("cloud.google.com/gke-provisioning", "preemptible", "standard"),
    ("kubernetes.azure.com/scalesetpriority", "spot", "regular"),
)


@pytest.mark.parametrize(("label", "spot", "kept"), NAMES)
def test_what_clouds_write_on_their_nodes(label: str, spot: str, kept: str) -> None:
    assert capacity_of({label: spot}) is Capacity.SPOT
    assert capacity_of({label: kept}) is Capacity.ON_DEMAND
    assert capacity_of({label: "a word of next year"}) is None


def test_flags_of_nodes() -> None:
    assert capacity_of({"cloud.google.com/gke-spot": "true"}) is Capacity.SPOT
    assert capacity_of({"cloud.google.com/gke-spot": "false"}) is None
    assert capacity_of({"karpenter.sh/capacity-type": "reserved"}) is Capacity.ON_DEMAND
    assert capacity_of({}) is None


def test_a_spot_node_is_cheaper() -> None:
    pods = (pod("a"), pod("b", node="node-2"))
    nodes = (node("node-1", Capacity.SPOT), node("node-2"))
    found = price_now(charges_of(look(*pods, nodes=nodes), PLATFORM))
    assert found == {("aaaa", Capacity.SPOT): SPOT, ("aaaa", Capacity.ON_DEMAND): PRICE}


def test_where_no_node_is_read_the_pods_selector_tells() -> None:
    spot = {**L4, "karpenter.sh/capacity-type": "spot"}
    (found,) = charges_of(look(pod(selector=tuple(spot.items()))), PLATFORM)
    assert (found.capacity, found.per_hour) == (Capacity.SPOT, SPOT)
    (found,) = charges_of(look(pod()), PLATFORM)
    assert (found.capacity, found.per_hour) == (Capacity.ON_DEMAND, PRICE)
    # The node knows better than who asked for it.
    moved = look(pod(selector=tuple(spot.items())), nodes=(node(capacity=Capacity.ON_DEMAND),))
    assert charges_of(moved, PLATFORM)[0].per_hour == PRICE


def test_whole_accelerators_of_every_pod_of_a_replica() -> None:
    leader = pod("chat-0", gpus=4, ready=10)
    follower = pod("chat-0-1", gpus=4, component=Component.FOLLOWER, node="node-2")
    found = charges_of(look(leader, follower, counted=load(20, chat_0=1)), PLATFORM)
    assert sum(each.per_hour or 0 for each in found) == pytest.approx(8 * PRICE)
    # A follower serves while its leader does, and is no replica of its own.
    assert [each.share for each in found] == [Share.SERVING, Share.SERVING]
    assert [each.leads for each in found] == [True, False]


def test_processors_cost_by_rank() -> None:
    processors = node(carries="cpu")
    (found,) = charges_of(look(pod(gpus=0, ranks=2, selector=()), nodes=(processors,)), PLATFORM)
    assert found.per_hour == pytest.approx(2 * 0.7)


@pytest.mark.parametrize(
    "free",
    [
        pod(placed=None),
        pod(phase="Succeeded"),
        pod(phase="Failed"),
        pod(component=Component.FRONTEND),
        pod(component=Component.FACTS),
    ],
)
def test_who_costs_nothing(free: ObservedPod) -> None:
    assert charges_of(look(free), PLATFORM) == ()


@pytest.mark.parametrize(
    ("given", "running", "share"),
    [
        (pod(), {}, Share.STARTING),
        (pod(ready=5), {"chat_0": 2}, Share.SERVING),
        (pod(ready=5), {"chat_0": 0}, Share.IDLE),
        (pod(ready=5), {}, Share.UNKNOWN),
        (pod(ready=5), {"chat_1": 1}, Share.UNKNOWN),
        (pod(ready=5, deleting=True), {"chat_0": 2}, Share.ENDING),
        (pod(deleting=True), {}, Share.ENDING),
        (pod("chat-0-1", component=Component.FOLLOWER, ready=5), {}, Share.STARTING),
    ],
)
def test_what_a_pods_time_is_for(given: ObservedPod, running: dict[str, int], share: Share) -> None:
    (found,) = charges_of(look(given, counted=load(9, **running)), PLATFORM)
    assert found.share is share


@pytest.mark.parametrize(
    ("given", "carries"),
    [
        (pod(asks=(("example.com/tpu", 4),)), "tpu"),  # of no entry
        (pod(asks=(("amd.com/gpu", 2),)), "amd-mi300"),  # of an entry without hardware
        (pod(), "cpu"),  # the node has another type now
    ],
)
def test_a_price_that_nobody_knows_is_not_zero(given: ObservedPod, carries: str) -> None:
    charges = charges_of(look(given, nodes=(node(carries=carries),)), PLATFORM)
    assert [each.per_hour for each in charges] == [None]
    assert price_now(charges) == {}
    assert list(unpriced(charges)) == ["aaaa"]


def test_a_type_without_a_spot_price_costs_what_it_costs_on_demand() -> None:
    gpu = replace(GPUS["nvidia-l4"], price_per_hour=2.0, spot_price_per_hour=None)
    assert price_of(gpu, Capacity.SPOT) == 2.0
    assert price_of(replace(gpu, price_per_hour=None), Capacity.SPOT) is None
    assert price_of(None, Capacity.ON_DEMAND) is None


def test_of_several_entries_that_fit_the_planned_one() -> None:
    half = AcceleratorPlatform("half", "nvidia.com/gpu", L4)
    platform = replace(
        PLATFORM,
        accelerators={**PLATFORM.accelerators, "half": half},
        gpus={**PLATFORM.gpus, "half": replace(GPUS["nvidia-l4"], price_per_hour=0.5)},
    )

    def price(status: dict[str, Any], **fields: Any) -> float | None:
        return charges_of(look(pod(), status=status, **fields), platform)[0].per_hour

    assert price({"plan": {"accelerator": "half"}}) == 0.5
    assert price({"plan": {"accelerator": "nvidia-l4"}}) == PRICE
    assert price({}, accelerator={"types": ["nvidia-l4", "half"]}) == PRICE
    # What a status holds is read with care.
    assert price({"plan": ["half"]}) == 0.5
