"""All that a pass judges by, gathered once: the look, the decision on replicas, and what follows.

Every check of `plan.conditions` and every part of status reads this one value.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from stoker import naming
from stoker.api.v1alpha1 import InferenceServiceSpec
from stoker.model import reasons
from stoker.model.moment import rfc3339
from stoker.model.observed import Observed, ObservedObject, ObservedPod
from stoker.model.plan import Verdict
from stoker.model.replica import Replica
from stoker.model.scale import ScaleDecision
from stoker.naming import Component
from stoker.plan import failures
from stoker.plan.capacity import Capacity
from stoker.plan.fallback import Probe
from stoker.plan.planning import Planning
from stoker.plan.rollout import RevisionState, Step
from stoker.render import engine, group, workload

# What a check of a condition finds: True, False or Unknown with its verdict; None: nothing to say.
Finding = tuple[str, Verdict] | None

_ENDED: Final = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Situation:
    """One service at one moment."""

    observed: Observed
    scale: ScaleDecision
    refusal: Verdict | None  # why the spec cannot be carried out
    planning: Planning | None  # what became of the plan; None where the spec is refused
    revision: str | None  # the revision that is carried out
    states: tuple[RevisionState, ...]
    step: Step
    frontend_replicas: int
    unsuitable: Verdict | None = None  # what the planned type's nodes say against the plan
    fight: Verdict | None = None  # who else changes the number of replicas again and again
    capacity: Capacity = field(default_factory=Capacity)  # which nodes did not come
    probe: Probe | None = None  # the type that is asked for beside the one that runs
    shares: bool = False  # whether an old replica has a place that would do for a new one
    room: bool = False  # and may leave it before the new one is ready

    @property
    def replica(self) -> Replica | None:
        """What one replica of the wanted revision is; None where that cannot be told."""
        return None if self.planning is None else self.planning.replica

    @property
    def spec(self) -> InferenceServiceSpec | None:
        """The spec, when it could be read."""
        return self.observed.service.spec

    @property
    def engines(self) -> list[ObservedPod]:
        """Engine pods of every revision."""
        return pods_of(self.observed, Component.ENGINE)

    @property
    def asked(self) -> list[ObservedPod]:
        """The same without what is only tried."""
        trial = None if self.probe is None else self.probe.revision
        return [pod for pod in self.engines if trial is None or pod.revision != trial]

    @property
    def frontends(self) -> list[ObservedPod]:
        """Frontend pods."""
        return pods_of(self.observed, Component.FRONTEND)

    @property
    def followers(self) -> list[ObservedPod]:
        """Pods that compute for an engine pod, where a replica spans several."""
        return pods_of(self.observed, Component.FOLLOWER)

    @property
    def readers(self) -> list[ObservedPod]:
        """Pods that look at the model."""
        return pods_of(self.observed, Component.FACTS)

    @property
    def mine(self) -> list[ObservedPod]:
        """Engine pods of the revision that is carried out, and their followers."""
        pods = (*self.engines, *self.followers)
        return [pod for pod in pods if pod.revision == self.revision]

    @property
    def state(self) -> RevisionState:
        """The revision that is carried out."""
        for state in self.states:
            if state.name == self.revision:
                return state
        return RevisionState(self.revision or "", 0, 0, 0, served=False)

    @property
    def ready(self) -> int:
        """Engine pods that answer, of every revision."""
        return sum(state.ready for state in self.states)

    @property
    def others(self) -> list[RevisionState]:
        """Older revisions of which something is left."""
        own = {self.revision, None if self.probe is None else self.probe.revision}
        return [s for s in self.states if s.name not in own and (s.replicas or s.pods)]

    @property
    def withheld(self) -> int:
        """Replicas that are wanted and not asked for, because no node comes for them."""
        if self.capacity.limit is None:
            return 0
        return max(0, self.scale.replicas - sum(self.step.replicas.values()))

    @property
    def claim_problem(self) -> tuple[str, str | None] | None:
        """The first claim that cannot be mounted, and its phase (None: there is no such claim)."""
        for claim, phase in sorted(self.observed.claims.items()):
            if phase != "Bound":
                return claim, phase
        return None

    @property
    def failure(self) -> Verdict | None:
        """Why the engine pods of this revision do not answer."""
        resource = self.replica.accelerators.resource if self.replica is not None else None
        return (
            failures.failure_of(self.mine)
            or failures.unschedulable_of(self.mine, resource, self.until)
            or refused_pods(self.observed, self.revision)
        )

    @property
    def until(self) -> str | None:
        """When pods that wait for a node are withdrawn."""
        at = self.capacity.until
        return None if at is None else rfc3339(at)

    @property
    def wants_nothing(self) -> bool:
        """Whether no replica is wanted."""
        return self.scale.replicas == 0


def pods_of(observed: Observed, component: Component) -> list[ObservedPod]:
    """Pods of one component, in a stable order."""
    return sorted(
        (pod for pod in observed.pods if pod.component is component),
        key=lambda pod: (pod.created, pod.name),
    )


def workloads(observed: Observed) -> dict[str, ObservedObject]:
    """What runs the engine revisions, by revision: a Deployment or a LeaderWorkerSet each."""
    found = {}
    for candidate in observed.objects:
        labels = candidate.body.get("metadata", {}).get("labels") or {}
        revision = labels.get(naming.LABEL_REVISION)
        if (
            candidate.kind in workload.KINDS
            and revision
            and labels.get(naming.LABEL_COMPONENT) == Component.ENGINE.value
        ):
            found[revision] = candidate
    return found


def spec_replicas(present: ObservedObject) -> int:
    """Replicas that a workload is told to have."""
    replicas = present.body.get("spec", {}).get("replicas")
    return replicas if isinstance(replicas, int) else 1


def revision_states(observed: Observed) -> tuple[RevisionState, ...]:
    """What there is of each revision, by workloads and by pods."""
    found = workloads(observed)
    pods = pods_of(observed, Component.ENGINE)
    # A follower outlives its leader, and its accelerators are taken until it is gone.
    lingering = {pod.revision for pod in pods_of(observed, Component.FOLLOWER) if pod.revision}
    states = []
    for name in sorted({*found, *(pod.revision for pod in pods if pod.revision), *lingering}):
        own = [pod for pod in pods if pod.revision == name]
        ready = sum(pod.ready and not pod.deleting for pod in own)
        present = found.get(name)
        body: Mapping[str, Any] = present.body if present is not None else {}
        exist = max(len(own), (body.get("status") or {}).get("replicas") or 0)
        states.append(
            RevisionState(
                name=name,
                replicas=spec_replicas(present) if present is not None else 0,
                ready=ready,
                pods=max(exist, name in lingering),
                served=ready > 0 or engine.was_served(body),
                placed=_placed(observed, name, present),
            )
        )
    return tuple(states)


def _placed(observed: Observed, revision: str, present: ObservedObject | None) -> int:
    """Replicas of a revision that have a node.

    Of groups the highest goes first, so those below one that has all its nodes count with it.
    """
    pods = [
        pod
        for pod in observed.pods
        if pod.revision == revision
        and (pod.scheduled or pod.ready)
        and not pod.deleting
        and pod.phase not in _ENDED
    ]
    if present is None or present.kind != group.KIND:
        return sum(pod.component is Component.ENGINE for pod in pods)
    found: dict[int, int] = {}
    for pod in pods:
        number = pod.name.removeprefix(f"{present.name}-").partition("-")[0]
        if number.isdecimal():
            found[int(number)] = found.get(int(number), 0) + 1
    size = group.size_of(present.body)
    return max((number + 1 for number, count in found.items() if count >= size), default=0)


def refused_pods(observed: Observed, revision: str | None) -> Verdict | None:
    """What the API server says when it does not let a Deployment make its pods."""
    present = workloads(observed).get(revision or "")
    if present is None:
        return None
    for condition in (present.body.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return Verdict(
                reasons.PODS_REFUSED,
                f"The API server refuses the pods (quota or policy): {condition.get('message')}",
            )
    return None
