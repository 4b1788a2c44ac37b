"""Several ranks that are one replica: in one pod, and across the pods of a LeaderWorkerSet.

The controller is upstream's, installed by its own chart for these tests and taken away after them.
An engine of two ranks on two cores starts slowly, so the tests are one life of one service.
"""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import openai
import pytest

from e2e.cluster.groups import install_lws
from e2e.models import PROMPTS
from e2e.stack import Stack, container_pids, example, is_ready, process_name
from e2e.test_10_answers import call
from e2e.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "groups"
PAIR = "pair"
SPREAD = "spread"
START_SECONDS = 420


@pytest.fixture(scope="module")
def groups(stack: Stack) -> Iterator[Stack]:
    """Stoker on a cluster with the LeaderWorkerSet controller; afterwards as it was."""
    controller = install_lws(stack.cluster)
    stack.install(leaderWorkerSet={"enabled": True})
    stack.prepare_namespace(NAMESPACE)
    yield stack
    stack.kubectl("delete", "infer", "--all", "-n", NAMESPACE, "--wait=true")
    # A namespace that ends with pods in it is looked at again after half of their grace period.
    for kind in ("leaderworkersets", "pods"):
        stack.wait_for(lambda kind=kind: not stack.list(kind, NAMESPACE), f"all {kind} to go", 240)
    stack.remove_namespace(NAMESPACE)
    stack.install()
    controller.remove()


@pytest.fixture(scope="module")
def timeline(groups: Stack) -> Iterator[Timeline]:
    with Timeline(groups.cluster.kubeconfig, NAMESPACE) as found:
        time.sleep(1)
        yield found


@pytest.fixture(scope="module")
def spread(groups: Stack, timeline: Timeline) -> str:
    """The address of a service whose replica is two pods, once it answers."""
    del timeline
    groups.apply(service(SPREAD, {"tensor": 2, "nodes": 2}))
    groups.wait_ready_engines(SPREAD, NAMESPACE, 1, seconds=START_SECONDS)
    groups.wait_condition(SPREAD, NAMESPACE, "Ready", status="True")
    return groups.address(SPREAD, NAMESPACE)


def service(name: str, parallelism: dict[str, int], replicas: int = 1, **env: str) -> Any:
    variables = [{"name": key, "value": value} for key, value in env.items()]
    engine = {"args": {"max-num-seqs": "4"}, "env": variables}
    return example(
        name, NAMESPACE, scaling=None, replicas=replicas, parallelism=parallelism, engine=engine
    )


def followers(stack: Stack, name: str) -> list[dict[str, Any]]:
    selector = f"stoker.dev/service={name},stoker.dev/component=follower"
    return stack.list("pods", NAMESPACE, selector)


def pods_of_the_group(stack: Stack) -> list[dict[str, Any]]:
    return [*stack.engine_pods(SPREAD, NAMESPACE), *followers(stack, SPREAD)]


def state_of(pod: dict[str, Any]) -> dict[str, Any]:
    """What the worker says of itself; the node may always ask its own pods."""
    with urllib.request.urlopen(f"http://{pod['status']['podIP']}:8001/state", timeout=10) as found:
        state: dict[str, Any] = json.load(found)
    return state


def ranks_in(pod: dict[str, Any]) -> list[str]:
    names = map(process_name, container_pids(pod["metadata"]["uid"]))
    return sorted({name.split()[0] for name in names if "Worker" in name})


def check_answer(url: str, name: str) -> None:
    prompt, expected = PROMPTS[0]
    body = {"model": name, "prompt": prompt, "max_tokens": 12, "temperature": 0}
    status, _, answer = call(url, "/completions", body)
    assert status == 200, answer
    assert expected.split()[0] in answer["choices"][0]["text"]


@pytest.mark.timeout(START_SECONDS + 180)
def test_two_ranks_in_one_pod_answer_as_one(groups: Stack) -> None:
    groups.apply(service(PAIR, {"tensor": 2}, VLLM_CPU_OMP_THREADS_BIND="0|1"))
    groups.wait_ready_engines(PAIR, NAMESPACE, 1, seconds=START_SECONDS)
    groups.wait_condition(PAIR, NAMESPACE, "Ready", status="True")
    (pod,) = groups.engine_pods(PAIR, NAMESPACE)
    assert len(ranks_in(pod)) == 2
    assert not followers(groups, PAIR)
    check_answer(groups.address(PAIR, NAMESPACE), PAIR)
    groups.kubectl("delete", "infer", PAIR, "-n", NAMESPACE, "--wait=true")
    groups.wait_for(lambda: not groups.engine_pods(PAIR, NAMESPACE), "its pod to go", 120)


