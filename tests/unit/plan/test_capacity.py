"""Stories of nodes that do not come: what is withdrawn, said, tried instead, and tried again."""

import json
from dataclasses import replace
from typing import Any

import pytest

from stoker import autoscale, naming
from stoker.model import reasons
from stoker.model.observed import ContainerFailure, ObservedPod
from stoker.model.plan import Event
from stoker.model.platform import AcceleratorPlatform, Platform
from stoker.naming import Component
from stoker.plan import capacity
from tests.unit.plan import worlds
from tests.unit.plan.worlds import PLANNING, World

A100, L4 = "nvidia-a100", "nvidia-l4"
BOTH: dict[str, Any] = {
    "accelerator": {"types": [A100, L4], "perReplica": 1},
    "context": {"maxModelLen": 8192},
}
ONE: dict[str, Any] = {**BOTH, "accelerator": {"types": [L4], "perReplica": 1}}
SAID = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: no victims found."
MINUTE = 60.0


class Scarce(World):
    """A cluster with so many accelerators of each type; who has one keeps it until it is gone."""

    def __init__(self, nodes: dict[str, int], platform: Platform = PLANNING, **fields: Any) -> None:
        super().__init__(worlds.spec(**fields), platform)
        self.nodes = nodes
        self.said = SAID
        self.events: list[Event] = []
        self._placed: set[str] = set()
        self._selectors: dict[str | None, Any] = {}

    def run_pods(self, *, start: bool = True, finish: bool = True) -> None:
        super().run_pods(start=start, finish=finish)
        self._placed &= set(self.pods)
        taken = dict.fromkeys(self.nodes, 0)
        for name in self._placed:
            taken[self.type_of(self.pods[name])] += 1
        for name, each in self.pods.items():
            if each.component is not Component.ENGINE or name in self._placed:
                continue
            kind = self.type_of(each)
            if taken[kind] < self.nodes[kind] and not each.deleting:
                taken[kind] += 1
                self._placed.add(name)
                self.pods[name] = replace(
                    each, scheduled=True, unschedulable=None, node="n", scheduled_at=self.time
                )
            else:
                self.pods[name] = replace(
                    each, ready=False, scheduled=False, node=None, unschedulable=self.said
                )

    def type_of(self, pod: ObservedPod) -> str:
        """The type that a pod asks for, by its Deployment's labels of nodes."""
        (found,) = [
            name
            for name, entry in self.platform.accelerators.items()
            if entry.node_selector and entry.node_selector == self.selectors[pod.revision]
        ]
        return found

    @property
    def selectors(self) -> dict[str | None, Any]:
        """Labels of nodes, by revision; of those that are gone too."""
        for present in self.objects.values():
            labels = present.body["metadata"].get("labels") or {}
            if present.kind == "Deployment" and naming.LABEL_REVISION in labels:
                spec = present.body["spec"]["template"]["spec"]
                self._selectors[labels[naming.LABEL_REVISION]] = spec["nodeSelector"]
        return self._selectors

    def live(self, minutes: float, step: float = 20.0) -> None:
        """Let so much time pass."""
        end = self.time + minutes * MINUTE
        while self.time < end:
            plan = self.look()
            self.events += [each for each in plan.events if each.reason == reasons.NO_NODE_CAME]
            self.run_pods()
            self.time += step - 1

    def asked(self) -> dict[str, int]:
        """Engine pods that there are, by type."""
        found: dict[str, int] = {}
        for each in self.pods.values():
            if each.component is Component.ENGINE and not each.deleting:
                kind = self.type_of(each)
                found[kind] = found.get(kind, 0) + 1
        return found

    def answers(self) -> dict[str, int]:
        """Engine pods that answer, by type."""
        found: dict[str, int] = {}
        for each in self.pods.values():
            if each.component is Component.ENGINE and each.ready and not each.deleting:
                kind = self.type_of(each)
                found[kind] = found.get(kind, 0) + 1
        return found

    def entry(self, name: str) -> dict[str, Any]:
        """What the status says of a type."""
        (found,) = [e for e in self.status.get("capacity", ()) if e["accelerator"] == name]
        return dict(found)

    def known(self) -> list[str]:
        """Types of which the status says something."""
        return [each["accelerator"] for each in self.status.get("capacity", ())]


