"""What becomes of the pods: refused, without an image or a Secret, crashed, silent, cut off."""

from typing import Final

from stoker.commands import statuses
from stoker.commands.doctor import fixes
from stoker.commands.doctor.links import Broken, Check, Ok, Outcome, Unknown, Waits
from stoker.commands.doctor.platform import operator_namespace
from stoker.commands.doctor.podwords import (
    events_about,
    failure,
    pods_of,
    raw,
    said,
)
from stoker.commands.doctor.seen import Absent, Denied, World, of_component, several
from stoker.commands.doctor.service import label, spoken
from stoker.commands.findings import NO_PROBLEM, findings_of
from stoker.model import reasons
from stoker.model.observed import ObservedPod
from stoker.naming import Component

# Of learned start times: a start that takes longer than this is looked at.
_SLOW: Final = 3.0
_NOT_LEARNED_S: Final = 900.0
_MOUNT: Final = frozenset({"FailedMount", "FailedAttachVolume"})
_ENGINES: Final = (Component.ENGINE, Component.FOLLOWER, Component.FACTS, Component.CACHE)


def _image(world: World) -> Outcome:
    found = failure(pods_of(world))
    if found is None or found[1].reason != reasons.IMAGE_PULL_FAILED:
        return _unread_pods(world) or Ok("no image is missing")
    pod, verdict = found
    absent = [name for name, each in _pull_secrets(world, pod) if isinstance(each, Absent)]
    if absent:
        fix = "Create the pull secret {secret}: `kubectl create secret docker-registry {secret} "
        fix += "-n {ns} …`"
        return Broken(
            f"Secret {absent[0]}",
            f"it is not there, and {verdict.message[0].lower()}{verdict.message[1:]}",
            fixes.filled(fix, world.key, secret=absent[0]),
        )
    fix = "Check the image's name and that nodes reach its registry: `kubectl describe pod {pod} "
    fix += "-n {ns}`. The engine's is engine.image (`kubectl edit infer {name} -n {ns}`), the "
    fix += "others are `images` in the chart's values."
    return Broken(f"pod {pod.name}", verdict.message, fixes.filled(fix, world.key, pod=pod.name))


def _pull_secrets(world: World, pod: ObservedPod) -> list[tuple[str, object]]:
    spec = statuses.mapping(raw(world, pod.name).get("spec"))
    names = [str(each.get("name")) for each in statuses.mappings(spec.get("imagePullSecrets"))]
    return [(name, world.around.secrets.get(name)) for name in names]


def _secret(world: World) -> Outcome:
    for name, found in world.around.secrets.items():
        if isinstance(found, Absent) and name in _wanted_secrets(world):
            return Broken(
                f"Secret {name}",
                "the model's source needs it, and it is not there",
                fixes.filled(
                    "`kubectl create secret generic {secret} -n {ns} "
                    "--from-literal=token=…` (docs/caches.md)",
                    world.key,
                    secret=name,
                ),
            )
    for pod in pods_of(world):
        for each in pod.failures:
            if each.reason == "CreateContainerConfigError" and "not found" in each.message:
                return Broken(
                    f"pod {pod.name}",
                    f"container {each.container} cannot be made: {each.message}",
                    fixes.filled(
                        "Create what is named, or correct who names it: `kubectl "
                        "describe pod {pod} -n {ns}`",
                        world.key,
                        pod=pod.name,
                    ),
                )
    return Ok("no Secret is missing")


def _wanted_secrets(world: World) -> set[str]:
    """Those of sources, while the model is not there: later nobody reads them."""
    status = statuses.mapping(world.body.get("status"))
    if statuses.condition(status, "ModelReady").get("status") == "True":
        return set()
    bodies = [world.body, *several(world.around.caches)]
    models = [statuses.mapping(statuses.mapping(body.get("spec")).get("model")) for body in bodies]
    names = (statuses.mapping(model.get("secretRef")).get("name") for model in models)
    return {str(name) for name in names if name}


def _volumes(world: World) -> Outcome:
    for pod in pods_of(world):
        if pod.phase != "Pending" or pod.node is None:
            continue
        for event in events_about(world, "Pod", pod.name)[:5]:
            if event.get("reason") in _MOUNT:
                return Broken(
                    f"pod {pod.name}",
                    f"a volume cannot be mounted on node {pod.node}: {said(event)}",
                    fixes.filled(
                        "`kubectl describe pod {pod} -n {ns}`; a volume for one node at "
                        "a time (ReadWriteOnce) is held by the pod that has it.",
                        world.key,
                        pod=pod.name,
                    ),
                )
    return Ok("")


