"""From which nodes a volume can be reached."""

from typing import Any

import pytest

from stoker.model import topology
from stoker.model.topology import NODE_NAME, Requirement, Topology

ZONE = "topology.kubernetes.io/zone"


def volume(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": list(terms)}}}}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


def place(*terms: dict[str, Any]) -> Topology:
    found = topology.of_volume(volume(*terms), "models")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("operator", "values", "admitted"),
    [
        ("In", ["5", "7"], {"5"}),
        ("NotIn", ["5"], {"9", "x", None}),
        ("Exists", [], {"5", "9", "x"}),
        ("DoesNotExist", [], {None}),
        ("Gt", ["5"], {"9"}),
        ("Lt", ["9"], {"5"}),
        ("Gt", [], set()),
        ("Lt", ["x"], set()),
        ("Near", ["5"], {"5", "9", "x", None}),
    ],
)
def test_operators_of_node_selectors(
    operator: str, values: list[str], admitted: set[str | None]
) -> None:
    each = Requirement("key", operator, tuple(values))
    assert {value for value in ("5", "9", "x", None) if each.met_by(value)} == admitted


def test_any_term_and_all_of_a_term() -> None:
    found = place(
        {"matchExpressions": [expression(ZONE, "In", "z1"), expression("disk", "Exists")]},
        {"matchFields": [expression(NODE_NAME, "In", "n9")]},
    )
    assert found.admits("n1", {ZONE: "z1", "disk": "fast"})
    assert not found.admits("n1", {ZONE: "z1"})
    assert not found.admits("n1", {ZONE: "z2", "disk": "fast"})
    assert found.admits("n9", {})
    assert found.keys == {ZONE, "disk"}
    assert not found.pinned
    assert found.words == "zone z1 and disk Exists or node n9"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"spec": None},
        {"spec": {"nodeAffinity": None}},
        {"spec": {"nodeAffinity": {"required": None}}},
    ],
)
def test_a_volume_without_demands_is_everywhere(body: dict[str, Any]) -> None:
    assert topology.of_volume(body, "models") is None


def test_a_term_that_is_empty_admits_no_node() -> None:
    found = place({}, {"matchExpressions": []})
    assert not found.admits("n1", {ZONE: "z1"})
    assert found.words == "no node"
    assert found.pinned


def test_a_class_says_where_volumes_will_be() -> None:
    allowed = [
        {"matchLabelExpressions": [{"key": ZONE, "values": ["z1", "z2"]}]},
        {"matchLabelExpressions": [{"key": ZONE, "values": ["z3"]}]},
    ]
    found = topology.of_class({"allowedTopologies": allowed}, "models")
    assert found is not None
    assert [found.admits("n", {ZONE: zone}) for zone in ("z1", "z2", "z3", "z4")] == [1, 1, 1, 0]
    assert found.words == "zone z1/z2 or zone z3"
    assert topology.of_class({}, "models") is None


def test_only_a_volume_of_named_nodes_is_pinned() -> None:
    host = {"matchExpressions": [expression("kubernetes.io/hostname", "In", "n1")]}
    assert place(host).pinned
    assert not place(host, {"matchExpressions": [expression(ZONE, "In", "z1")]}).pinned
    assert not place(
        {"matchExpressions": [expression("kubernetes.io/hostname", "NotIn", "n1")]}
    ).pinned


def test_what_pods_hold_is_where_they_are_and_where_the_volume_is() -> None:
    zone = place({"matchExpressions": [expression(ZONE, "In", "z1")]})
    found = zone.held_on(["n2", "n1", "n2"])
    assert found.pinned
    assert found.admits("n1", {ZONE: "z1"})
    assert not found.admits("n1", {ZONE: "z2"})
    assert not found.admits("n3", {ZONE: "z1"})
    assert topology.anywhere("models").held_on(["n1"]).words == "node n1"
    assert topology.anywhere("models").admits("n1", {})


def test_many_places_are_cut() -> None:
    terms = [{"matchFields": [expression(NODE_NAME, "In", f"n{i}")]} for i in range(7)]
    assert place(*terms).words == "node n0 or node n1 or node n2 or node n3 or 3 other places"
