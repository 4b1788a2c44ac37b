"""Stories of a service whose replicas span pods: groups come, go, fail and are replaced."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from stoker import naming
from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model import reasons
from stoker.model.observed import ContainerFailure, ObservedObject
from stoker.model.plan import Apply, Delete
from stoker.model.platform import Platform
from stoker.naming import Component
from stoker.render import group
from stoker_worker.contract import Termination, TerminationReason
from tests.unit.plan import worlds
from tests.unit.plan.worlds import World

WITH_GROUPS = replace(worlds.PLATFORM, groups=True)
TWO_PODS: dict[str, Any] = {"parallelism": {"tensor": 2, "nodes": 2}}


class GroupWorld(World):
    """A cluster that also runs LeaderWorkerSets: groups of one leader and its followers."""

    def __init__(self, wanted: InferenceServiceSpec, platform: Platform = WITH_GROUPS) -> None:
        super().__init__(wanted, platform)
        self.stuck: dict[str, str] = {}  # by pod: what the scheduler says
        self.hold_leaders = False

    def run_pods(self, *, start: bool = True, finish: bool = True) -> None:
        leaders = {name for name, each in self.pods.items() if each.component is Component.ENGINE}
        if finish:
            # A group's other pods go after the leader has gone.
            for name, each in self.pods.items():
                if each.component is Component.FOLLOWER and name.rpartition("-")[0] not in leaders:
                    self.pods[name] = replace(each, deleting=True)
        super().run_pods(start=start, finish=finish)
        for present in list(self.objects.values()):
            if present.kind == group.KIND:
                self._run_group(present)
        for name, said in self.stuck.items():
            if name in self.pods:
                self.pods[name] = replace(
                    self.pods[name], ready=False, scheduled=False, unschedulable=said
                )
        for name, each in self.pods.items():
            if self.hold_leaders and each.component is Component.ENGINE:
                self.pods[name] = replace(each, ready=False)

    def _run_group(self, present: ObservedObject) -> None:
        spec, revision = present.body["spec"], _revision(present)
        told, size = spec["replicas"], spec["leaderWorkerTemplate"]["size"]
        for index in range(told):
            for rank in range(size):
                name = f"{present.name}-{index}" + (f"-{rank}" if rank else "")
                if name not in self.pods:
                    component = Component.FOLLOWER if rank else Component.ENGINE
                    self.pods[name] = worlds.pod(
                        name, component=component, revision=revision, created=self.born()
                    )
        for name, each in self.pods.items():
            own = each.component is Component.ENGINE and name.startswith(f"{present.name}-")
            if own and int(name.rpartition("-")[2]) >= told:
                self.pods[name] = replace(each, deleting=True)
        body = copy.deepcopy(dict(present.body))
        body["status"] = {"replicas": told}
        self.objects[group.KIND, present.name] = replace(present, body=body)

    def groups(self) -> dict[str, int]:
        """Told replicas of each group, by revision."""
        return {
            _revision(present): present.body["spec"]["replicas"]
            for present in self.objects.values()
            if present.kind == group.KIND
        }

    def followers(self) -> list[str]:
        return [name for name, each in self.pods.items() if each.component is Component.FOLLOWER]

    def policies(self) -> list[str]:
        """Names of the policies that belong to one revision."""
        return [
            name
            for (kind, name), present in self.objects.items()
            if kind == "NetworkPolicy" and naming.LABEL_REVISION in _labels(present)
        ]


def _labels(present: ObservedObject) -> Mapping[str, str]:
    labels: Mapping[str, str] = present.body["metadata"]["labels"]
    return labels


def _revision(present: ObservedObject) -> str:
    return _labels(present)[naming.LABEL_REVISION]


def settled(**fields: Any) -> GroupWorld:
    world = GroupWorld(worlds.spec(**TWO_PODS, **fields))
    world.settle()
    return world


def test_a_replica_of_two_pods_is_a_group_and_counts_as_one() -> None:
    world = settled(replicas=2)
    assert list(world.groups().values()) == [2]
    assert world.replicas() == {}, "no Deployment beside it"
    assert len(world.followers()) == 2
    assert world.status["replicas"] == world.status["readyReplicas"] == 2
    assert world.condition("Ready")["reason"] == reasons.ALL_READY
    assert world.condition("Progressing")["reason"] == reasons.SETTLED
    assert "over 2 pods" in str(world.status["plan"])


def test_a_settled_group_is_written_no_more() -> None:
    world = settled()
    before = world.status
    for _ in range(3):
        plan = world.look()
        assert plan.actions == ()
        assert plan.status == before


def test_its_policy_is_there_before_its_pods() -> None:
    world = GroupWorld(worlds.spec(**TWO_PODS))
    kinds = [
        (action.manifest["kind"], action.manifest["metadata"]["name"])
        for action in world.look().actions
        if isinstance(action, Apply)
    ]
    (name,) = [name for kind, name in kinds if kind == group.KIND]
    assert kinds.index(("NetworkPolicy", name)) < kinds.index((group.KIND, name))
    assert kinds.index((group.KIND, name)) < len(kinds) - 1, "the frontend is last"


def test_scaling_is_the_replicas_of_the_group() -> None:
    world = settled(replicas=1)
    (revision,) = world.groups()
    for wanted in (3, 1, 0):
        world.change(worlds.spec(**TWO_PODS, replicas=wanted))
        world.settle()
        assert world.groups() == {revision: wanted}
        assert world.ready() == wanted
        assert len(world.followers()) == wanted


def test_of_groups_the_highest_goes_so_no_cost_is_written() -> None:
    world = settled(replicas=3)
    world.change(worlds.spec(**TWO_PODS, replicas=1))
    plan = world.decide()
    assert [action.manifest["kind"] for action in plan.actions if isinstance(action, Apply)] == [
        "LeaderWorkerSet"
    ]
    assert plan.costs == ()


def test_a_change_rolls_from_group_to_group_and_leaves_nothing() -> None:
    world = settled(replicas=2)
    (old,) = world.groups()
    assert len(world.policies()) == 1
    world.change(worlds.spec(**TWO_PODS, replicas=2, engine={"args": {"max-num-seqs": "8"}}))
    seen = []
    for _ in range(40):
        world.look()
        world.run_pods()
        seen.append(world.ready())
    world.settle()
    assert min(seen) >= 2, "an old replica left before a new one answered"
    assert old not in world.groups()
    assert list(world.groups().values()) == [2]
    assert len(world.policies()) == 1
    assert len(world.followers()) == 2


@pytest.mark.parametrize("there_and_back", [False, True])
def test_a_replica_may_become_a_group_and_one_pod_again(*, there_and_back: bool) -> None:
    world = GroupWorld(worlds.spec(parallelism={"tensor": 2}))
    world.settle()
    assert list(world.replicas().values()) == [1]
    assert world.groups() == {}
    world.change(worlds.spec(**TWO_PODS))
    world.settle()
    assert (list(world.replicas().values()), list(world.groups().values())) == ([], [1])
    if there_and_back:
        world.change(worlds.spec(parallelism={"tensor": 2}))
        world.settle()
        assert (list(world.replicas().values()), list(world.groups().values())) == ([1], [])
        assert world.followers() == []
        assert world.policies() == []


def test_a_revision_is_not_gone_before_its_followers_are() -> None:
    """Recreate frees accelerators first, and a follower has some."""
    world = settled(rollout={"strategy": "recreate"})
    (old,) = world.groups()
    change = {"engine": {"args": {"max-num-seqs": "8"}}, "rollout": {"strategy": "recreate"}}
    world.change(worlds.spec(**TWO_PODS, **change))
    world.look()
    assert world.groups()[old] == 0
    leader = next(n for n, each in world.pods.items() if each.component is Component.ENGINE)
    del world.pods[leader]
    world.look()
    world.look()
    assert world.followers(), "its follower still ends"
    assert sum(world.groups().values()) == 0
    world.settle()
    assert old not in world.groups()
    assert sum(world.groups().values()) == 1


def test_what_keeps_a_follower_from_working_is_told() -> None:
    """A leader waits for its follower, so neither is ready and only one of them knows why."""
    world = GroupWorld(worlds.spec(**TWO_PODS))
    world.hold_leaders = True
    for _ in range(3):
        world.look()
        world.run_pods()
        world.stuck = dict.fromkeys(world.followers(), "0/1 nodes: Insufficient cpu")
    world.look()
    assert world.condition("Schedulable")["status"] == "False"
    assert "Insufficient cpu" in world.condition("Ready")["message"]

    world.stuck = {}
    lost = Termination(TerminationReason.GROUP_BROKEN, "pod 1 of the group started again")
    failure = ContainerFailure("engine", "Error", "", exit_code=1, termination=lost.to_json())
    (follower,) = world.followers()
    there = replace(world.pods[follower], ready=False, unschedulable=None, scheduled=True)
    world.pods[follower] = replace(there, failures=(failure,))
    world.look()
    assert world.condition("Ready")["reason"] == reasons.GROUP_BROKEN


def test_a_group_that_lacks_a_node_is_withdrawn_and_none_below_it() -> None:
    world = settled(replicas=3)
    ((revision, _),) = world.groups().items()
    (name,) = {follower.rpartition("-")[0].rpartition("-")[0] for follower in world.followers()}
    said = "0/2 nodes are available: 2 Insufficient cpu."
    world.stuck = {f"{name}-2-1": said}
    del world.pods[f"{name}-2-1"]  # its node is gone, and no other comes

    def live() -> None:
        for _ in range(20):
            world.look()
            world.run_pods()
            world.time += 59

    live()
    assert world.groups() == {revision: 2}
    (entry,) = world.status["capacity"]
    assert (entry["granted"], entry["attempts"]) == (2, 1)
    assert world.condition("Schedulable")["reason"] == reasons.NO_NODE_CAME
    assert said in world.condition("Schedulable")["message"]
    # The highest group goes first, whatever it lacks: what is below it costs more than a wait.
    world.stuck = {}
    live()
    assert world.groups() == {revision: 3}
    assert "capacity" not in world.status
    world.stuck = {f"{name}-0-1": said}
    del world.pods[f"{name}-0-1"]
    live()
    assert world.groups() == {revision: 3}


def test_without_the_administrators_consent_nothing_runs_and_it_is_said() -> None:
    world = GroupWorld(worlds.spec(**TWO_PODS), worlds.PLATFORM)
    world.settle()
    assert world.groups() == {}
    assert world.pods == {} or not world.ready()
    condition = world.condition("Planned")
    assert (condition["status"], condition["reason"]) == ("False", reasons.GROUPS_NOT_OFFERED)
    assert "leaderWorkerSet.enabled" in condition["message"]


def test_consent_that_is_withdrawn_leaves_what_runs() -> None:
    world = settled(replicas=1)
    pods = set(world.pods)
    world.platform = worlds.PLATFORM
    for _ in range(3):
        plan = world.look()
        assert not [action for action in plan.actions if isinstance(action, Delete)]
        world.run_pods()
    assert set(world.pods) == pods
    assert world.condition("Planned")["reason"] == reasons.GROUPS_NOT_OFFERED


def test_pods_that_do_not_divide_are_refused_with_the_way_out() -> None:
    world = GroupWorld(worlds.spec(parallelism={"tensor": 4, "nodes": 3}))
    world.settle()
    condition = world.condition("Planned")
    assert (condition["status"], condition["reason"]) == ("False", reasons.GROUP_UNEVEN)
    assert world.groups() == {}