def _engine(world: World) -> Outcome:
    pods = of_component(pods_of(world), *_ENGINES)
    found = failure(pods)
    if found is None or found[1].reason == reasons.IMAGE_PULL_FAILED:
        return _unread_pods(world) or _slow(world, pods)
    pod, verdict = found
    container = next((each.container for each in pod.failures), "engine")
    last = world.around.lines.get(pod.name, "")
    lines = f" Last lines of its log: {last}" if last and last not in verdict.message else ""
    fix = fixes.ENGINE.get(verdict.reason, fixes.ENGINE_ELSE)
    return Broken(
        f"pod {pod.name}",
        f"{verdict.reason}: {verdict.message}{lines}",
        fixes.filled(fix, world.key, pod=pod.name, container=container),
    )


def _slow(world: World, pods: tuple[ObservedPod, ...]) -> Outcome:
    """Engines that run and do not answer: still loading, or longer than starts ever took."""
    startup = statuses.mapping(statuses.mapping(world.body.get("status")).get("startup"))
    loads = statuses.number(startup.get("loadSeconds"))
    patience = _NOT_LEARNED_S if loads is None else max(120.0, _SLOW * loads)
    for pod in of_component(pods, Component.ENGINE):
        if pod.ready or pod.deleting or pod.started_at is None:
            continue
        age = world.now - pod.started_at
        told = next(
            (
                said(event)
                for event in events_about(world, "Pod", pod.name)
                if event.get("reason") == "Unhealthy"
            ),
            "",
        )
        if age <= patience:
            usual = "" if loads is None else f"; the last ones took {statuses.duration(loads)}"
            return Waits(f"pod {pod.name} has been loading for {statuses.duration(age)}{usual}")
        return Broken(
            f"pod {pod.name}",
            f"its engine has run for {statuses.duration(age)} and does not answer its probe"
            + (f": {told}" if told else "")
            + ("" if loads is None else f"; starts take {statuses.duration(loads)} here"),
            fixes.filled(
                "See what it does: `kubectl logs {pod} -n {ns} -c engine --tail=50`. To "
                "have another one made: `kubectl delete pod {pod} -n {ns}`",
                world.key,
                pod=pod.name,
            ),
        )
    return Ok("no engine has failed")


def _frontend(world: World) -> Outcome:
    return _front(world, picker=False)


def _picker(world: World) -> Outcome:
    return _front(world, picker=True)


def _front(world: World, *, picker: bool) -> Outcome:
    pods = of_component(pods_of(world), Component.FRONTEND)
    found = failure(pods)
    part = "picker" if picker else "frontend"
    if found is None or found[1].reason == reasons.IMAGE_PULL_FAILED:
        if not picker and pods and not any(pod.ready for pod in pods):
            return Waits("the frontend's pods are starting")
        return _unread_pods(world) or Ok(f"no {part} has failed")
    pod, verdict = found
    container = next((each.container for each in pod.failures), "envoy")
    if container.startswith("picker") is not picker:
        return Ok("")
    return Broken(
        f"pod {pod.name}",
        verdict.message,
        fixes.filled(
            "Read its last words: `kubectl logs {pod} -n {ns} -c {container} "
            "--previous`. Its image is `images.{part}` in the chart's values.",
            world.key,
            pod=pod.name,
            container=container,
            part="picker" if picker else "envoy",
        ),
    )


def _network(world: World) -> Outcome:
    told = spoken(world, {reasons.METRICS_MISSING, reasons.METRICS_LOST})
    ready = any(pod.ready for pod in of_component(pods_of(world), Component.ENGINE))
    if told is None or (not ready and told[0] == reasons.METRICS_MISSING):
        return Ok("the operator reaches the pods")
    if not ready and not isinstance(world.around.pods, Denied):
        return Ok("")
    others = _strangers(world)
    named = f" Policies there: {', '.join(others[:5])}." if others else ""
    return Broken(
        label(world),
        f"pods answer their probes, and the operator cannot read their numbers: {told[1]}{named}",
        fixes.filled(
            "Let {operator} reach ports 8000, 8001 and 9902 of the service's pods: "
            "`kubectl get networkpolicies -n {operator}` (egress) and `-n {ns}` "
            "(ingress). Then see the pod itself: `kubectl describe pod -n {ns} -l "
            "stoker.dev/service={name}`",
            world.key,
            operator=operator_namespace(world),
        ),
    )


