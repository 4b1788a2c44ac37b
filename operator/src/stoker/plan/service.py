"""One pass over one service: from a look at the cluster to everything that should happen.

    refuse?  →  plan  →  revision  →  rollout step  →  writes  →  conditions  →  status, events
                                                         └►  who goes; who else scales

This is the only place that decides replicas of Deployments: the autoscaler says how many there
should be in all, the rollout step shares them among revisions. What cannot be carried out changes
nothing that runs: the last good revision keeps its pods, and still scales.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stoker.api.v1alpha1 import InferenceServiceSpec, RolloutStrategy
from stoker.model import reasons
from stoker.model.moment import Moment, earliest
from stoker.model.observed import Observed, ObservedService
from stoker.model.past import Past
from stoker.model.plan import Apply, Delete, Plan, Verdict
from stoker.model.platform import Platform
from stoker.model.scale import ScaleDecision
from stoker.plan import (
    actions,
    admission,
    conditions,
    engines,
    fallback,
    frontend,
    leaving,
    nodes,
    others,
    rollout,
    shortage,
    situation,
    status,
)
from stoker.plan.capacity import Capacity
from stoker.plan.fallback import Arrangement
from stoker.plan.planning import Planning
from stoker.plan.situation import Situation
from stoker.render import learned, objects, support, workload
from stoker.render.shared_cache import render_shared_cache


def plan_service(observed: Observed, scale: ScaleDecision, platform: Platform, now: Moment) -> Plan:
    """Everything that one pass wants done for a service."""
    if observed.service.deleting:
        # The garbage collector removes what we own; writing now would only make it anew.
        return Plan(actions=())
    present = situate(observed, scale, platform, now)
    writes, notes = _writes(present, platform)
    writes, put_back = others.notice(observed, writes, now)
    changed_back = (*others.recent(observed.past, now), *put_back)
    scales = present.spec is not None and present.spec.scaling is not None
    present = replace(present, fight=others.fight(changed_back, scales=scales))
    judged = conditions.judge(present)
    costs = leaving.deletion_costs(observed, writes, now)
    return Plan(
        actions=actions.in_order(writes),
        status=status.build_status(present, judged, platform, now),
        events=(*status.build_events(present, judged), *shortage.events(present)),
        wake_at=earliest(
            scale.wake_at, others.ends_at(changed_back), _monotonic(present.capacity, now)
        ),
        notes=(scale.verdict, *notes),
        cache=_shared_cache(present),
        costs=costs,
        reports=others.events(put_back, scales=scales) if present.fight is None else (),
        past=Past(now.monotonic if costs else observed.past.costs_at, changed_back),
    )


def situate(observed: Observed, scale: ScaleDecision, platform: Platform, now: Moment) -> Situation:
    """Gather what the pass judges by."""
    service = observed.service
    spec = service.spec
    refusal = _refusal(service, platform)
    states = situation.revision_states(observed)
    planned = unsuitable = found = None
    shares = room = False
    if spec is not None and refusal is None:
        shares = _shares_place(observed, states)
        room = shares and _may_go(spec, scale)
        found = fallback.arrange(
            observed, spec, platform, states, wanted=scale.replicas, room=room, now=now
        )
        planned = found.planning
        unsuitable = nodes.unsuitable(observed, spec, platform, planned.plan)
    wanted = _revision(service, planned)
    return Situation(
        observed=observed,
        scale=scale,
        refusal=refusal,
        planning=planned,
        revision=wanted,
        states=states,
        step=_step(spec, scale, wanted, states, found, room=room),
        frontend_replicas=1 if spec is None else spec.frontend.replicas,
        unsuitable=unsuitable,
        capacity=Capacity() if found is None else found.capacity,
        probe=None if found is None else found.probe,
        shares=shares,
        room=room,
    )


def _monotonic(known: Capacity, now: Moment) -> float | None:
    """When the passing of time alone changes what nodes are asked for."""
    at = known.changes_at
    return None if at is None else now.monotonic + max(0.0, at - now.unix)


def _refusal(service: ObservedService, platform: Platform) -> Verdict | None:
    if service.spec is None:
        return Verdict(
            reasons.INVALID_SPEC,
            f"The spec cannot be read: {service.spec_error or 'no reason given'}",
        )
    return admission.refuse_names(service.key, service.spec) or admission.refuse(
        service.spec, platform
    )


def _revision(service: ObservedService, planned: Planning | None) -> str | None:
    """The revision to carry out: the plan's, or the last good one where there is none."""
    if planned is not None and planned.revision is not None:
        return planned.revision
    last = service.status.get("revision")
    return last if isinstance(last, str) else None