def test_a_first_replica_that_gets_no_node_goes_to_the_next_type() -> None:
    world = Scarce({A100: 0, L4: 1}, **BOTH)
    world.live(14)
    assert world.asked() == {A100: 1}
    waits = world.condition("Schedulable")
    assert (waits["status"], waits["reason"]) == ("False", reasons.NO_NODE_FOR_ACCELERATOR)
    assert "until 1970-01-01T00:3" in waits["message"]
    assert SAID in waits["message"]
    assert world.known() == []
    (first,) = world.replicas()
    world.live(3)
    # One plan for another, without a question: the list is the consent.
    assert world.status["plan"]["accelerator"] == L4
    assert world.answers() == {L4: 1}
    assert first not in world.replicas()
    assert world.asked() == {L4: 1}
    assert world.entry(A100)["attempts"] == 1
    assert world.entry(A100)["granted"] == 0
    told = world.condition("Schedulable")
    assert (told["status"], told["reason"]) == ("True", reasons.ON_OTHER_ACCELERATOR)
    assert f"no node came for {A100}" in told["message"]
    assert world.condition("Ready")["status"] == "True"
    (event,) = world.events
    assert event.type == "Warning"
    assert f"No node came for {A100}, asked for once since" in event.message
    assert f"the service goes on with {L4}" in event.message
    assert event.message.endswith(f"The scheduler said: {SAID}")


def test_the_preferred_type_is_tried_again_beside_what_serves() -> None:
    world = Scarce({A100: 0, L4: 1}, **BOTH)
    world.live(18)
    assert world.answers() == {L4: 1}
    (serving,) = world.replicas()
    world.live(5)  # the first pause ends
    assert world.asked() == {L4: 1, A100: 1}
    assert world.status["plan"]["accelerator"] == L4
    assert world.status["revision"] == serving
    assert world.condition("Ready")["reason"] == reasons.ALL_READY
    assert world.condition("Schedulable")["status"] == "True"
    assert world.condition("Progressing")["reason"] == reasons.SETTLED
    world.live(16)
    assert world.asked() == {L4: 1}
    assert world.answers() == {L4: 1}
    assert list(world.replicas()) == [serving]  # never restarted
    assert world.entry(A100)["attempts"] == 2
    assert len(world.events) == 2
    # The second pause is twice the first.
    world.live(6, step=60)
    assert world.asked() == {L4: 1}
    world.live(4)
    assert world.asked() == {L4: 1, A100: 1}


def test_pauses_double_up_to_an_hour() -> None:
    pauses = [capacity.pause_s(attempts, PLANNING) / MINUTE for attempts in range(1, 8)]
    assert pauses == [5, 10, 20, 40, 60, 60, 60]
    assert capacity.pause_s(10**9, PLANNING) == 60 * MINUTE


def test_a_preferred_type_that_comes_takes_over_without_an_interruption() -> None:
    world = Scarce({A100: 0, L4: 2}, **BOTH, replicas=2)
    world.live(18)
    assert world.answers() == {L4: 2}
    world.nodes[A100] = 2
    least = 2
    for _ in range(60):
        world.live(0.3)
        least = min(least, world.ready())
    assert least == 2
    assert world.answers() == {A100: 2}
    assert world.status["plan"]["accelerator"] == A100
    assert "capacity" not in world.status
    assert world.condition("Schedulable")["reason"] == reasons.SCHEDULED


