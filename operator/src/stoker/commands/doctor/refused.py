"""Pods that the API server does not take: quotas, accounts, policies and webhooks."""

from typing import Final

from stoker.commands import statuses
from stoker.commands.doctor import fixes
from stoker.commands.doctor.links import Broken, Check, Ok, Outcome, Unknown
from stoker.commands.doctor.podwords import pods_of, said
from stoker.commands.doctor.seen import Denied, World, of_component, several
from stoker.commands.doctor.service import label, spoken
from stoker.model import reasons
from stoker.naming import Component

_QUOTA: Final = ("exceeded quota", "failed quota", "usage per Container", "usage per Pod")
_ACCOUNT: Final = ("serviceaccount", "service account")


def refusals(world: World) -> tuple[tuple[str, str], ...]:
    """Objects whose pods the API server does not take, and its words."""
    found = []
    for each in several(world.around.deployments):
        metadata = statuses.mapping(each.get("metadata"))
        told = statuses.condition(statuses.mapping(each.get("status")), "ReplicaFailure")
        if told.get("status") == "True":
            found.append((f"Deployment {metadata.get('name')}", str(told.get("message"))))
    told_by_status = spoken(world, {reasons.PODS_REFUSED})
    if told_by_status is not None:
        found.append((label(world), told_by_status[1]))
    return (*found, *_refused_readers(world))


def _refused_readers(world: World) -> list[tuple[str, str]]:
    """Jobs have no such condition: their events tell, while the model is still to be read."""
    status = statuses.mapping(world.body.get("status"))
    if statuses.condition(status, "Planned").get("reason") != reasons.READING_MODEL:
        return []
    if world.key is None or of_component(pods_of(world), Component.FACTS):
        return []
    prefix = f"{world.key.name}-facts-"
    return [
        (f"Job {about.get('name')}", said(event))
        for event in several(world.around.events)
        if event.get("reason") == "FailedCreate"
        for about in (statuses.mapping(event.get("regarding") or event.get("involvedObject")),)
        if str(about.get("name")).startswith(prefix)
    ]


def _quota(world: World) -> Outcome:
    for where, message in refusals(world):
        if any(word in message for word in _QUOTA):
            return Broken(
                where,
                message,
                fixes.filled(
                    "Raise the quota or limit range, or ask for less (replicas, "
                    "template.resources): `kubectl describe quota,limitrange -n {ns}`",
                    world.key,
                ),
            )
    if isinstance(world.around.quotas, Denied) and isinstance(world.around.deployments, Denied):
        return Unknown(world.around.deployments.right)
    return Ok("no quota is in the way")


def _account(world: World) -> Outcome:
    for where, message in refusals(world):
        if any(word in message for word in _ACCOUNT) and "not found" in message:
            return Broken(
                where,
                message,
                "Stoker makes the accounts of its pods and puts them back within a minute; see who "
                + fixes.filled("removes them: `kubectl get serviceaccounts -n {ns}`", world.key),
            )
    return Ok("")


def _admission(world: World) -> Outcome:
    for where, message in refusals(world):
        if not any(word in message for word in (*_QUOTA, *_ACCOUNT)):
            if "violates PodSecurity" in message:
                fix = "Stoker's pods meet `restricted`; what template or the engine catalogue "
                fix += "adds does not. `kubectl get namespace {ns} --show-labels` has the level."
            else:
                fix = "A webhook or policy of the cluster refuses the pods: ask its owner for an "
                fix += "exception, or meet it with a field of template: `kubectl edit infer "
                fix += "{name} -n {ns}`"
            return Broken(where, message, fixes.filled(fix, world.key))
    if isinstance(world.around.deployments, Denied):
        return Unknown(world.around.deployments.right)
    return Ok("the API server takes the pods")


CHECKS: Final = (
    Check("quota", "quota and limits", _quota),
    Check("account", "service accounts", _account),
    Check("admission", "pods are accepted", _admission),
)
