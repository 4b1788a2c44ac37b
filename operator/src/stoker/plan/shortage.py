"""What is said of nodes: what was asked for and did not come, what happens now, and until when.

The condition Schedulable, and what the others say while replicas are withheld.
"""

from typing import Final

from stoker.model import reasons
from stoker.model.moment import rfc3339
from stoker.model.plan import Event, Verdict
from stoker.plan import failures
from stoker.plan.capacity import Refused
from stoker.plan.situation import Finding, Situation, refused_pods


def here(situation: Situation) -> Verdict | None:
    """Of the type that is carried out, while it is not asked for."""
    known = situation.capacity
    entry = known.of(known.here)
    if entry is None or not known.closed(known.here):
        return None
    return _verdict(situation, entry, f"{_now(situation)}; it is asked for again at")


# Ready and Progressing.


def nothing_asked_for(situation: Situation) -> Finding:
    """No replica has a node, and none is asked for."""
    return _no_node_came(situation) if situation.capacity.limit == 0 else None


def no_room(situation: Situation) -> Finding:
    """The new revision finds none beside the old one, which cannot make way for it."""
    told = here(situation)
    if told is None or not situation.others or situation.room:
        return None
    return "False", Verdict(reasons.ROLLOUT_BLOCKED, told.message)


def withheld(situation: Situation) -> Finding:
    """All that is asked for answers, and it is less than what is wanted."""
    answers = situation.ready == sum(situation.step.replicas.values())
    return _no_node_came(situation) if situation.withheld and answers else None


# Schedulable.


def _no_node_came(situation: Situation) -> Finding:
    told = here(situation)
    return None if told is None else ("False", told)


def _unschedulable(situation: Situation) -> Finding:
    resource = situation.replica.accelerators.resource if situation.replica is not None else None
    trial = None if situation.probe is None else situation.probe.revision
    engines = (*situation.asked, *(pod for pod in situation.followers if pod.revision != trial))
    verdict = (
        failures.unschedulable_of(engines, resource, situation.until)
        or failures.unschedulable_of(situation.readers, resource)
        or failures.unschedulable_of(situation.frontends, None)
    )
    return None if verdict is None else ("False", verdict)


def _pods_refused(situation: Situation) -> Finding:
    refused = refused_pods(situation.observed, situation.revision)
    return None if refused is None else ("False", refused)


def _nothing_to_schedule(situation: Situation) -> Finding:
    if situation.engines or situation.readers:
        return None
    return "Unknown", Verdict(reasons.NOTHING_TO_SCHEDULE, "There is no replica to place.")


def _elsewhere(situation: Situation) -> Finding:
    known = situation.capacity
    told = [
        f"no node came for {each.accelerator}, which is asked for again"
        + (f" at {rfc3339(each.retry_at)}" if known.closed(each.accelerator) else "")
        for each in known.refused
        if each.accelerator != known.here
    ]
    if not told:
        return None
    return "True", Verdict(
        reasons.ON_OTHER_ACCELERATOR,
        f"Every pod has a node on {known.here}; {', and '.join(told)}.",
    )


def _scheduled(_: Situation) -> Finding:
    return "True", Verdict(reasons.SCHEDULED, "Every pod has a node.")


SCHEDULABLE_CHECKS: Final = (
    _no_node_came,
    _unschedulable,
    _pods_refused,
    _nothing_to_schedule,
    _elsewhere,
    _scheduled,
)


# Events.


def events(situation: Situation) -> tuple[Event, ...]:
    """One for each attempt that brought nothing."""
    return tuple(
        Event("Warning", reasons.NO_NODE_CAME, _of(situation, each).message)
        for each in situation.capacity.fresh
    )


def _of(situation: Situation, entry: Refused) -> Verdict:
    known = situation.capacity
    told = here(situation) if entry.accelerator == known.here else None
    words = f"the service goes on with {known.here}; it is asked for again at"
    return told or _verdict(situation, entry, words)


def _verdict(situation: Situation, entry: Refused, words: str) -> Verdict:
    times = "once" if entry.attempts == 1 else f"{entry.attempts} times"
    return Verdict(
        reasons.NO_NODE_CAME,
        f"No node came for {entry.accelerator}, asked for {times} since "
        f"{rfc3339(entry.since)}; {words} {rfc3339(entry.retry_at)}."
        f"{situation.capacity.words}",
    )


def _now(situation: Situation) -> str:
    limit = situation.capacity.limit or 0
    if situation.others and situation.room:
        return "old replicas go one by one before new ones are ready, so that these find room"
    if situation.others and situation.shares:
        return (
            "the old revision serves meanwhile; with rollout.strategy: recreate the new one would "
            "take its place"
        )
    if situation.others:
        return "the old revision serves meanwhile"
    if limit == 0:
        return "no replica is asked for meanwhile"
    replicas = "1 replica that has" if limit == 1 else f"{limit} replicas that have"
    return f"meanwhile no more is asked for than the {replicas} a node"
