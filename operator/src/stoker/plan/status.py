"""The status of a service as the API writes it. Equal worlds give equal bytes.

The times of conditions are the writer's business. `load` and `queueDepth` are the sample behind the
last decision, and `scaling` its numbers: they move together, with a change of the wanted replicas,
or when the queue crosses the target or something else limits the number, and then at most once a
minute, so that a steady service is never written.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from stoker import naming
from stoker.cost import prices
from stoker.model import reasons
from stoker.model.load import Load
from stoker.model.location import Location
from stoker.model.moment import Moment
from stoker.model.plan import Condition, Event
from stoker.model.platform import Platform
from stoker.model.startup import startup_status
from stoker.naming import Component
from stoker.plan import capacity, decisions, proposals, replica
from stoker.plan.conditions import NAME_TAKEN, NODES_UNSUITABLE, READY, SCALED_BY_OTHERS
from stoker.plan.situation import Situation
from stoker.render import addresses

LOAD_REFRESH_S: Final = 60.0
# The status has little room left. A commit has 40 characters, and a longer revision is the cache's
# to tell; a service whose claim has a longer name waits where its cache is deleted and made again.
REVISION_LIMIT: Final = 40
CLAIM_LIMIT: Final = 63
HOURS_PER_DAY: Final = 24
_REVISIONS_LIMIT: Final = 10
_ABNORMAL_WHEN_TRUE: Final = frozenset({NAME_TAKEN, NODES_UNSUITABLE, SCALED_BY_OTHERS})
# Conditions that say "not so" without anything being wrong.
_EXPECTED: Final = frozenset(
    {
        reasons.FIXED_REPLICAS,
        reasons.FRONTEND_NOT_READY,
        reasons.METRICS_MISSING,
        reasons.NO_NODE_CAME,  # which has events of its own
        reasons.READING_MODEL,
        reasons.SETTLED,
        reasons.WAITING_FOR_PODS,
    }
)


def build_status(
    situation: Situation,
    conditions: Iterable[Condition],
    platform: Platform,
    now: Moment,
) -> dict[str, Any]:
    """The whole status."""
    service = situation.observed.service
    key, before = service.key, service.status
    selector = naming.selector(key.name, Component.ENGINE)
    status: dict[str, Any] = {
        "observedGeneration": service.generation,
        "replicas": sum(not pod.deleting for pod in situation.engines),
        "readyReplicas": situation.ready,
        "desiredReplicas": situation.scale.replicas,
        "selector": ",".join(f"{name}={value}" for name, value in selector.items()),
        "address": addresses.service_url(key, platform.cluster_domain),
        "revisions": _revisions(situation),
        "conditions": [
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message,
                "observedGeneration": service.generation,
            }
            for condition in conditions
        ],
        **_load(situation, before, now),
    }
    if situation.revision is not None:
        status["revision"] = situation.revision
    model, plan = _model(situation, before), _plan(situation, before)
    if model is not None:
        status["model"] = model
    if plan is not None:
        status["plan"] = plan
    startup = _startup(situation, before)
    if startup is not None:
        status["startup"] = startup
    cost = _cost(situation, platform)
    if cost is not None:
        status["cost"] = cost
    status.update(decisions.changes(before, situation.scale, now))
    if situation.capacity.refused:
        status["capacity"] = capacity.status_of(situation.capacity)
    return status


def _cost(situation: Situation, platform: Platform) -> Mapping[str, str] | None:
    """What runs costs now; None where the price of any of it is unknown."""
    charges = prices.charges_of(situation.observed, platform)
    if prices.unpriced(charges):
        return None
    hour = sum(prices.price_now(charges).values())
    return {
        "perHour": f"{hour:.2f}",
        "perDay": f"{hour * HOURS_PER_DAY:.2f}",
        "currency": prices.CURRENCY,
    }


def _startup(situation: Situation, before: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """How long starts took on the type that runs."""
    known = before.get("startup")
    if situation.replica is None:
        return known if isinstance(known, Mapping) else None
    return startup_status(known, situation.engines, ", ".join(situation.replica.accelerators.names))


def build_events(situation: Situation, conditions: Iterable[Condition]) -> tuple[Event, ...]:
    """What a person should hear of: conditions with a new reason, and changes of the number."""
    before = situation.observed.service.status
    known = {
        condition.get("type"): (condition.get("status"), condition.get("reason"))
        for condition in before.get("conditions") or []
    }
    events = []
    for condition in conditions:
        changed = known.get(condition.type) != (condition.status, condition.reason)
        bad = condition.status == ("True" if condition.type in _ABNORMAL_WHEN_TRUE else "False")
        warns = bad and condition.reason not in _EXPECTED
        if changed and (warns or condition.type == READY):
            kind = "Warning" if warns else "Normal"
            events.append(Event(kind, condition.reason, f"{condition.type}: {condition.message}"))
    wanted, told = situation.scale.replicas, before.get("desiredReplicas")
    if isinstance(told, int) and told != wanted:
        verdict = situation.scale.verdict
        events.append(
            Event("Normal", verdict.reason, f"{told} to {wanted} replicas: {verdict.message}")
        )
    return (*events, *proposals.events(before, _plan(situation, before)))


def _model(situation: Situation, before: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The name that clients send, and what is known of the model."""
    told = before.get("model")
    known: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    if situation.spec is None:
        return known or None
    name = replica.served_names(situation.observed.service.key, situation.spec)[0]
    reading = None if situation.planning is None else situation.planning.reading
    if reading is None or reading.facts is None:
        # Facts of an earlier model are kept: its plan may still run, or be wanted back.
        return {**known, "name": name}
    facts = reading.facts
    return {
        **({"reread": reading.reread} if reading.reread else {}),
        "name": name,
        "architecture": facts.architecture,
        "parameters": facts.parameters,
        "bytes": facts.weight_bytes,
        "digest": facts.digest,
        "source": reading.source,
        **_cached(situation.observed.location),
        "facts": reading.text,
    }