def test_further_replicas_are_withdrawn_and_what_is_there_serves_on() -> None:
    world = Scarce({L4: 2}, **ONE, replicas=5)
    world.live(13)
    assert world.asked() == {L4: 5}
    assert world.answers() == {L4: 2}
    world.live(4)
    assert world.asked() == {L4: 2}
    assert world.answers() == {L4: 2}
    assert world.entry(L4)["granted"] == 2
    assert world.status["desiredReplicas"] == 5
    for kind in ("Schedulable", "Progressing"):
        told = world.condition(kind)
        assert (told["status"], told["reason"]) == ("False", reasons.NO_NODE_CAME), kind
        assert "no more is asked for than the 2 replicas that have a node" in told["message"]
        assert told["message"].endswith(SAID)
    assert world.condition("Ready")["reason"] == reasons.SOME_REPLICAS_READY
    # While it waits nothing is written.
    before = world.status
    assert world.look().actions == ()
    assert world.status == before
    # A scale-down within what is there goes on, and up again too.
    world.change(worlds.spec(**ONE, replicas=1))
    world.live(1)
    assert world.answers() == {L4: 1}
    world.change(worlds.spec(**ONE, replicas=4))
    world.live(1)
    assert world.answers() == {L4: 2}
    assert world.asked() == {L4: 2}


def test_they_are_asked_for_again_and_forgotten_when_they_come() -> None:
    world = Scarce({L4: 2}, **ONE, replicas=4)
    world.live(17)
    assert world.asked() == {L4: 2}
    world.nodes[L4] = 3
    world.live(5)
    assert world.asked() == {L4: 4}
    assert world.answers() == {L4: 3}
    world.live(15)  # one came, so the pauses begin anew
    assert world.asked() == {L4: 3}
    assert (world.entry(L4)["attempts"], world.entry(L4)["granted"]) == (1, 3)
    world.nodes[L4] = 4
    world.live(6)
    assert world.answers() == {L4: 4}
    assert "capacity" not in world.status
    assert world.condition("Schedulable")["reason"] == reasons.SCHEDULED


def test_a_replica_that_loses_its_node_is_given_time_for_another() -> None:
    world = Scarce({L4: 2}, **ONE, replicas=3)
    world.live(17)
    assert world.asked() == {L4: 2}
    gone = next(name for name, each in world.pods.items() if each.ready and "-engine-" in name)
    del world.pods[gone]
    world.live(1)
    assert world.answers() == {L4: 2}  # the accelerator was free again


def test_a_node_that_comes_a_moment_after_the_withdrawal_is_used_at_the_next_attempt() -> None:
    world = Scarce({L4: 0}, **ONE)
    while not world.known():
        world.live(0.3)
    assert world.replicas() == dict.fromkeys(world.replicas(), 0)
    world.nodes[L4] = 1
    world.live(4)
    assert world.asked() == {}
    ready, schedulable = world.condition("Ready"), world.condition("Schedulable")
    for told in (ready, schedulable):
        assert (told["status"], told["reason"]) == ("False", reasons.NO_NODE_CAME)
        assert "no replica is asked for meanwhile" in told["message"]
        assert SAID in told["message"]
    world.live(3)
    assert world.answers() == {L4: 1}
    assert "capacity" not in world.status


def test_a_pod_that_got_its_node_while_it_was_withdrawn_costs_one_attempt() -> None:
    world = Scarce({L4: 1}, **ONE, replicas=2)
    while not world.known():
        world.look()
        world.time += 19
        if world.known():
            break  # withdrawn, and nobody has carried it out yet
        world.run_pods()
    world.nodes[L4] = 2
    late = {name: each for name, each in world.pods.items() if each.unschedulable}
    for name, each in late.items():
        world.pods[name] = replace(each, scheduled=True, unschedulable=None, node="n")
    world.live(1)
    assert world.ready() == 1
    world.live(6)
    assert world.answers() == {L4: 2}
    assert "capacity" not in world.status


def test_every_type_is_tried_in_turn() -> None:
    world = Scarce({A100: 0, L4: 0}, **BOTH)
    world.live(17)
    assert world.asked() == {L4: 1}
    world.live(15)
    # The preferred one's pause is over by now, and nothing serves that it could stand beside.
    assert world.known() == [A100, L4]
    assert world.asked() == {A100: 1}
    world.nodes[A100] = 1
    world.live(1)
    assert world.answers() == {A100: 1}
    world.live(8)
    assert "capacity" not in world.status


