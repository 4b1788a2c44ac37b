"""The judgement of a service: for each condition an ordered list of small checks, first hit wins.

`Ready` says whether the address answers or holds. It is true at zero replicas, where a request
wakes the service, and while an old revision serves for a new one that cannot; what is wrong with
the new one is then in `Progressing`. Each condition carries the generation that it judged, so
`kubectl wait --for=condition=Ready` waits for the present spec.

Two kinds of condition are abnormal when true: `NameTaken`, and `Reconciling` and `Stalled`, which
follow the convention of kstatus (Helm, Flux, kubectl apply-wait tools): they are there only while
they are true. So are `KvDtypeNotHonoured`, `NodesUnsuitable`, `ScaledByOthers` and
`BetterPlanAvailable`, which is good news.
"""

from collections.abc import Callable
from typing import Final

from stoker.model import reasons
from stoker.model.plan import Condition, Verdict
from stoker.plan import facts, failures, modelready, shortage
from stoker.plan.situation import Finding, Situation
from stoker.plan.stored import not_honoured

READY: Final = "Ready"
PLANNED: Final = facts.PLANNED
BETTER_PLAN_AVAILABLE: Final = "BetterPlanAvailable"
KV_DTYPE_NOT_HONOURED: Final = "KvDtypeNotHonoured"
NODES_UNSUITABLE: Final = "NodesUnsuitable"
SCALED_BY_OTHERS: Final = "ScaledByOthers"
PROGRESSING: Final = "Progressing"
SCHEDULABLE: Final = "Schedulable"
SCALING_ACTIVE: Final = "ScalingActive"
MODEL_READY: Final = "ModelReady"
NAME_TAKEN: Final = "NameTaken"
RECONCILING: Final = "Reconciling"
STALLED: Final = "Stalled"

Check = Callable[[Situation], Finding]

# All of them at once leave room for the plan: the status stays below 16 KiB.
MESSAGE_LIMIT: Final = 384


def judge(situation: Situation) -> tuple[Condition, ...]:
    """Every condition of the service, in a fixed order."""
    conditions = [
        _first(READY, _READY_CHECKS, situation),
        _first(PLANNED, (_not_considered, _planned), situation),
        _first(PROGRESSING, _PROGRESSING_CHECKS, situation),
        _first(SCALING_ACTIVE, (_scaling,), situation),
        _first(SCHEDULABLE, shortage.SCHEDULABLE_CHECKS, situation),
        _first(MODEL_READY, modelready.CHECKS, situation),
        _first(NAME_TAKEN, (_name_taken, _names_free), situation),
    ]
    if situation.planning is not None and situation.planning.offer is not None:
        verdict = situation.planning.offer.verdict
        conditions.append(_condition(BETTER_PLAN_AVAILABLE, "True", verdict))
    kept = _kv_dtype_not_honoured(situation)
    if kept is not None:
        conditions.append(_condition(KV_DTYPE_NOT_HONOURED, *kept))
    if situation.unsuitable is not None:
        conditions.append(_condition(NODES_UNSUITABLE, "True", situation.unsuitable))
    if situation.fight is not None:
        conditions.append(_condition(SCALED_BY_OTHERS, "True", situation.fight))
    progressing = next(each for each in conditions if each.type == PROGRESSING)
    stalled = (
        _refused(situation) or _name_taken(situation) or modelready.cannot_be_planned(situation)
    )
    if stalled is not None:
        conditions.append(_condition(STALLED, "True", stalled[1]))
    elif progressing.status == "True":
        verdict = Verdict(progressing.reason, progressing.message)
        conditions.append(_condition(RECONCILING, "True", verdict))
    return tuple(conditions)


def _first(kind: str, checks: tuple[Check, ...], situation: Situation) -> Condition:
    for check in checks:
        finding = check(situation)
        if finding is not None:
            return _condition(kind, *finding)
    raise AssertionError(f"the last check of {kind} always answers")


