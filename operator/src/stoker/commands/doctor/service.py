"""The links of one service that its own object, its model and its plan make."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from stoker import naming
from stoker.cluster.kinds import SERVICE
from stoker.cluster.store import source_of_cache, uses
from stoker.commands import statuses
from stoker.commands.doctor import fixes
from stoker.commands.doctor.links import Broken, Check, Ok, Outcome, Unknown, Waits
from stoker.commands.doctor.platform import SELECTOR, needed, operator_namespace
from stoker.commands.doctor.podwords import events_about, said
from stoker.commands.doctor.seen import Absent, Body, Denied, World, several
from stoker.commands.exits import Exit
from stoker.commands.findings import BAD, NO_PROBLEM, findings_of
from stoker.model import reasons
from stoker_worker.contract import FactsReason

_CLAIM_URI: Final = "pvc://"
_CACHE_ENDED: Final = frozenset({"Failed", "Degraded"})
_FACTS: Final = frozenset(
    {
        *(word for name, word in vars(FactsReason).items() if name.isupper()),
        reasons.FACTS_NOT_READ,
        reasons.FACTS_NOT_ALLOWED,
    }
)
_OF_CACHES: Final = frozenset(
    {
        reasons.CACHE_NOT_FOUND,
        reasons.CACHE_MISMATCH,
        reasons.CACHE_DELETED,
        reasons.WAITING_FOR_MODEL,
        reasons.MODEL_NOT_LOADED,
    }
)
_CLAIMS: Final = frozenset({reasons.CLAIM_NOT_FOUND, reasons.CLAIM_NOT_BOUND})


def spoken(world: World, words: Collection[str]) -> tuple[str, str] | None:
    """Reason and message of the first condition that speaks against the service so."""
    status = statuses.mapping(world.body.get("status"))
    for kind, bad in BAD:
        each = statuses.condition(status, kind)
        if each.get("status") == bad and each.get("reason") in words:
            return str(each["reason"]), str(each.get("message") or "")
    return None


def label(world: World) -> str:
    """The service, as people name it."""
    return f"InferenceService {world.key}"


def _exists(world: World) -> Outcome:
    key, found = world.key, world.service
    if isinstance(found, Denied):
        return Broken(
            label(world),
            f"you may not read it: it takes {found.right}",
            f"Ask for the role `view` in namespace {key.namespace if key else '?'}; the chart adds "
            "services to it.",
            Exit.FORBIDDEN,
        )
    if isinstance(found, Absent):
        return Broken(
            label(world),
            "there is no such service",
            "Check the name, or name its namespace with -n: `kubectl get infer -A` lists all.",
            Exit.NOT_FOUND,
        )
    return Ok("it is there")


def _namespace(world: World) -> Outcome:
    found = world.around.namespace
    if isinstance(found, Denied):
        return Unknown(found.right)
    going = isinstance(found, Absent) or statuses.mapping(found.get("metadata")).get(
        "deletionTimestamp"
    )
    if going and world.key is not None:
        return Broken(
            f"namespace {world.key.namespace}",
            "it is being deleted, and nothing can be made in it any more",
            "Make the service in another namespace. What still holds this one: `kubectl get "
            f"namespace {world.key.namespace} -o jsonpath='{{.status.conditions}}'`",
        )
    return Ok("it stays")


def _stays(world: World) -> Outcome:
    if not statuses.mapping(world.body.get("metadata")).get("deletionTimestamp"):
        return Ok("")
    return Broken(
        label(world),
        "the service is being deleted, and nothing is decided any more",
        "When it is gone, apply it again. What holds it are its finalizers: `kubectl get infer "
        + fixes.filled("{name} -n {ns} -o jsonpath='{.metadata.finalizers}'`", world.key),
    )


def _seen(world: World) -> Outcome:
    for each in findings_of(world.body, world.now):
        if each.reason in {"NotYetSeen", "OperatorSilent"}:
            if not each.problem:
                return Waits(each.message)
            logs = f"`kubectl logs --namespace {operator_namespace(world)} -l {SELECTOR} --tail=50`"
            return Broken(
                label(world),
                each.message,
                f"The operator runs and does not get to this service, or does not run: {logs}",
            )
    return Ok("the operator has judged the spec as it is")


def _accepted(world: World) -> Outcome:
    told = spoken(world, fixes.SPEC)
    if told is None:
        return Ok("the spec is accepted")
    engine = statuses.mapping(statuses.mapping(world.body.get("spec")).get("engine"))
    name = statuses.text(engine.get("name")) or "vllm"
    fix = fixes.filled(fixes.SPEC[told[0]], world.key).replace("ENGINE", name)
    return Broken(label(world), told[1], fix)


def _names(world: World) -> Outcome:
    told = spoken(world, {reasons.NAME_TAKEN})
    if told is None:
        return Ok("every object is the service's own")
    return Broken(
        label(world),
        told[1],
        "Look whose it is, then delete or rename it: "
        + fixes.filled("`kubectl get all,configmaps,serviceaccounts -n {ns}`", world.key),
    )


def _writes(world: World) -> Outcome:
    told = spoken(world, {reasons.WRITE_REFUSED})
    if told is None:
        return Ok("the API server takes the service's objects")
    message = told[1]
    if "is forbidden: User" in message:
        fix = "The operator lacks a right: put the chart's roles back with `helm upgrade stoker "
        fix += f"charts/stoker --namespace {operator_namespace(world)} --reuse-values`"
    elif "exceeded quota" in message:
        fix = fixes.filled("Raise the quota: `kubectl describe quota -n {ns}`", world.key)
    else:
        fix = "A policy or webhook of the cluster refuses it: ask its owner for an exception, or "
        fix += fixes.filled(
            "meet it by a field of template: `kubectl edit infer {name} -n {ns}`", world.key
        )
    return Broken(label(world), message, fix)


def _claim(world: World) -> Outcome:
    told = spoken(world, _CLAIMS)
    for name, claim in world.around.claims.items():
        where = f"PersistentVolumeClaim {name}"
        if isinstance(claim, Absent):
            return Broken(
                where,
                "there is no such claim in the namespace",
                fixes.filled(
                    "Create it, or correct model.uri: `kubectl edit infer {name} -n {ns}`",
                    world.key,
                ),
            )
        if isinstance(claim, Denied):
            if told is None:
                return Unknown(claim.right)
            continue
        phase = statuses.mapping(claim.get("status")).get("phase")
        if phase == "Lost" or (phase != "Bound" and told is not None):
            event = next(iter(events_about(world, "PersistentVolumeClaim", name)), None)
            why = f"it is {phase}: {said(event) if event else 'no volume backs it'}"
            return Broken(where, why, fixes.filled(fixes.CLAIM, world.key, claim=name))
    if told is not None:
        return Broken(label(world), told[1], fixes.filled("`kubectl get pvc -n {ns}`", world.key))
    return Ok("the model's claim is bound" if world.around.claims else "")


def caches_of(world: World) -> tuple[Body, ...]:
    """The caches that the service's model may come from, the one it uses first."""
    status = statuses.mapping(statuses.mapping(world.body.get("status")).get("model"))
    last = statuses.text(status.get("cache"))
    found = [
        body
        for body in several(world.around.caches)
        if uses(_sane(world.body), str(_name(body)), source_of_cache(_sane(body)))
        or _name(body) == last
    ]
    return tuple(sorted(found, key=lambda body: (_name(body) != last, str(_name(body)))))