def _cached(location: Location | None) -> dict[str, str]:
    """Which ModelCache has the model, so that the service can go on without that object."""
    if location is None or location.cache is None:
        return {}
    told = {"cache": location.cache}
    if location.claim and len(location.claim) <= CLAIM_LIMIT:
        told["claim"] = location.claim
    if location.revision is not None:
        told["revision"] = location.revision[:REVISION_LIMIT]
    return told


def _plan(situation: Situation, before: Mapping[str, Any]) -> Mapping[str, Any] | None:
    planning = situation.planning
    if planning is not None and planning.plan is not None:
        return {name: value for name, value in planning.plan.items() if value is not None}
    told = before.get("plan")
    return told if isinstance(told, Mapping) else None


def _revisions(situation: Situation) -> list[dict[str, Any]]:
    wanted = situation.step.replicas
    states = sorted(
        (state for state in situation.states if state.name not in situation.step.finished),
        key=lambda state: (state.name != situation.revision, -state.ready, state.name),
    )
    return [
        {"name": state.name, "wanted": wanted.get(state.name, 0), "ready": state.ready}
        for state in states[:_REVISIONS_LIMIT]
    ]


def _load(situation: Situation, before: Mapping[str, Any], now: Moment) -> dict[str, Any]:
    scale = situation.scale
    kept = {name: before[name] for name in ("load", "queueDepth", "scaling") if name in before}
    if scale.load is None or scale.queue_target is None:
        return kept if situation.spec is not None and situation.spec.scaling is not None else {}
    if "load" in kept and not _refreshes(situation, scale.load, before, now):
        return kept
    return {
        **decisions.standing(scale, now),
        "queueDepth": scale.load.queue_depth,
        "load": {
            "held": scale.load.held,
            "waiting": scale.load.waiting,
            "running": scale.load.running,
            "time": now.rfc3339(scale.load.time),
        },
    }


def _refreshes(situation: Situation, load: Load, before: Mapping[str, Any], now: Moment) -> bool:
    if before.get("desiredReplicas") != situation.scale.replicas:
        return True
    target = (situation.scale.queue_target or 0) * max(1, situation.ready)
    crossed = (before.get("queueDepth", 0) > target) != (load.queue_depth > target)
    changed = crossed or decisions.limit_changed(before, situation.scale)
    return changed and now.unix - _unix(before["load"].get("time")) >= LOAD_REFRESH_S


def _unix(text: object) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0