def _step(
    spec: InferenceServiceSpec | None,
    scale: ScaleDecision,
    wanted: str | None,
    states: tuple[rollout.RevisionState, ...],
    found: Arrangement | None,
    *,
    room: bool,
) -> rollout.Step:
    if wanted is None:
        return rollout.Step({}, ())
    strategy = RolloutStrategy.ROLLING if spec is None else spec.rollout.strategy
    surge = 1 if spec is None else spec.rollout.max_surge
    known = Capacity() if found is None else found.capacity
    stopped = known.limit is not None
    own = None if found is None or found.probe is None else found.probe.revision
    step = rollout.next_step(
        scale.replicas,
        wanted,
        strategy,
        0 if stopped else surge,
        [_given_up(state, wanted, known) for state in states if state.name != own],
        spare=int(stopped and room),
        limit=known.limit,
    )
    if own is None:
        return step
    return replace(step, replicas={**step.replicas, own: 1})


def _given_up(state: rollout.RevisionState, wanted: str, known: Capacity) -> rollout.RevisionState:
    """An old revision of which nothing has a node protects nothing, where a type was left."""
    left = (each.accelerator for each in known.refused if each.accelerator != known.here)
    if any(map(known.closed, left)) and state.name != wanted and state.placed == 0:
        return replace(state, served=False)
    return state


def _may_go(spec: InferenceServiceSpec, scale: ScaleDecision) -> bool:
    """Whether an old replica may go before the new one is ready."""
    least = 1 if spec.scaling is None else max(1, spec.scaling.min_replicas)
    return spec.rollout.strategy is RolloutStrategy.ROLLING and scale.replicas - 1 >= least


def _shares_place(observed: Observed, states: tuple[rollout.RevisionState, ...]) -> bool:
    """Whether an old replica has a place that would do for the new one."""
    found = situation.workloads(observed)
    new = found.get(str(observed.service.status.get("revision", "")))
    if new is None:
        return False
    return any(
        state.served
        and state.replicas > 0
        and state.name in found
        and found[state.name] is not new
        and workload.same_place(found[state.name].body, new.body)
        for state in states
    )


def _shared_cache(present: Situation) -> Mapping[str, Any] | None:
    """The ModelCache to make, where the spec names a source that has none."""
    spec, cache = present.spec, present.observed.cache
    if spec is None or present.refusal is not None or cache is None:
        return None
    if cache.exists or not cache.implicit:
        return None
    return render_shared_cache(present.observed.service.key, cache.name, spec.model)


def _writes(present: Situation, platform: Platform) -> tuple[list[Apply | Delete], list[Verdict]]:
    observed, spec = present.observed, present.spec
    writes: list[Apply | Delete] = []
    notes: list[Verdict] = []
    if observed.taken and not present.states:
        # A service that cannot have all its objects and runs nothing yet costs nothing.
        return writes, notes
    if spec is not None and present.refusal is None:
        owner = objects.owner_of(observed.service)
        for manifest in support.render_support(
            owner, platform.operator_namespace, platform.scrapers, platform.scraper_pods
        ):
            write = actions.apply_if_needed(manifest, observed)
            if write is not None:
                writes.append(write)
        frontend_writes, frontend_notes = frontend.plan_frontend(observed, spec, platform)
        writes.extend(frontend_writes)
        notes.extend(frontend_notes)
        if present.scale.keep is not None:
            kept = learned.render_learned(owner, present.scale.keep)
            write = actions.apply_if_needed(kept, observed)
            writes.extend([] if write is None else [write])
    if present.planning is not None:
        writes.extend(present.planning.writes)
    engine_writes, engine_notes = engines.plan_engines(present)
    # Engines first: they are what takes long to start.
    return [*engine_writes, *writes], [*notes, *engine_notes]
