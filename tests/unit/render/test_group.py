"""The LeaderWorkerSet of a revision: golden files, and the promises that they cannot say."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stoker import naming
from stoker.model.replica import Pairs, Replica
from stoker.naming import Component
from stoker.render import engine, group, objects
from stoker_worker import contract
from stoker_worker.contract import ENV_CONFIG, WorkerConfig
from tests.unit.plan import worlds
from tests.unit.render.test_engine import OWNER, check_golden
from tests.unit.render.test_engine import replica as one_pod

GOLDEN = Path(__file__).parents[2] / "golden" / "group"
REVISION = "0123abcd"
# Name of the golden file: the spec that it comes from, pods of a group, ranks.
SHAPES: dict[str, tuple[str, int, dict[str, int]]] = {
    "tensor-cpu": ("cpu", 2, {"tensor": 2}),
    "tensor-pipeline-gpu": ("gpu", 2, {"tensor": 8, "pipeline": 2}),
    "data-gpu": ("gpu", 4, {"tensor": 8, "data": 4}),
}


def shaped(spec: str, nodes: int = 2, **sizes: int) -> Replica:
    """A replica of these sizes over so many pods, and the accelerators that they take."""
    made = one_pod(spec)
    flags = {f"{name}-parallel-size": str(size) for name, size in sizes.items()}
    args: Pairs = tuple(sorted({**dict(made.args), **flags}.items()))
    count = 1
    for size in sizes.values():
        count *= size
    accelerators = replace(made.accelerators, count=count)
    return replace(made, args=args, accelerators=accelerators, nodes=nodes)


def rendered(name: str) -> dict[str, Any]:
    spec, nodes, sizes = SHAPES[name]
    return group.render_group(OWNER, REVISION, shaped(spec, nodes, **sizes), replicas=3)


def templates(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    template = rendered(name)["spec"]["leaderWorkerTemplate"]
    return template["leaderTemplate"], template["workerTemplate"]


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def environment(pod: dict[str, Any]) -> dict[str, Any]:
    return {variable["name"]: variable for variable in container(pod)["env"]}


@pytest.mark.parametrize("name", SHAPES)
def test_golden_group(name: str) -> None:
    check_golden(GOLDEN / f"{name}.yaml", rendered(name))


def test_golden_network() -> None:
    check_golden(GOLDEN / "network.yaml", group.render_group_network(OWNER, REVISION))


@pytest.mark.parametrize("name", SHAPES)
def test_the_leader_alone_is_an_engine(name: str) -> None:
    leader, follower = templates(name)
    pool = naming.selector(worlds.KEY.name, Component.ENGINE).items()
    assert pool <= leader["metadata"]["labels"].items()
    assert not pool <= follower["metadata"]["labels"].items()
    revision = {naming.LABEL_REVISION: REVISION, naming.LABEL_SERVICE: worlds.KEY.name}.items()
    assert revision <= follower["metadata"]["labels"].items()
    assert [port["name"] for port in container(follower)["ports"]] == ["worker"]
    assert "http" in [port["name"] for port in container(leader)["ports"]]


@pytest.mark.parametrize("name", SHAPES)
def test_the_pods_share_the_accelerators_out(name: str) -> None:
    spec, nodes, sizes = SHAPES[name]
    whole = shaped(spec, nodes, **sizes).accelerators
    for pod in templates(name):
        limits = container(pod)["resources"].get("limits", {})
        if whole.resource is not None:
            assert int(limits[whole.resource]) * nodes == whole.count
    assert rendered(name)["spec"]["leaderWorkerTemplate"]["size"] == nodes


@pytest.mark.parametrize("name", SHAPES)
def test_both_pods_run_the_same_engine_and_know_where_they_are(name: str) -> None:
    leader, follower = templates(name)
    configs = [
        WorkerConfig.from_json(environment(pod)[ENV_CONFIG]["value"]) for pod in (leader, follower)
    ]
    assert configs[0] == configs[1]
    assert configs[0].nodes == SHAPES[name][1]
    for pod in (leader, follower):
        address = environment(pod)[contract.ENV_POD_IP]["valueFrom"]
        assert address == {"fieldRef": {"fieldPath": "status.podIP"}}
        names = [variable["name"] for variable in container(pod)["env"]]
        assert names == sorted(set(names))
    assert leader["spec"]["volumes"] == follower["spec"]["volumes"]
    assert leader["spec"]["initContainers"] == follower["spec"]["initContainers"]


def test_a_follower_may_stay_longer_than_its_leader() -> None:
    leader, follower = templates("tensor-cpu")
    config = WorkerConfig.from_json(environment(leader)[ENV_CONFIG]["value"])
    grace = "terminationGracePeriodSeconds"
    assert leader["spec"][grace] >= config.grace_period_s()
    assert follower["spec"][grace] >= config.follower_grace_period_s() > leader["spec"][grace]


@pytest.mark.parametrize("name", SHAPES)
def test_both_pods_meet_the_restricted_standard(name: str) -> None:
    for pod in templates(name):
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        for each in [*pod["spec"]["initContainers"], container(pod)]:
            assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_network_admits_the_revision_and_nobody_else() -> None:
    policy = group.render_group_network(OWNER, REVISION)["spec"]
    members = policy["podSelector"]
    assert members["matchLabels"][naming.LABEL_REVISION] == REVISION
    assert [peer["podSelector"] for rule in policy["ingress"] for peer in rule["from"]] == [members]
    peers = [rule.get("to") for rule in policy["egress"]]
    assert peers == [[{"podSelector": members}], None]
    assert {port["port"] for port in policy["egress"][1]["ports"]} == {53}
    for kind in templates("tensor-cpu"):
        component = kind["metadata"]["labels"][naming.LABEL_COMPONENT]
        assert component in members["matchExpressions"][0]["values"]


@pytest.mark.parametrize(
    ("count", "sizes", "nodes", "word"),
    [
        (4, {"tensor": 2}, 2, "tensor x pipeline x data = 2"),
        (2, {"tensor": 2, "pipeline": 2}, 2, "= 4"),
        (6, {"tensor": 6}, 4, "evenly"),
        (1, {}, 1, "at least 2 pods"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(
    count: int, sizes: dict[str, int], nodes: int, word: str
) -> None:
    made = shaped("gpu", nodes, **sizes)
    made = replace(made, accelerators=replace(made.accelerators, count=count))
    problem = group.unfit(made)
    assert problem is not None
    assert word in problem
    with pytest.raises(ValueError, match=r"(accelerators|pods)"):
        group.render_group(OWNER, REVISION, made, replicas=1)


@pytest.mark.parametrize("nodes", [2, 4, 8])
def test_what_can_be_shared_out_is_not_refused(nodes: int) -> None:
    assert group.unfit(shaped("gpu", nodes, tensor=4, pipeline=2, data=2)) is None


def test_names_leave_room_for_what_the_controller_derives() -> None:
    longest = naming.group("a" * 40, REVISION)
    # The controller names a group's StatefulSet NAME-INDEX, and Kubernetes makes a label of that
    # name, a dash and a hash of ten characters.
    assert len(f"{longest}-999") + 1 + 10 <= 63
    assert naming.group("llama", "0123abcd") != naming.group("llama", "1123abcd")


def test_rescaling_keeps_the_templates_and_mutates_nothing() -> None:
    observed = engine.mark_served(rendered("tensor-cpu"))
    observed["status"] = {"replicas": 3}
    del observed["kind"]  # a list's items do not say what they are
    before = copy.deepcopy(observed)
    rescaled = group.rescale(observed, 5)
    assert observed == before
    assert (rescaled["apiVersion"], rescaled["kind"]) == (group.API_VERSION, group.KIND)
    assert rescaled["spec"] == {**observed["spec"], "replicas": 5}
    assert "status" not in rescaled
    assert engine.was_served(rescaled)


def test_the_digest_follows_the_pods_and_not_their_number() -> None:
    spec, nodes, sizes = SHAPES["tensor-cpu"]
    made = shaped(spec, nodes, **sizes)
    one = group.render_group(OWNER, REVISION, made, replicas=1)
    two = group.render_group(OWNER, REVISION, made, replicas=2)
    other = group.render_group(OWNER, REVISION, replace(made, drain_s=7.0), replicas=1)
    assert objects.applied_digest(one) == objects.applied_digest(two)
    assert objects.applied_digest(one) != objects.applied_digest(other)