@pytest.mark.timeout(START_SECONDS + 180)
def test_two_pods_answer_as_one(groups: Stack, spread: str) -> None:
    (leader,), (follower,) = groups.engine_pods(SPREAD, NAMESPACE), followers(groups, SPREAD)
    assert [len(ranks_in(pod)) for pod in (leader, follower)] == [1, 1]
    assert state_of(leader)["phase"] == "Ready"
    assert state_of(follower)["phase"] == "Following"
    (made,) = groups.list("leaderworkersets", NAMESPACE)
    assert made["spec"]["leaderWorkerTemplate"]["size"] == 2
    assert made["status"]["readyReplicas"] == 1
    check_answer(spread, SPREAD)
    found = groups.get("inferenceservices.stoker.dev", SPREAD, NAMESPACE) or {}
    assert found["status"]["replicas"] == 1, "a group is one replica"


def test_the_group_was_ready_as_a_whole_only(spread: str, timeline: Timeline) -> None:
    del spread
    ready: dict[str, float] = {}
    for moment in timeline.moments():
        if moment.step == "ready" and moment.name.startswith(f"{SPREAD}-"):
            ready.setdefault(moment.component, moment.at)
    assert ready["follower"] < ready["engine"]


def test_requests_go_to_the_leader_alone(groups: Stack, spread: str) -> None:
    del spread
    (follower,) = followers(groups, SPREAD)
    (pool,) = groups.list("inferencepools.inference.networking.k8s.io", NAMESPACE)
    wanted = pool["spec"]["selector"]["matchLabels"].items()
    assert not wanted <= follower["metadata"]["labels"].items()
    (leader,) = groups.engine_pods(SPREAD, NAMESPACE)
    assert wanted <= leader["metadata"]["labels"].items()


@pytest.mark.timeout(START_SECONDS + 300)
def test_a_follower_that_dies_takes_its_group_along_and_the_group_comes_back(
    groups: Stack, spread: str
) -> None:
    before = {pod["metadata"]["uid"] for pod in pods_of_the_group(groups)}
    (follower,) = followers(groups, SPREAD)
    ranks = [
        pid for pid in container_pids(follower["metadata"]["uid"]) if "Worker" in process_name(pid)
    ]
    assert ranks, "no rank to kill"
    for pid in ranks:
        os.kill(pid, signal.SIGKILL)

    def replaced() -> bool:
        pods = pods_of_the_group(groups)
        return not before & {pod["metadata"]["uid"] for pod in pods}

    groups.wait_for(replaced, "both pods to be replaced", 200)
    groups.wait_ready_engines(SPREAD, NAMESPACE, 1, seconds=START_SECONDS)
    check_answer(spread, SPREAD)
    assert all(is_ready(pod) for pod in pods_of_the_group(groups))


@pytest.mark.timeout(420)
def test_a_stream_outlives_the_end_of_its_group(groups: Stack, spread: str) -> None:
    """The leader still owes an answer, and needs the follower for it until the last token."""
    client = openai.OpenAI(base_url=spread, api_key="none", max_retries=0, timeout=240)
    tokens = 400
    stream = client.completions.create(
        model=SPREAD,
        prompt="The",
        max_tokens=tokens,
        temperature=0,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    pieces = [next(iter(stream))]
    # What an eviction does: the follower is asked to end first, the controller takes the rest.
    (follower,) = followers(groups, SPREAD)
    name = follower["metadata"]["name"]
    groups.apply(service(SPREAD, {"tensor": 2, "nodes": 2}, replicas=0))
    groups.kubectl("delete", "pod", name, "-n", NAMESPACE, "--wait=false")
    pieces += list(stream)
    assert pieces[-1].choices[0].finish_reason == "length"
    assert len(pieces) > tokens / 2, "the stream was cut or came in lumps"
    groups.wait_for(lambda: not pods_of_the_group(groups), "the group to go", 120)
    (made,) = groups.list("leaderworkersets", NAMESPACE)
    assert made["spec"]["replicas"] == 0