def _sane(body: Body) -> Body:
    """What names a model, of an object that anybody may have written."""
    model = statuses.mapping(statuses.mapping(body.get("spec")).get("model"))
    ref = statuses.mapping(model.get("cacheRef"))
    return {"spec": {"model": {"uri": model.get("uri"), "cacheRef": ref}}}


def _cache(world: World) -> Outcome:
    told = spoken(world, _OF_CACHES)
    if isinstance(world.around.caches, Denied) and told is None and not _is_claim(world):
        return Unknown(world.around.caches.right)
    for body in caches_of(world):
        status = statuses.mapping(body.get("status"))
        ready = statuses.condition(status, "Ready")
        name, phase = str(_name(body)), statuses.text(status.get("phase"))
        if ready.get("status") == "True":
            return Ok(f"ModelCache {name} is ready")
        reason, message = str(ready.get("reason") or ""), str(ready.get("message") or "")
        if phase in _CACHE_ENDED or (ready and reason not in NO_PROBLEM):
            fix = fixes.CACHE.get(reason, fixes.CACHE_ELSE)
            return Broken(
                f"ModelCache {name}",
                f"{reason}: {message}",
                fixes.filled(fix, world.key, cache=name),
            )
        done = statuses.text(statuses.mapping(status.get("progress")).get("shown"))
        return Waits(f"ModelCache {name} is {phase or 'new'}{f', {done}' if done else ''}")
    if told is None:
        return Ok("the model comes from a claim" if _is_claim(world) else "")
    if told[0] in NO_PROBLEM:
        return Waits(told[1])
    name = _cache_ref(world)
    fix = fixes.filled(fixes.CACHE.get(told[0], fixes.CACHE_ELSE), world.key, cache=name)
    return Broken(f"ModelCache {name}" if name else label(world), told[1], fix)