def test_a_restart_of_the_operator_changes_nothing() -> None:
    world = Scarce({A100: 0, L4: 1}, **BOTH, replicas=2)
    restarted = Scarce({A100: 0, L4: 1}, **BOTH, replicas=2)
    for _ in range(50):
        world.live(1, step=30)
        restarted.live(1, step=30)
        fresh = autoscale.begin(restarted.observe())
        restarted.history, restarted.past = fresh, replace(restarted.past, put_back=())
        restarted.status = json.loads(json.dumps(restarted.status))
        assert restarted.status.get("capacity") == world.status.get("capacity")
        assert restarted.asked() == world.asked()
    assert world.answers() == {L4: 1}


def test_a_change_of_the_spec_is_tried_at_once() -> None:
    world = Scarce({L4: 0}, **ONE)
    world.live(17)
    assert world.asked() == {}
    world.nodes[L4] = 1
    world.change(worlds.spec(**{**ONE, "context": {"maxModelLen": 4096}}))
    world.live(1)
    assert world.answers() == {L4: 1}
    assert "capacity" not in world.status


def test_without_a_plan_for_the_next_type_the_first_is_asked_for_again() -> None:
    # Without quantization 16 GiB of weights and a long context do not fit an L4.
    spec = {
        **BOTH,
        "context": {"maxModelLen": 131_072},
        "optimization": {"quantization": "none", "kvCache": {"dtype": "none"}},
    }
    world = Scarce({A100: 0, L4: 3}, **spec)
    world.live(17)
    assert world.status["plan"]["accelerator"] == A100
    assert world.condition("Planned")["status"] == "True"
    assert world.asked() == {}
    world.nodes[A100] = 1
    world.live(5)
    assert world.answers() == {A100: 1}


def fresh(world: Scarce) -> None:
    """A change that replaces every replica, on the same type."""
    world.change(worlds.spec(**{**ONE, "template": {"labels": {"team": "blue"}}}, replicas=3))


def test_a_rollout_without_room_for_a_surge_takes_the_old_ones_places() -> None:
    world = Scarce({L4: 3}, **ONE, replicas=3)
    world.live(2)
    (old,) = world.replicas()
    fresh(world)
    world.live(13)
    assert world.replicas()[old] == 3
    least = 3
    for _ in range(30):
        world.live(0.5)
        least = min(least, world.ready())
        if old not in world.replicas():
            break
    assert least == 2
    assert world.answers() == {L4: 3}
    assert old not in world.replicas()
    assert len(world.events) == 1
    assert "old replicas go one by one" in world.events[0].message


def test_a_rollout_whose_places_are_taken_by_somebody_else_loses_one_replica_at_most() -> None:
    world = Scarce({L4: 3}, **ONE, replicas=3)
    world.live(2)
    (old,) = world.replicas()
    fresh(world)
    world.live(13)
    while world.replicas()[old] == 3:
        world.live(0.4)
    world.nodes[L4] = 2  # what was freed is gone
    for _ in range(70):
        world.live(1, step=60)
        assert world.ready() == 2
    world.nodes[L4] = 3
    world.live(80, step=60)
    assert world.answers() == {L4: 3}
    assert old not in world.replicas()


def test_a_single_replica_is_not_given_up_for_a_new_revision() -> None:
    world = Scarce({L4: 1}, **ONE)
    world.live(2)
    (old,) = world.replicas()
    world.change(worlds.spec(**{**ONE, "template": {"labels": {"team": "blue"}}}))
    world.live(17)
    assert world.asked() == {L4: 1}
    assert world.replicas()[old] == 1
    assert world.ready() == 1
    told = world.condition("Progressing")
    assert (told["status"], told["reason"]) == ("False", reasons.ROLLOUT_BLOCKED)
    assert "rollout.strategy: recreate" in told["message"]
    assert world.condition("Ready")["reason"] == reasons.OLD_REVISION_SERVES
    world.live(4)
    assert world.asked() == {L4: 2}  # tried again
    world.nodes[L4] = 2
    world.live(3)
    assert old not in world.replicas()
    assert world.answers() == {L4: 1}


