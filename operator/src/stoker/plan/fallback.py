"""Where the service goes when no node comes for the type that was planned.

A list of several types in `accelerator.types` is the user's consent to go from one to the next, in
the planner's order among those that may still come; so the plan is replaced without a question:

* Nothing of the revision has a node, and its type is refused: it is planned anew with the others.
  What serves meanwhile is an older revision, or nothing; requests stay held.
* The type that runs is not the preferred one, and the preferred one's pause is over: one replica of
  it is asked for beside those that run, as a surge would be. Only if a node comes for it the plan
  is replaced, and the rollout goes its usual way; else it is withdrawn and nothing was lost.

Whoever changes what is asked for (the spec, the model, an offer that is taken) wants it tried at
once: what was refused before is forgotten.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from stoker.api.v1alpha1 import InferenceServiceSpec, RolloutStrategy
from stoker.model.moment import Moment
from stoker.model.observed import Observed
from stoker.model.platform import Platform
from stoker.plan import capacity, planning
from stoker.plan.capacity import Capacity
from stoker.plan.planning import Planning
from stoker.plan.replica import types_of
from stoker.plan.rollout import RevisionState


@dataclass(frozen=True, slots=True)
class Probe:
    """A preferred type that is asked for again, beside the one that runs."""

    accelerator: str
    revision: str
    planning: Planning


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The plan to carry out, and what is known of nodes that did not come."""

    planning: Planning
    capacity: Capacity
    probe: Probe | None = None


def arrange(
    observed: Observed,
    spec: InferenceServiceSpec,
    platform: Platform,
    states: tuple[RevisionState, ...],
    *,
    wanted: int,
    room: bool,
    now: Moment,
) -> Arrangement:
    """The plan of a service whose spec is not refused.

    Parameters
    ----------
    wanted
        Replicas that are wanted in all.
    room
        Whether a replica of an older revision may give its place to the present one.
    """
    status = observed.service.status
    types = types_of(spec, platform)
    here = _type_of(status.get("plan"), types)
    found = capacity.look(observed, here, types, states, platform, wanted=wanted, now=now.unix)
    offered = tuple(name for name in types if name == here or found.of(name) is None)
    plain = planning.consider(observed, spec, platform, among=offered)
    if plain.revision is None:
        return Arrangement(plain, found)
    if plain.revision != status.get("revision"):
        plain = planning.consider(observed, spec, platform)
        return Arrangement(plain, Capacity(_type_of(plain.plan, types), now=now.unix))
    present = _Present(observed, spec, platform, states, wanted, types, plain, found)
    return present.elsewhere(room=room) or present.probe() or Arrangement(plain, found)


@dataclass(frozen=True, slots=True)
class _Present:
    """A plan that is carried out already, and what may become of it."""

    observed: Observed
    spec: InferenceServiceSpec
    platform: Platform
    states: tuple[RevisionState, ...]
    wanted: int
    types: tuple[str, ...]
    plain: Planning
    found: Capacity

    def elsewhere(self, *, room: bool) -> Arrangement | None:
        """The next type, where the present one brought nothing."""
        found = self.found
        entry = found.of(found.here)
        if entry is None or not found.closed(found.here) or self._state(self._last).placed:
            return None
        if room and entry.attempts == 1:
            return None  # first in the place of an old replica, on the type that is preferred
        moved = self._planned(tuple(name for name in self.types if not found.closed(name)))
        if moved is None:
            return None
        return Arrangement(moved, replace(found, here=_type_of(moved.plan, self.types)))

    def probe(self) -> Arrangement | None:
        """A preferred type whose pause is over, asked for beside what runs."""
        name = self._preferred()
        entry = None if name is None else self.found.of(name)
        if name is None or entry is None:
            return None
        trial = self._planned((name,))
        left = tuple(each for each in self.found.refused if each is not entry)
        if trial is None or trial.revision is None:
            return Arrangement(self.plain, replace(self.found, refused=left))
        if self._others(trial.revision):
            return None
        if self._state(trial.revision).placed:
            return Arrangement(trial, replace(self.found, here=name, refused=left))
        now, deadline = self.found.now, self._deadline(name)
        pending = [
            pod
            for pod in capacity.waiting_pods(self.observed.pods)
            if pod.revision == trial.revision
        ]
        ends = [max(pod.created, entry.retry_at) + deadline for pod in pending]
        if any(end <= now for end in ends):
            again = capacity.refuse(
                entry, name, entry.granted, entry.since, now=now, platform=self.platform
            )
            known = replace(
                self.found,
                refused=(*left, again),
                fresh=(*self.found.fresh, again),
                said=pending[0].unschedulable or "",
            )
            return Arrangement(self.plain, known)
        soonest = min(
            (*ends, *(() if self.found.until is None else (self.found.until,))), default=None
        )
        return Arrangement(
            self.plain, replace(self.found, until=soonest), Probe(name, trial.revision, trial)
        )

    @property
    def _last(self) -> str:
        return self.plain.revision or ""

    def _preferred(self) -> str | None:
        """The first type before the present one that may be asked for again now."""
        found, rolling = self.found, self.spec.rollout.strategy is RolloutStrategy.ROLLING
        serves = self.wanted > 0 and self._state(self._last).ready > 0
        if not rolling or not serves or found.here not in self.types or found.closed(found.here):
            return None
        before = self.types[: self.types.index(found.here)]
        return next((n for n in before if found.of(n) and not found.closed(n)), None)

    def _planned(self, among: tuple[str, ...]) -> Planning | None:
        """A plan with one of these types, if there is one."""
        if not among:
            return None
        moved = planning.consider(self.observed, self.spec, self.platform, among=among, anew=True)
        told = moved.plan or {}
        if moved.revision in {None, self._last} or told.get("accelerator") not in among:
            return None
        return moved

    def _others(self, trial: str) -> bool:
        """Whether a rollout is on its way."""
        return any(
            state.name not in {self._last, trial} and (state.replicas or state.pods)
            for state in self.states
        )

    def _state(self, name: str) -> RevisionState:
        absent = RevisionState(name, 0, 0, 0, served=False)
        return next((state for state in self.states if state.name == name), absent)

    def _deadline(self, name: str) -> float:
        return capacity.deadline_s(self.observed.service.status, name, self.platform)


def _type_of(plan: object, types: tuple[str, ...]) -> str:
    """The type of a plan; the first that may be chosen, where there is none."""
    name = plan.get("accelerator") if isinstance(plan, Mapping) else None
    return name if isinstance(name, str) else types[0]
