"""What pods say of themselves: the operator's own words, from the same functions."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from stoker import naming
from stoker.cluster.observe import is_component, observed_pod
from stoker.commands import statuses
from stoker.commands.doctor.seen import Body, World, several
from stoker.model.observed import ObservedPod
from stoker.model.plan import Verdict
from stoker.naming import Component
from stoker.plan import failures

# So many are told of; the oldest speaks for all.
_MOST: Final = 200


def observed(bodies: Iterable[Body]) -> tuple[ObservedPod, ...]:
    """Pods that say which part of a service they are, oldest first; what cannot be read is not."""
    found = []
    for body in bodies:
        try:
            if is_component(body):
                found.append(observed_pod(body))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    return tuple(sorted(found, key=lambda pod: (pod.created, pod.name)))[:_MOST]


def pods_of(world: World) -> tuple[ObservedPod, ...]:
    """The pods of the service, and of its cache's jobs."""
    return observed(several(world.around.pods))


def words_of(body: Body) -> str | None:
    """Why this pod, of whatever it is, does not answer; None where nothing is to be seen."""
    metadata = {**statuses.mapping(body.get("metadata"))}
    labels = {**statuses.mapping(metadata.get("labels"))}
    metadata["labels"] = {**labels, naming.LABEL_COMPONENT: Component.ENGINE.value}
    pods = observed([{**body, "metadata": metadata}])
    verdict = failures.failure_of(pods) or failures.unschedulable_of(pods, None)
    return None if verdict is None else verdict.message


def failure(pods: Iterable[ObservedPod]) -> tuple[ObservedPod, Verdict] | None:
    """The pod that speaks first, and what it says."""
    pods = tuple(pods)
    verdict = failures.failure_of(pods)
    if verdict is None:
        return None
    return next(pod for pod in pods if failures.failure_of((pod,)) == verdict), verdict


def raw(world: World, name: str) -> Mapping[str, Any]:
    """A pod as the API server has it."""
    for body in several(world.around.pods):
        if statuses.mapping(body.get("metadata")).get("name") == name:
            return body
    return {}


def events_about(world: World, kind: str, name: str) -> list[Mapping[str, Any]]:
    """Events of one object, the newest first."""
    found = [
        event
        for event in several(world.around.events)
        if (about := _about(event)).get("kind") == kind and str(about.get("name")) == name
    ]
    return sorted(found, key=_when, reverse=True)


def said(event: Mapping[str, Any]) -> str:
    """Its words; the two versions of the API have two names for them."""
    return str(event.get("note") or event.get("message") or "")


def _about(event: Mapping[str, Any]) -> Mapping[str, Any]:
    return statuses.mapping(event.get("regarding") or event.get("involvedObject"))


def _when(event: Mapping[str, Any]) -> float:
    series = statuses.mapping(event.get("series"))
    for text in (
        series.get("lastObservedTime"),
        event.get("deprecatedLastTimestamp"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event.get("firstTimestamp"),
    ):
        found = statuses.unix(text) if text else None
        if found is not None:
            return found
    return 0.0
