"""Replicas that no node can take make nodes come, and a scale-down lets them go.

Karpenter is upstream's; its machines are played (`cluster.autoscaler`), and so are the engines on
them: no request is sent here, and the number of replicas is set by hand. What is real is everything
that decides: Stoker's pods, the scheduler, Karpenter, and the evictions that empty a node. Each
test takes over what the one before has left.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from e2e.cluster.autoscaler import Autoscaler, Pool, install_autoscaler
from e2e.cluster.images import reference
from e2e.stack import OPERATOR_NAMESPACE, Stack, example, is_ready
from e2e.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "nodes"
NAME = "far"
TYPE = "nvidia-l4"
# The label that the chart's catalogue gives this type.
POOL = Pool("l4", "nvidia.com/gpu", {"nvidia.com/gpu.product": "NVIDIA-L4"}, most=4)
HEADROOM = {
    "image": reference("pause"),
    "pools": [{"accelerator": TYPE, "replicas": 1, "requests": {"cpu": "1"}}],
}
LOCAL_VOLUMES = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
SECONDS = 120
Objects = list[dict[str, Any]]


@pytest.fixture(scope="module")
def autoscaler(stack: Stack) -> Iterator[Autoscaler]:
    """Karpenter, and a service that is planned and has no replica; afterwards nothing of them."""
    if stack.cluster.mode != "local":
        pytest.skip("played nodes are for a cluster of our own")
    stack.prepare_namespace(NAMESPACE, node=None)
    # A real pod on the real node reads the model, before the type is one that only comes later.
    stack.apply(service("cpu"))
    stack.wait_condition(NAME, NAMESPACE, "Planned", status="True")
    stack.apply(service(TYPE))
    stack.wait_for(lambda: planned_type(stack) == TYPE, f"a plan for {TYPE}", SECONDS)
    found = install_autoscaler(stack.cluster, POOL)
    yield found
    stack.kubectl("delete", "infer", "--all", "-n", NAMESPACE, "--wait=true")
    stack.install()
    stack.wait_for(lambda: not stack.list("pods", NAMESPACE), "all pods to go", SECONDS)
    found.remove()
    assert not found.nodes()
    stack.remove_namespace(NAMESPACE)


@pytest.fixture(scope="module")
def timeline(autoscaler: Autoscaler) -> Iterator[Timeline]:
    with Timeline(autoscaler.cluster.kubeconfig, NAMESPACE) as found:
        time.sleep(1)
        yield found


def service(accelerator: str) -> dict[str, Any]:
    return example(NAME, NAMESPACE, scaling=None, replicas=0, accelerator={"types": [accelerator]})


def planned_type(stack: Stack) -> str:
    found = stack.get("inferenceservices.stoker.dev", NAME, NAMESPACE) or {}
    return str(found.get("status", {}).get("plan", {}).get("accelerator"))


def scale(stack: Stack, replicas: int) -> None:
    stack.kubectl("scale", "infer", NAME, "-n", NAMESPACE, f"--replicas={replicas}")


def placeholders(stack: Stack) -> Objects:
    return stack.list("pods", OPERATOR_NAMESPACE, "app.kubernetes.io/component=headroom")


def place(pod: dict[str, Any]) -> str | None:
    node: str | None = pod["spec"].get("nodeName")
    return node


def names(objects: Objects) -> set[str]:
    return {item["metadata"]["name"] for item in objects}


def is_met(claim: dict[str, Any], kind: str) -> bool:
    conditions = claim.get("status", {}).get("conditions", [])
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


def met_at(claim: dict[str, Any], kind: str) -> str:
    """When a condition of a NodeClaim became true; RFC 3339 in UTC sorts as text."""
    conditions = claim["status"]["conditions"]
    (found,) = (c for c in conditions if c["type"] == kind)
    assert found["status"] == "True", found
    moment: str = found["lastTransitionTime"]
    return moment


@pytest.mark.timeout(300)
def test_replicas_without_a_node_make_one_come_for_each(
    stack: Stack, autoscaler: Autoscaler, timeline: Timeline
) -> None:
    assert not autoscaler.nodes()
    scale(stack, 2)
    stack.wait_ready_engines(NAME, NAMESPACE, 2, seconds=SECONDS)
    stack.wait_condition(NAME, NAMESPACE, "Schedulable", status="True")
    pods, nodes = stack.engine_pods(NAME, NAMESPACE), autoscaler.nodes()
    assert {place(pod) for pod in pods} == names(nodes)
    assert len(nodes) == 2
    # Karpenter looks at a node once more after its pods run, and then calls it initialized.
    stack.wait_for(
        lambda: all(is_met(claim, "Initialized") for claim in autoscaler.claims()),
        "Karpenter to have seen the nodes ready",
        60,
    )
    claims = {claim["status"]["nodeName"]: claim for claim in autoscaler.claims()}
    for pod in pods:
        claim = claims[str(place(pod))]
        order = [pod["metadata"]["creationTimestamp"], claim["metadata"]["creationTimestamp"]]
        order += [met_at(claim, kind) for kind in ("Launched", "Registered", "Initialized")]
        assert order == sorted(order)
        steps = [m.step for m in timeline.moments() if m.name == pod["metadata"]["name"]]
        assert steps == ["created", "scheduled", "ready"]
    events = stack.list("events", NAMESPACE)
    asked = {(e["involvedObject"]["name"], e["reason"]) for e in events}
    assert {(name, "Nominated") for name in names(pods)} <= asked


def test_only_what_asked_for_a_node_is_on_it_and_nothing_there_holds_it(
    stack: Stack, autoscaler: Autoscaler
) -> None:
    there = names(autoscaler.nodes())
    everywhere: Objects = stack.cluster.get("pods", "--all-namespaces")["items"]
    guests = [pod for pod in everywhere if place(pod) in there]
    assert names(guests) == names(stack.engine_pods(NAME, NAMESPACE))
    for pod in guests:
        volumes = {v["name"] for v in pod["spec"]["volumes"] if "emptyDir" in v or "hostPath" in v}
        assert volumes == set(pod["metadata"]["annotations"][LOCAL_VOLUMES].split(","))
        (owner,) = pod["metadata"]["ownerReferences"]
        assert owner["kind"] == "ReplicaSet"


@pytest.mark.timeout(300)
def test_nodes_that_must_go_are_emptied_one_replica_at_a_time(
    stack: Stack, autoscaler: Autoscaler, timeline: Timeline
) -> None:
    nodes, began = names(autoscaler.nodes()), time.monotonic()
    before = names(stack.engine_pods(NAME, NAMESPACE))
    stack.kubectl("delete", "node", *nodes, "--wait=false")
    stack.wait_for(lambda: not nodes & names(autoscaler.nodes()), "both nodes to go", SECONDS)
    stack.wait_ready_engines(NAME, NAMESPACE, 2, seconds=SECONDS)
    moments = [m for m in timeline.moments(began) if m.step in {"leaving", "ready"}]
    steps = [(m.step, m.name in before) for m in moments if m.component == "engine"]
    one = [("leaving", True), ("ready", False)]
    assert steps == [*one, *one], "the second left before there was another for the first"
    events = stack.list("events", NAMESPACE)
    evicted = {e["involvedObject"]["name"] for e in events if e["reason"] == "Evicted"}
    assert before <= evicted


@pytest.mark.timeout(300)
def test_a_warm_node_is_taken_at_once_and_another_one_comes(
    stack: Stack, autoscaler: Autoscaler
) -> None:
    cold = names(autoscaler.nodes())
    stack.install(headroom=HEADROOM)
    stack.wait_for(lambda: any(map(is_ready, placeholders(stack))), "a placeholder", SECONDS)
    (warm,) = names(autoscaler.nodes()) - cold
    (placeholder,) = placeholders(stack)
    assert place(placeholder) == warm
    scale(stack, 3)
    stack.wait_ready_engines(NAME, NAMESPACE, 3, seconds=SECONDS)
    assert warm in {place(pod) for pod in stack.engine_pods(NAME, NAMESPACE)}
    stack.wait_for(
        lambda: [p for p in placeholders(stack) if is_ready(p) and place(p) not in {None, warm}],
        "the next placeholder on a node of its own",
        SECONDS,
    )
    assert len(autoscaler.nodes()) == 4


@pytest.mark.timeout(300)
def test_a_scale_down_lets_the_nodes_go(stack: Stack, autoscaler: Autoscaler) -> None:
    (kept,) = {str(place(pod)) for pod in placeholders(stack)}
    scale(stack, 0)
    stack.wait_for(
        lambda: names(autoscaler.nodes()) == {kept}, "all nodes but the warm one to go", SECONDS
    )
    assert {str(claim["status"]["nodeName"]) for claim in autoscaler.claims()} == {kept}
    assert [place(pod) for pod in placeholders(stack)] == [kept]