def test_a_new_revision_without_room_goes_to_the_next_type() -> None:
    world = Scarce({A100: 1, L4: 1}, **BOTH)
    world.live(2)
    (old,) = world.replicas()
    world.change(worlds.spec(**{**BOTH, "template": {"labels": {"team": "blue"}}}))
    world.live(18)
    assert world.answers() == {L4: 1}
    assert old not in world.replicas()
    # Its place is free now, so the preferred type is had again in the end.
    world.live(10)
    assert world.answers() == {A100: 1}


def test_a_change_of_the_type_waits_beside_what_serves() -> None:
    world = Scarce({A100: 0, L4: 3}, **ONE, replicas=3)
    world.live(2)
    (old,) = world.replicas()
    world.change(
        worlds.spec(**{**ONE, "accelerator": {"types": [A100], "perReplica": 1}}, replicas=3)
    )
    world.live(17)
    assert world.asked() == {L4: 3}
    told = world.condition("Progressing")
    assert (told["status"], told["reason"]) == ("False", reasons.ROLLOUT_BLOCKED)
    assert "the old revision serves meanwhile" in told["message"]
    assert "recreate" not in told["message"]  # its place would not do
    # Some of the new type come: both serve, and nothing is lost.
    world.nodes[A100] = 1
    world.live(25)
    assert world.answers() == {A100: 1, L4: 2}
    assert world.condition("Progressing")["reason"] == reasons.ROLLOUT_BLOCKED
    world.nodes[A100] = 4
    world.live(20)
    assert world.answers() == {A100: 3}
    assert old not in world.replicas()


def test_spot_before_on_demand_is_an_order_of_two_types() -> None:
    """As docs/scaling.md has it: the same hardware twice, told apart by a label of the node."""
    capacity_type = "karpenter.sh/capacity-type"
    sure, gpu = PLANNING.accelerators[L4], PLANNING.gpus[L4]
    spot = f"{L4}-spot"

    def entry(name: str, kind: str) -> AcceleratorPlatform:
        return replace(sure, name=name, node_selector={**sure.node_selector, capacity_type: kind})

    platform = replace(
        PLANNING,
        accelerators={
            "cpu": PLANNING.accelerators["cpu"],
            spot: entry(spot, "spot"),
            L4: entry(L4, "on-demand"),
        },
        gpus={**PLANNING.gpus, spot: replace(gpu, name=spot, price_per_hour=0.28)},
    )
    types = {"types": [spot, L4], "perReplica": 1}
    world = Scarce({spot: 2, L4: 2}, platform, **{**BOTH, "accelerator": types}, replicas=2)
    world.live(2)
    assert world.answers() == {spot: 2}
    world.nodes[spot] = 0  # both are taken back
    for name in [n for n, each in world.pods.items() if "-engine-" in n and each.ready]:
        del world.pods[name]
    world.live(17)
    assert world.answers() == {L4: 2}
    assert world.entry(spot)["attempts"] == 1
    # Who says spot alone gets nothing else.
    alone = Scarce({spot: 0, L4: 2}, platform, **{**ONE, "accelerator": {**types, "types": [spot]}})
    alone.live(40, step=60)
    assert alone.answers() == {}
    assert alone.status["plan"]["accelerator"] == spot


def test_a_revision_that_served_before_is_not_asked_for_beside_the_next_type() -> None:
    world = Scarce({A100: 1, L4: 1}, **BOTH)
    world.live(2)
    world.change(worlds.spec(**BOTH, replicas=0))
    world.live(2)
    world.nodes[A100] = 0
    world.change(worlds.spec(**BOTH))
    while world.status["plan"]["accelerator"] == A100:
        world.live(0.4)
    world.live(1)
    assert world.asked() == {L4: 1}


