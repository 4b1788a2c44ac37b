"""Each link by values: what is broken, what only waits, and what cannot be known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.commands.doctor.chain import ALL, PLATFORM
from stoker.commands.doctor.links import State, first_broken, walk
from stoker.commands.doctor.platform import RIGHTS, in_words
from stoker.commands.doctor.seen import Absent, Api, Denied, Kinds, World
from stoker.commands.exits import Exit
from stoker.model import reasons
from stoker_worker.contract import Termination
from tests.integration.operator.support import REPOSITORY
from tests.unit.commands.doctor.worlds import (
    AROUND,
    BODY,
    DEPLOYMENT,
    KEY,
    LEASE,
    NOW,
    SERVED,
    STATUS,
    THEN,
    WORLD,
    around,
    cause,
    condition,
    container,
    event,
    operator,
    pod,
    state,
    with_status,
)

CRASHING = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
NO = Denied("the right to look")


def ended(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def failing(component: str, name: str, state: dict[str, Any], last: Any = None) -> World:
    where = "initContainerStatuses" if name.startswith("picker") else "containerStatuses"
    status: dict[str, Any] = {where: [container(name, state, last)]}
    return around(pods=(pod(component, **status),))


def cached(**status: Any) -> World:
    body = {**BODY, "spec": {"model": {"cacheRef": {"name": "llama"}}}}
    cache = {"metadata": {"name": "llama"}, "spec": {"model": {"uri": "hf://a/b"}}}
    return around(replace(WORLD, service=body), caches=({**cache, "status": status},))


def test_nothing_is_broken_where_everything_answers() -> None:
    links = walk(WORLD, ALL)
    assert first_broken(links) is None
    assert {link.state for link in links} == {State.OK}
    assert len({link.id for link in links}) == len(links) >= 30


REFUSED = "pods is forbidden: exceeded quota: none, requested: pods=1, used: pods=0"
SILENT = condition("ScalingActive", "False", reasons.METRICS_MISSING, "no answer within 1 s")
ANSWERS = pod(phase="Running", conditions=[{"type": "Ready", "status": "True"}])
BROKEN = (
    (replace(WORLD, api=Api(problem="refused")), "api", Exit.UNREACHABLE, "--kubeconfig"),
    (replace(WORLD, kinds=Kinds({})), "definitions", Exit.NOT_FOUND, "crds.install=true"),
    (
        replace(operator(config={"leaderWorkerSet": {"enabled": True}}), kinds=Kinds(SERVED)),
        "definitions",
        Exit.UNHEALTHY,
        "LeaderWorkerSet controller",
    ),
    (
        replace(WORLD, kinds=Kinds(SERVED, {"ModelCache": ("status.repaired",)})),
        "schema",
        Exit.UNHEALTHY,
        "kubectl apply --server-side",
    ),
    (replace(WORLD, service=Absent()), "service", Exit.NOT_FOUND, "kubectl get infer -A"),
    (replace(WORLD, service=NO), "service", Exit.FORBIDDEN, "role `view`"),
    (operator(deployments=()), "operator", Exit.UNHEALTHY, "helm upgrade --install"),
    (
        operator(deployments=({**DEPLOYMENT, "spec": {"replicas": 0}, "status": {}},)),
        "operator",
        Exit.UNHEALTHY,
        "kubectl scale deployment stoker",
    ),
    (
        operator(deployments=({**DEPLOYMENT, "status": {}},)),
        "operator",
        Exit.UNHEALTHY,
        "kubectl logs",
    ),
    (operator(lease=Absent()), "leader", Exit.UNHEALTHY, "kubectl logs"),
    (operator(lease={"spec": {}}), "leader", Exit.UNHEALTHY, "kubectl rollout restart"),
    (operator(lacks=("list pods",)), "rights", Exit.UNHEALTHY, "helm upgrade stoker"),
    (operator(config={"watchNamespaces": ["a"]}), "watched", Exit.UNHEALTHY, "{a,chat}"),
    (around(namespace=Absent()), "namespace", Exit.UNHEALTHY, "another namespace"),
    (
        replace(WORLD, service={**BODY, "metadata": {**BODY["metadata"], "deletionTimestamp": 1}}),
        "deletion",
        Exit.UNHEALTHY,
        "finalizers",
    ),
    (replace(WORLD, service={**BODY, "status": {}}), "seen", Exit.UNHEALTHY, "kubectl logs"),
    (
        with_status(condition("Stalled", "True", reasons.ARGUMENT_NOT_ALLOWED)),
        "spec",
        Exit.UNHEALTHY,
        "engines.vllm.allowedArgs",
    ),
    (
        with_status(condition("NameTaken", "True", reasons.NAME_TAKEN)),
        "names",
        Exit.UNHEALTHY,
        "kubectl get all",
    ),
    (
        with_status(
            condition("Progressing", "False", reasons.WRITE_REFUSED, "x is forbidden: User y")
        ),
        "writes",
        Exit.UNHEALTHY,
        "chart's roles",
    ),
    (
        failing("engine", "engine", {"waiting": {"reason": "ErrImagePull", "message": "gone"}}),
        "image",
        Exit.UNHEALTHY,
        "kubectl describe pod llama-engine-1",
    ),
    (
        around(
            pods=(
                pod(
                    spec={"imagePullSecrets": [{"name": "pull"}]},
                    containerStatuses=[
                        container("engine", {"waiting": {"reason": "ErrImagePull"}})
                    ],
                ),
            ),
            secrets={"pull": Absent()},
        ),
        "image",
        Exit.UNHEALTHY,
        "docker-registry pull",
    ),
    (
        failing(
            "engine",
            "engine",
            {
                "waiting": {
                    "reason": "CreateContainerConfigError",
                    "message": 'secret "token" not found',
                }
            },
        ),
        "secret",
        Exit.UNHEALTHY,
        "Create what is named",
    ),
    (
        with_status(condition("Schedulable", "False", reasons.PODS_REFUSED, REFUSED)),
        "quota",
        Exit.UNHEALTHY,
        "kubectl describe quota",
    ),
    (
        with_status(
            condition("Schedulable", "False", reasons.PODS_REFUSED, 'serviceaccount "x" not found')
        ),
        "account",
        Exit.UNHEALTHY,
        "kubectl get serviceaccounts",
    ),
    (
        with_status(
            condition("Schedulable", "False", reasons.PODS_REFUSED, "violates PodSecurity")
        ),
        "admission",
        Exit.UNHEALTHY,
        "--show-labels",
    ),
    (around(claims={"models": Absent()}), "claim", Exit.UNHEALTHY, "Create it"),
    (
        around(claims={"models": {"status": {"phase": "Lost"}}}),
        "claim",
        Exit.UNHEALTHY,
        "pvc models",
    ),
    (
        cached(phase="Failed", conditions=[condition("Ready", "False", "NotEnoughDisk")]),
        "cache",
        Exit.UNHEALTHY,
        "storage.size",
    ),
    (
        with_status(condition("Planned", "False", "RemoteCode")),
        "facts",
        Exit.UNHEALTHY,
        "no code of a model",
    ),
    (
        with_status(condition("Planned", "False", "DoesNotFit")),
        "plan",
        Exit.UNHEALTHY,
        "stoker plan --of llama -n chat",
    ),
    (
        around(
            pods=(pod(spec={"nodeName": "n"}),),
            events=(event("Pod", "llama-engine-1", "FailedMount", "volume busy"),),
        ),
        "volumes",
        Exit.UNHEALTHY,
        "ReadWriteOnce",
    ),
    (
        failing("engine", "engine", CRASHING, ended(137, reason="OOMKilled")),
        "engine",
        Exit.UNHEALTHY,
        "limits.memory",
    ),
    (
        failing(
            "engine", "engine", CRASHING, ended(1, Termination("EngineHung", "dead").to_json())
        ),
        "engine",
        Exit.UNHEALTHY,
        "kubectl logs",
    ),
    (
        around(
            pods=(
                pod(
                    phase="Running",
                    containerStatuses=[container("engine", {"running": {"startedAt": THEN}})],
                ),
            )
        ),
        "engine",
        Exit.UNHEALTHY,
        "kubectl delete pod",
    ),
    (failing("frontend", "envoy", CRASHING, ended(1)), "frontend", Exit.UNHEALTHY, "images.envoy"),
    (
        failing("frontend", "picker-stable", CRASHING, ended(1)),
        "picker",
        Exit.UNHEALTHY,
        "images.picker",
    ),
    (around(with_status(SILENT), pods=(ANSWERS,)), "network", Exit.UNHEALTHY, "8001"),
    (
        with_status(condition("ScalingActive", "False", reasons.METRIC_MISSING)),
        "metrics",
        Exit.UNHEALTHY,
        "engine version",
    ),
    (with_status(desiredReplicas=0), "scale", Exit.UNHEALTHY, "--replicas=1"),
    (
        with_status(condition("ScaledByOthers", "True", reasons.SCALED_BY_OTHERS)),
        "status",
        Exit.UNHEALTHY,
        "stoker why llama -n chat",
    ),
)


@pytest.mark.parametrize(("world", "check", "status", "fix"), BROKEN)
def test_the_first_broken_link_and_its_fix(
    world: World, check: str, status: Exit, fix: str
) -> None:
    found = cause(world)
    assert (found.id, found.exit) == (check, status)
    assert fix in found.fix
    assert found.where
    assert found.words
    assert "{" not in found.fix.replace("{a,chat}", "").replace("jsonpath='{", "")


def test_every_check_can_be_the_cause() -> None:
    # Nodes and the first token have tests of their own.
    others = {"nodes", "device-plugin", "taints", "scheduling", "first-token"}
    assert {check for _, check, _, _ in BROKEN} == {check.id for check in ALL} - others


@pytest.mark.parametrize(
    ("world", "check"),
    [
        (operator(deployments=NO), "operator"),
        (operator(lease=NO), "leader"),
        (operator(lacks=NO), "rights"),
        (replace(WORLD, kinds=Kinds(NO)), "definitions"),
        (around(namespace=NO), "namespace"),
        (around(deployments=NO), "admission"),
        (around(claims={"models": NO}), "claim"),
    ],
)
def test_what_may_not_be_read_is_named_and_breaks_nothing(world: World, check: str) -> None:
    found = state(world, check)
    assert found.state is State.UNKNOWN
    assert "the right to look" in found.words
    assert first_broken(walk(world, ALL)) is None


def test_pods_that_may_not_be_read_are_unknown_only_while_nothing_answers() -> None:
    assert state(around(pods=NO), "image").state is State.OK
    nobody = around(with_status(readyReplicas=0), pods=NO)
    for check in ("image", "engine", "frontend"):
        assert state(nobody, check).state is State.UNKNOWN


@pytest.mark.parametrize(
    ("world", "check", "words"),
    [
        (
            cached(
                phase="Fetching",
                conditions=[condition("Ready", "False", reasons.FETCHING)],
                progress={"shown": "40%"},
            ),
            "cache",
            "Fetching, 40%",
        ),
        (
            with_status(condition("Planned", "Unknown", reasons.READING_MODEL, "being read")),
            "facts",
            "being read",
        ),
        (
            with_status(condition("Ready", "False", reasons.WAITING_FOR_PODS, "it is starting")),
            "status",
            "it is starting",
        ),
        (
            around(
                replace(WORLD, now=NOW - 3500),
                pods=(
                    pod(
                        phase="Running",
                        containerStatuses=[
                            container("engine", {"running": {"startedAt": "2025-12-31T23:00:00Z"}})
                        ],
                    ),
                ),
            ),
            "engine",
            "has been loading for 1m40s",
        ),
    ],
)
def test_what_is_on_its_way_waits(world: World, check: str, words: str) -> None:
    found = state(world, check)
    assert found.state is State.WAITS
    assert words in found.words
    assert first_broken(walk(world, ALL)) is None


def test_a_clock_that_is_off_is_told_and_kills_no_leader() -> None:
    hour_ahead = {"spec": {**LEASE["spec"], "renewTime": "2026-01-01T01:00:00Z"}}
    assert (
        "clock and this machine's are 1h apart" in state(operator(lease=hour_ahead), "leader").words
    )
    hour_ago = {"spec": {**LEASE["spec"], "renewTime": "2025-12-31T23:00:00Z"}}
    assert state(operator(lease=hour_ago), "leader").state is State.BROKEN
    moving = state(operator(lease=hour_ago, moves=True), "leader")
    assert moving.state is State.OK
    assert "1h apart" in moving.words


def test_a_service_at_zero_that_scales_is_at_rest() -> None:
    scaling = {"reason": "Idle", "message": "idle for 5m"}
    world = with_status(
        condition("Ready", "True", reasons.SCALED_TO_ZERO),
        desiredReplicas=0,
        scaling=scaling,
    )
    body = {**world.body, "spec": {**BODY["spec"], "scaling": {"minReplicas": 0}}}
    found = state(replace(world, service=body), "scale")
    assert found.state is State.OK
    assert "idle for 5m" in found.words


def test_later_links_are_judged_only_when_all_are_asked_for() -> None:
    world = operator(deployments=(), lacks=("list pods",))
    states = {link.id: link.state for link in walk(world, ALL)}
    assert states["operator"] is State.BROKEN
    assert states["rights"] is State.NOT_JUDGED
    whole = {link.id: link.state for link in walk(world, ALL, everything=True)}
    assert whole["rights"] is State.BROKEN


def test_the_platform_is_judged_without_a_service() -> None:
    assert first_broken(walk(World(NOW), PLATFORM)) is None
    assert first_broken(walk(replace(WORLD, key=None), PLATFORM)) is None


def test_the_operators_rights_are_those_of_the_chart() -> None:
    text = (REPOSITORY / "charts/stoker/templates/_helpers.tpl").read_text()
    for group, resource, verb in RIGHTS:
        assert resource in text, in_words((group, resource, verb))
        assert verb in {"get", "list", "create", "patch"}
    assert in_words(("stoker.dev", "inferenceservices/status", "patch")) == (
        "patch inferenceservices.stoker.dev/status"
    )


_JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["conditions", "model", "scaling", "plan", "startup"]), _JUNK),
    st.dictionaries(st.sampled_from(["model", "scaling", "replicas", "engine"]), _JUNK),
)
def test_an_object_of_another_version_breaks_no_check(
    status: dict[str, Any], spec: dict[str, Any]
) -> None:
    body = json.loads(json.dumps({**BODY, "spec": spec, "status": {**STATUS, **status}}))
    links = walk(
        replace(WORLD, service=body, around=replace(AROUND, caches=({"spec": spec},))), ALL
    )
    assert len(links) == len(ALL)
    assert KEY.name
