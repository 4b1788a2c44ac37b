"""The engine Deployments: one per revision, with the replicas that the rollout step gives.

A Deployment that exists keeps its pod template, so that nothing but a change of the spec restarts a
replica. Where the template that we would render today differs (a new operator, an edited
catalogue), that is noted as pending. It is taken over when nothing can be lost by it: at zero
replicas, or when the revision fails and no replica answers, so that an administrator's correction
reaches a service that cannot start.
"""

from collections.abc import Mapping
from typing import Any

from stoker.model import reasons
from stoker.model.observed import ObservedObject
from stoker.model.plan import Apply, Delete, Verdict
from stoker.plan import actions, situation
from stoker.plan.situation import Situation
from stoker.render import engine, objects


def plan_engines(now: Situation) -> tuple[list[Apply | Delete], list[Verdict]]:
    """Writes for every revision, and what is left pending."""
    writes: list[Apply | Delete] = []
    deployments = situation.engine_deployments(now.observed)
    for revision, replicas in now.step.replicas.items():
        present = deployments.get(revision)
        write = _removal(now, revision, present) or _apply(now, revision, present, replicas)
        if write is not None:
            writes.append(write)
    # Those that grow first: a rollout adds before it takes away.
    writes.sort(key=lambda write: isinstance(write, Delete) or write.resource_version is not None)
    return writes, _pending(now, deployments.get(now.revision or ""))


def _removal(now: Situation, revision: str, present: ObservedObject | None) -> Delete | None:
    if present is None:
        return None
    if revision in now.step.finished:
        return actions.delete(present, reasons.DRAINED)
    if _outdated(now, revision, present) and now.state.ready == 0 and now.failure is not None:
        return actions.delete(present, reasons.CHANGED)
    return None


def _apply(
    now: Situation, revision: str, present: ObservedObject | None, replicas: int
) -> Apply | None:
    if revision in now.step.finished:
        return None
    wanted = _rendered(now, revision, replicas)
    if present is not None and (wanted is None or _keeps_template(now, revision, present)):
        wanted = engine.rescale(present.body, replicas)
    if wanted is None:
        return None
    if any(state.name == revision and state.served for state in now.states):
        wanted = engine.mark_served(wanted)
    return actions.apply_if_needed(wanted, now.observed)


def _pending(now: Situation, present: ObservedObject | None) -> list[Verdict]:
    if present is None or now.revision is None or not _keeps_template(now, now.revision, present):
        return []
    return [
        Verdict(
            reasons.UPDATE_PENDING,
            f"revision {now.revision} keeps its pods; the operator's or the catalogue's change "
            "reaches it with the next change of the spec",
        )
    ]


def _keeps_template(now: Situation, revision: str, present: ObservedObject) -> bool:
    runs = now.state.replicas > 0 or now.state.pods > 0
    return runs and _outdated(now, revision, present)


def _outdated(now: Situation, revision: str, present: ObservedObject) -> bool:
    """Whether what we would render today differs from what was applied."""
    wanted = _rendered(now, revision, 0)
    if wanted is None:
        return False
    body: Mapping[str, Any] = present.body
    return objects.applied_digest(wanted) != objects.applied_digest(body)


def _rendered(now: Situation, revision: str, replicas: int) -> dict[str, Any] | None:
    """Today's rendering; None for a revision whose spec or plan is not known (any more)."""
    if revision != now.revision or now.replica is None:
        return None
    owner = objects.owner_of(now.observed.service)
    return engine.render_engine(owner, revision, now.replica, replicas)
