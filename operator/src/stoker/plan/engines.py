"""The engine workloads: one per revision, with the replicas that the rollout step gives.

A Deployment, or a LeaderWorkerSet where a replica spans pods: all below holds for both. One that
exists keeps its pod template, so that nothing but a change of the spec restarts a replica. Where
the template that we would render today differs (a new operator, an edited catalogue), that is noted
as pending. It is taken over when nothing can be lost by it: at zero replicas, or when the revision
fails and no replica answers, so that an administrator's correction reaches a service that cannot
start.
"""

from collections.abc import Mapping
from typing import Any

from stoker import naming
from stoker.model import reasons
from stoker.model.observed import ObservedObject
from stoker.model.plan import Apply, Delete, Verdict
from stoker.plan import actions, situation
from stoker.plan.situation import Situation
from stoker.render import engine, group, objects, workload


def plan_engines(now: Situation) -> tuple[list[Apply | Delete], list[Verdict]]:
    """Writes for every revision, and what is left pending."""
    writes: list[Apply | Delete] = []
    workloads = situation.workloads(now.observed)
    for revision, replicas in now.step.replicas.items():
        present = workloads.get(revision)
        write = _removal(now, revision, present) or _apply(now, revision, present, replicas)
        if write is not None:
            writes.append(write)
    # Those that grow first: a rollout adds before it takes away.
    writes.sort(key=lambda write: isinstance(write, Delete) or write.resource_version is not None)
    writes += _companions(now, workloads.get(now.revision or ""))
    return writes, _pending(now, workloads.get(now.revision or ""))


def _removal(now: Situation, revision: str, present: ObservedObject | None) -> Delete | None:
    if present is None:
        return None
    if revision in now.step.finished:
        return actions.delete(present, reasons.DRAINED)
    if _outdated(now, revision, present) and now.state.ready == 0 and now.failure is not None:
        return actions.delete(present, reasons.CHANGED)
    if _changes_kind(now, revision, present) and not _keeps_template(now, revision, present):
        return actions.delete(present, reasons.CHANGED)
    return None


def _apply(
    now: Situation, revision: str, present: ObservedObject | None, replicas: int
) -> Apply | None:
    if revision in now.step.finished:
        return None
    wanted = _rendered(now, revision, replicas)
    if present is not None and (wanted is None or _keeps_template(now, revision, present)):
        wanted = workload.rescale(present.kind, present.body, replicas)
    if wanted is None:
        return None
    if any(state.name == revision and state.served for state in now.states):
        wanted = engine.mark_served(wanted)
    return actions.apply_if_needed(wanted, now.observed)


def _companions(now: Situation, present: ObservedObject | None) -> list[Apply | Delete]:
    """What stands beside a group for as long as it does."""
    writes: list[Apply | Delete] = []
    groups = present is None or present.kind == group.KIND
    if now.revision is not None and now.replica is not None and groups:
        owner = objects.owner_of(now.observed.service)
        for manifest in workload.render_companions(owner, now.revision, now.replica):
            write = actions.apply_if_needed(manifest, now.observed)
            if write is not None:
                writes.append(write)
    for other in now.observed.objects:
        labels = other.body.get("metadata", {}).get("labels") or {}
        revision = labels.get(naming.LABEL_REVISION)
        over = revision in now.step.finished or revision not in now.step.replicas
        if other.kind == "NetworkPolicy" and revision not in (None, now.revision) and over:
            writes.append(actions.delete(other, reasons.DRAINED))
    return writes


def _changes_kind(now: Situation, revision: str, present: ObservedObject) -> bool:
    """Whether today this revision would be the other kind: the catalogue's nodes have changed."""
    if revision != now.revision or now.replica is None:
        return False
    return workload.kind_of(now.replica) != present.kind


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
    replica = now.replica if revision == now.revision else None
    if now.probe is not None and revision == now.probe.revision:
        replica = now.probe.planning.replica
    if replica is None:
        return None
    owner = objects.owner_of(now.observed.service)
    return workload.render_workload(owner, revision, replica, replicas)
