"""Played nodes: nobody else's pods come to them, and nothing that is sent to them leaves a pod."""

from __future__ import annotations

import ipaddress

from e2e.cluster import autoscaler, components, images
from e2e.cluster.catalogue import CLUSTER_PROGRAMS, PROGRAMS
from e2e.cluster.settings import POD_NETWORK, PORTS

POOL = autoscaler.Pool("l4", "nvidia.com/gpu", {"nvidia.com/gpu.product": "NVIDIA-L4"}, most=3)


def test_both_are_pinned_and_nobody_waits_for_them_who_did_not_ask() -> None:
    assert PROGRAMS["karpenter"].version == "1.8.0"
    assert PROGRAMS["kwok"].version == "0.7.0"
    for name in components.GUESTS:
        assert name in PROGRAMS
        assert name not in CLUSTER_PROGRAMS
        assert name not in components.ORDER
        assert name not in images.RECIPES


def test_a_node_takes_only_what_asks_for_its_accelerator() -> None:
    template = POOL.manifest()["spec"]["template"]
    assert template["metadata"]["labels"] == POOL.labels
    (taint,) = template["spec"]["taints"]
    assert (taint["key"], taint["effect"]) == ("nvidia.com/gpu", "NoSchedule")
    (requirement,) = template["spec"]["requirements"]
    assert requirement["values"] == [POOL.instance_type()["name"]]
    assert POOL.instance_type()["resources"]["nvidia.com/gpu"] == "1"
    assert POOL.manifest()["spec"]["limits"] == {"nvidia.com/gpu": 3}


def test_addresses_of_played_pods_are_everybodys_own() -> None:
    for address in (autoscaler.POD_ADDRESSES, autoscaler.NODE_IP):
        network = ipaddress.ip_interface(address).network
        assert network.is_loopback
        assert not network.overlaps(ipaddress.ip_network(POD_NETWORK))


def test_its_ports_are_nobody_elses() -> None:
    assert not set(autoscaler.PORTS.values()) & {port for _, port in PORTS.values()}