@pytest.mark.parametrize(
    ("said", "gated", "reason"),
    [
        ("pod has unbound immediate PersistentVolumeClaims", False, reasons.CLAIM_NOT_BOUND),
        ('persistentvolumeclaim "models" not found', False, reasons.CLAIM_NOT_BOUND),
        ("Scheduling is blocked due to non-empty scheduling gates", True, "SchedulingGated"),
    ],
)
def test_what_another_node_would_not_help_is_told_and_left(
    said: str, reason: str, *, gated: bool
) -> None:
    world = Scarce({A100: 0, L4: 1}, **BOTH)
    world.said = said
    for _ in range(20):
        world.live(1, step=60)
        world.pods = {name: replace(each, gated=gated) for name, each in world.pods.items()}
    assert world.asked() == {A100: 1}
    assert "capacity" not in world.status
    assert world.condition("Schedulable")["reason"] == reason


def test_a_pod_that_has_a_node_and_does_not_start_is_another_matter() -> None:
    world = Scarce({A100: 1, L4: 1}, **BOTH)
    world.live(0.5)
    for name, each in world.pods.items():
        if "-engine-" in name:
            assert each.revision is not None
            world.broken[each.revision] = (ContainerFailure("engine", "ErrImagePull", ""),)
    world.live(20, step=60)
    assert world.status["plan"]["accelerator"] == A100
    assert "capacity" not in world.status


def test_pods_that_quota_forbids_are_told() -> None:
    world = Scarce({L4: 3}, **ONE, replicas=2)
    world.live(2)
    (name,) = [n for kind, n in world.objects if kind == "Deployment" and "-engine-" in n]
    present = world.deployment(name)
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: gpus"}
    status = {**present.body["status"], "conditions": [refused]}
    world.objects["Deployment", name] = replace(present, body={**present.body, "status": status})
    world.look()
    told = world.condition("Schedulable")
    assert (told["status"], told["reason"]) == ("False", reasons.PODS_REFUSED)
    assert "exceeded quota: gpus" in told["message"]


@pytest.mark.parametrize(
    ("startup", "deadline"),
    [
        (None, 900),
        ({"accelerator": "another", "nodeSeconds": 400.0}, 900),
        ({"accelerator": L4, "nodeSeconds": 0.0}, 300),
        ({"accelerator": L4, "nodeSeconds": 400.0}, 1200),
        ({"accelerator": L4, "nodeSeconds": 9999.0}, 3600),
        ({"accelerator": L4, "nodeSeconds": float("nan")}, 900),
        ({"accelerator": L4}, 900),
    ],
)
def test_the_deadline_is_learned(startup: dict[str, Any] | None, deadline: float) -> None:
    assert capacity.deadline_s({"startup": startup}, L4, PLANNING) == deadline


def test_what_a_status_holds_is_read_with_care() -> None:
    good = {
        "accelerator": L4,
        "granted": 2,
        "since": "2026-01-01T00:00:00Z",
        "retryAt": "2026-01-01T00:20:00Z",
        "attempts": 3,
    }
    for name in good:
        assert capacity.stored({"capacity": [{k: v for k, v in good.items() if k != name}]}) == {}
    for bad in ({"since": "yesterday"}, {"attempts": "many"}, {"granted": None}):
        assert capacity.stored({"capacity": [{**good, **bad}, "nonsense"]}) == {}
    assert capacity.stored({"capacity": "nonsense"}) == {}
    (found,) = capacity.stored({"capacity": [good]}).values()
    assert capacity.status_of(capacity.Capacity(L4, (found,))) == [good]


def test_times_may_jump() -> None:
    world = Scarce({L4: 1}, **ONE, replicas=2)
    world.live(17)
    for jump in (-3600.0, 86_400.0, -86_000.0):
        world.time += jump
        world.live(2)
        assert world.ready() == 1
    world.nodes[L4] = 2
    world.live(60, step=60)
    assert world.answers() == {L4: 2}