def _condition(kind: str, status: str, verdict: Verdict) -> Condition:
    message = verdict.message
    if len(message) > MESSAGE_LIMIT:
        message = message[: MESSAGE_LIMIT - 1] + "…"
    return Condition(kind, status, verdict.reason, message)


# Findings that several conditions share.


def _refused(situation: Situation) -> Finding:
    return None if situation.refusal is None else ("False", situation.refusal)


def _name_taken(situation: Situation) -> Finding:
    taken = sorted(situation.observed.taken)
    if not taken:
        return None
    names = ", ".join(f"{kind} {name}" for kind, name in taken)
    return "True", Verdict(
        reasons.NAME_TAKEN,
        f"{names} exists and does not belong to this service, so it is left alone. Delete or "
        "rename it, or give the service another name.",
    )


def _names_free(_: Situation) -> Finding:
    return "False", Verdict(reasons.NAMES_FREE, "Every object of the service is its own.")


# Planned.


def _not_considered(situation: Situation) -> Finding:
    return None if situation.refusal is None else ("Unknown", situation.refusal)


def _planned(situation: Situation) -> Finding:
    planning = situation.planning
    return None if planning is None else (planning.status, planning.verdict)


def _kv_dtype_not_honoured(situation: Situation) -> Finding:
    planning = situation.planning
    found = None if planning is None or planning.plan is None else not_honoured(planning.plan)
    if found is None:
        return None
    dtype, predicted, reported = found
    return "True", Verdict(
        reasons.KV_DTYPE_NOT_HONOURED,
        f"The engine accepted a KV cache in {dtype} and keeps another: it holds {reported} tokens "
        f"where {predicted} were planned. Set optimization.kvCache.dtype: none, or another engine "
        "version or accelerator.",
    )


def _planning_waits(situation: Situation) -> Finding:
    waits = situation.planning.waits if situation.planning is not None else None
    return None if waits is None else ("False", waits)


# Ready.


def _name_taken_blocks(situation: Situation) -> Finding:
    found = _name_taken(situation)
    return None if found is None else ("False", found[1])


def _old_revision_serves_unwanted_spec(situation: Situation) -> Finding:
    """The spec is refused, or there is no plan for it (yet)."""
    finding = (
        _refused(situation) or modelready.cannot_be_planned(situation) or _planning_waits(situation)
    )
    if finding is None or situation.ready == 0 or not _frontend_ready(situation):
        return None
    return "True", Verdict(
        reasons.OLD_REVISION_SERVES,
        f"The last good revision keeps serving. {finding[1].message}",
    )


def _frontend_not_ready(situation: Situation) -> Finding:
    if _frontend_ready(situation):
        return None
    frontends = situation.frontends
    cause = failures.failure_of(frontends) or failures.unschedulable_of(frontends, None)
    why = f" {cause.message}" if cause is not None else ""
    return "False", Verdict(
        reasons.FRONTEND_NOT_READY,
        f"No frontend pod answers yet ({len(frontends)} of {situation.frontend_replicas} "
        f"exist).{why}",
    )


def _scaled_to_zero(situation: Situation) -> Finding:
    if not situation.wants_nothing:
        return None
    if situation.spec is not None and situation.spec.scaling is None:
        return "True", Verdict(
            reasons.SCALED_TO_ZERO,
            "No replica is wanted; requests are held until replicas is raised.",
        )
    return "True", Verdict(
        reasons.SCALED_TO_ZERO, "No replica runs; the first request is held and wakes the service."
    )


def _all_ready(situation: Situation) -> Finding:
    if situation.state.ready < situation.scale.replicas or situation.state.ready == 0:
        return None
    return "True", Verdict(reasons.ALL_READY, "Every replica answers.")


def _old_revision_serves(situation: Situation) -> Finding:
    if situation.ready == 0 or situation.state.ready > 0:
        return None
    failure = situation.failure
    why = f" The new one does not answer: {failure.message}" if failure is not None else ""
    return "True", Verdict(reasons.OLD_REVISION_SERVES, f"The old revision serves.{why}")