def _facts(world: World) -> Outcome:
    planned = statuses.condition(statuses.mapping(world.body.get("status")), "Planned")
    reason, message = str(planned.get("reason") or ""), str(planned.get("message") or "")
    if reason == reasons.READING_MODEL:
        return Waits(message)
    if planned.get("status") == "True" or reason not in _FACTS:
        return Ok("the model's facts are known" if planned.get("status") == "True" else "")
    fix = fixes.FACTS.get(reason, fixes.FACTS_ELSE)
    return Broken(label(world), f"{reason}: {message}", fixes.filled(fix, world.key))


def _plan(world: World) -> Outcome:
    status = statuses.mapping(world.body.get("status"))
    planned = statuses.condition(status, "Planned")
    message, reason = str(planned.get("message") or ""), str(planned.get("reason") or "")
    if planned.get("status") == "True":
        return Ok(statuses.text(statuses.mapping(status.get("plan")).get("summary")) or message)
    if planned.get("status") != "False":
        return Waits(message) if reason == reasons.READING_MODEL else Ok(message)
    if reason in NO_PROBLEM or reason in _CLAIMS | _OF_CACHES:
        return Waits(message)
    return Broken(label(world), f"{reason}: {message}", fixes.filled(fixes.PLAN, world.key))


def claim_names(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Claims that the service's object names."""
    model = statuses.mapping(statuses.mapping(body.get("spec")).get("model"))
    uri = statuses.text(model.get("uri")) or ""
    if uri.startswith(_CLAIM_URI):
        return (uri.removeprefix(_CLAIM_URI).partition("/")[0],)
    status = statuses.mapping(statuses.mapping(body.get("status")).get("model"))
    claim = statuses.text(status.get("claim"))
    return (claim,) if claim else ()


def secret_names(world_body: Body, caches: Collection[Body]) -> tuple[str, ...]:
    """Secrets that the service, or the cache that it uses, names."""
    named = [statuses.mapping(statuses.mapping(world_body.get("spec")).get("model"))]
    named += [statuses.mapping(statuses.mapping(each.get("spec")).get("model")) for each in caches]
    refs = (statuses.text(statuses.mapping(each.get("secretRef")).get("name")) for each in named)
    return tuple(dict.fromkeys(name for name in refs if name))


def _is_claim(world: World) -> bool:
    model = statuses.mapping(statuses.mapping(world.body.get("spec")).get("model"))
    return str(model.get("uri") or "").startswith(_CLAIM_URI)


def _cache_ref(world: World) -> str:
    model = statuses.mapping(statuses.mapping(world.body.get("spec")).get("model"))
    return str(statuses.mapping(model.get("cacheRef")).get("name") or "")


def _name(body: Body) -> object:
    return statuses.mapping(body.get("metadata")).get("name")


RIGHT: Final = needed(SERVICE, "get")
SELECTED: Final = naming.LABEL_SERVICE
FIRST: Final = (
    Check("service", "service is there", _exists),
    Check("namespace", "namespace stays", _namespace),
    Check("deletion", "service stays", _stays),
    Check("seen", "operator has seen it", _seen),
    Check("spec", "spec is accepted", _accepted),
    Check("names", "names are free", _names),
    Check("writes", "objects are accepted", _writes),
)
MODEL: Final = (
    Check("claim", "model's claim", _claim),
    Check("cache", "model's cache", _cache),
    Check("facts", "model's facts", _facts),
    Check("plan", "plan", _plan),
)