def _strangers(world: World) -> list[str]:
    """Policies of the namespace that Stoker did not make."""
    return [
        str(metadata.get("name"))
        for each in several(world.around.policies)
        for metadata in (statuses.mapping(each.get("metadata")),)
        if statuses.mapping(metadata.get("labels")).get("app.kubernetes.io/managed-by") != "stoker"
    ]


def _metrics(world: World) -> Outcome:
    told = spoken(world, {reasons.METRIC_MISSING})
    if told is None:
        return Ok("")
    return Broken(
        label(world),
        told[1],
        fixes.filled(
            "Take an engine version that is supported (docs/scaling.md), and leave its "
            "metrics on: `kubectl edit infer {name} -n {ns}`",
            world.key,
        ),
    )


def _scale(world: World) -> Outcome:
    spec = statuses.mapping(world.body.get("spec"))
    status = statuses.mapping(world.body.get("status"))
    if statuses.whole(status.get("desiredReplicas")) != 0:
        return Ok("")
    if not isinstance(spec.get("scaling"), dict) or spec.get("replicas") == 0:
        return Broken(
            label(world),
            "spec.replicas is 0, so requests are held until they time out, and nothing wakes it",
            fixes.filled(
                "`kubectl scale infer {name} -n {ns} --replicas=1`, or set spec.scaling "
                "without spec.replicas, which wakes at a first request",
                world.key,
            ),
        )
    scaling = statuses.mapping(status.get("scaling"))
    why = statuses.text(scaling.get("message")) or "nothing came"
    return Ok(f"it is at zero ({why}); the first request is held and wakes it")


def _rest(world: World) -> Outcome:
    """Whatever else stands in the status, so that it agrees with `stoker why`."""
    for each in findings_of(world.body, world.now):
        if each.problem:
            return Broken(
                label(world),
                f"{each.reason}: {each.message}",
                each.remedy or fixes.filled("`stoker why {name} -n {ns}`", world.key),
            )
    for each in findings_of(world.body, world.now):
        if each.reason in NO_PROBLEM or each.reason == reasons.METRICS_MISSING:
            return Waits(each.message)
    ready = statuses.condition(statuses.mapping(world.body.get("status")), "Ready")
    if ready.get("status") != "True":
        return Waits(str(ready.get("message") or "its status says nothing yet"))
    return Ok(str(ready.get("message")))


def _first_token(world: World) -> Outcome:
    if world.answer is None:
        return Ok("not asked; --ask sends one request")
    if isinstance(world.answer, Denied):
        return Unknown(world.answer.right)
    if not world.answer.problem:
        return Ok(f"after {statuses.duration(world.answer.seconds)}")
    return Broken(
        label(world),
        f"a request of one token brought none within {statuses.duration(world.answer.seconds)}: "
        f"{world.answer.problem}",
        fixes.filled(
            "`kubectl logs -n {ns} -l stoker.dev/service={name},"
            "stoker.dev/component=frontend -c envoy --tail=20`",
            world.key,
        ),
    )


def _unread_pods(world: World) -> Outcome | None:
    """Where pods may not be listed, the status speaks for them once the whole service answers."""
    pods, status = world.around.pods, statuses.mapping(world.body.get("status"))
    ready = statuses.whole(status.get("readyReplicas")) or 0
    wanted = statuses.whole(status.get("desiredReplicas")) or 1
    answers = statuses.condition(status, "Ready").get("status") == "True" and ready >= wanted
    return Unknown(pods.right) if isinstance(pods, Denied) and not answers else None


STARTING: Final = (
    Check("image", "images", _image),
    Check("secret", "Secrets", _secret),
)
RUNNING: Final = (
    Check("volumes", "volumes are mounted", _volumes),
    Check("engine", "engine", _engine),
    Check("frontend", "frontend", _frontend),
    Check("picker", "picker", _picker),
    Check("network", "network", _network),
    Check("metrics", "engine's metrics", _metrics),
    Check("scale", "scale", _scale),
    Check("status", "status", _rest),
    Check("first-token", "first token", _first_token),
)