def _some_ready(situation: Situation) -> Finding:
    if situation.ready == 0:
        return None
    return "True", Verdict(reasons.SOME_REPLICAS_READY, "Replicas answer, but not all of them yet.")


def _failing(situation: Situation) -> Finding:
    failure = situation.failure
    return None if failure is None else ("False", failure)


def _waking(situation: Situation) -> Finding:
    scaling = situation.spec.scaling if situation.spec is not None else None
    if scaling is None or scaling.min_replicas > 0 or not situation.state.served:
        return None
    return "True", Verdict(
        reasons.WAKING_UP, "A replica is starting; requests are held until it answers."
    )


def _waiting(_: Situation) -> Finding:
    return "False", Verdict(reasons.WAITING_FOR_PODS, "No replica answers yet; it is starting.")


def _frontend_ready(situation: Situation) -> bool:
    return any(pod.ready and not pod.deleting for pod in situation.frontends)


_READY_CHECKS: Final[tuple[Check, ...]] = (
    _name_taken_blocks,
    _old_revision_serves_unwanted_spec,
    _refused,
    modelready.cannot_be_planned,
    _frontend_not_ready,
    _scaled_to_zero,
    _all_ready,
    _old_revision_serves,
    _some_ready,
    # Before failures: a missing claim makes the scheduler speak too, but less clearly.
    modelready.claim,
    _planning_waits,
    shortage.nothing_asked_for,
    _failing,
    _waking,
    modelready.awaited,
    _waiting,
)


# Progressing.


def _not_planned(situation: Situation) -> Finding:
    """The last good revision is carried out instead, so nothing else tells of the new one."""
    held = _planning_waits(situation)
    finding = modelready.cannot_be_planned(situation) or (
        held and (modelready.claim(situation) or held)
    )
    if finding is None:
        return None
    verdict = finding[1]
    if held is not None and verdict is held[1] and _moves(situation, verdict):
        return "True", verdict
    if not situation.states:
        return "False", verdict
    return "False", Verdict(
        reasons.ROLLOUT_BLOCKED,
        f"The new revision cannot be planned ({verdict.reason}): {verdict.message}",
    )


def _moves(situation: Situation, verdict: Verdict) -> bool:
    """Whether what is waited for is under way."""
    cache = situation.observed.cache
    if situation.observed.location is None and cache is not None:
        return cache.progressing
    return verdict.reason == reasons.READING_MODEL


def _rollout_blocked(situation: Situation) -> Finding:
    if situation.state.ready > 0 or situation.wants_nothing:
        return None
    finding = modelready.claim(situation) or _failing(situation)
    if finding is None:
        return None
    verdict = finding[1]
    if not situation.others:
        return "False", verdict
    return "False", Verdict(
        reasons.ROLLOUT_BLOCKED,
        f"The new revision does not answer ({verdict.reason}): {verdict.message}",
    )


def _rolling_out(situation: Situation) -> Finding:
    if not situation.others:
        return None
    return "True", Verdict(reasons.ROLLING_OUT, f"Replicas move to revision {situation.revision}.")


def _scaling_now(situation: Situation) -> Finding:
    wanted = situation.scale.replicas
    exist = sum(not pod.deleting for pod in situation.asked)
    if situation.state.ready == wanted == exist:
        return None
    return "True", Verdict(reasons.SCALING, f"On the way to {wanted} replicas.")


def _settled(_: Situation) -> Finding:
    return "False", Verdict(reasons.SETTLED, "What runs is what is wanted.")


_PROGRESSING_CHECKS: Final[tuple[Check, ...]] = (
    _name_taken_blocks,
    _refused,
    _not_planned,
    _rollout_blocked,
    shortage.no_room,
    _rolling_out,
    shortage.withheld,
    _scaling_now,
    _settled,
)


# ScalingActive.


def _scaling(situation: Situation) -> Finding:
    scale = situation.scale
    return "True" if scale.active else "False", scale.activity or scale.verdict
