"""Queue depth at work: 1 → 2 → 1 by a burst, to zero, woken again, and what a full queue says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from e2e.chaos import engine_load
from e2e.models import PROMPTS
from e2e.stack import Stack, example, is_ready
from e2e.test_10_answers import call
from e2e.timeline import Timeline
from e2e.traffic import Traffic, describe, lost

NAMESPACE = "demo"
NAME = "tiny"
TEXTS = tuple(prompt.text for prompt in PROMPTS)


@pytest.fixture(scope="module")
def timeline(stack: Stack) -> Iterator[Timeline]:
    with Timeline(stack.cluster.kubeconfig, NAMESPACE) as found:
        time.sleep(1)
        yield found


@pytest.mark.timeout(600)
def test_burst_scales_up_and_down_again_without_loss(
    stack: Stack, tiny: str, timeline: Timeline
) -> None:
    stack.apply(example(NAME, NAMESPACE, scaling=scaling(minReplicas=1)))
    with Traffic(tiny, NAME, streams=8, unary=4, prompts=TEXTS, stream_tokens=150) as traffic:
        started = time.monotonic()
        timeline.wait("replicas=2", kind="Deployment", since=started, seconds=60)
        stack.wait_ready_engines(NAME, NAMESPACE, 2)
        time.sleep(3)
        records = traffic.finish()
    assert not lost(records), describe(lost(records))
    assert len(records) > 12
    quiet = time.monotonic()
    timeline.wait("replicas=1", kind="Deployment", since=quiet, seconds=90)
    # The status is written after the Deployment.
    stack.wait_for(lambda: last_scale(stack)["to"] == 1, "the status to tell of it", 20)
    scaled = last_scale(stack)
    assert (scaled["from"], scaled["reason"]) == (2, "LoadShrank")
    stack.wait_ready_engines(NAME, NAMESPACE, 1)


@pytest.mark.timeout(600)
def test_the_replica_with_a_running_stream_stays(
    stack: Stack, tiny: str, timeline: Timeline
) -> None:
    last = last_scale(stack)["time"]
    stack.apply(example(NAME, NAMESPACE, scaling=scaling(minReplicas=2)))
    stack.wait_ready_engines(NAME, NAMESPACE, 2)
    # What it costs to lose a replica is written once a minute at most.
    age = time.time() - datetime.fromisoformat(last).timestamp()
    time.sleep(max(0.0, 62 - age))
    with Traffic(tiny, NAME, streams=1, unary=0, prompts=TEXTS, stream_tokens=3000) as traffic:
        traffic.wait_streaming(1)
        (busy,) = [p for p in stack.engine_pods(NAME, NAMESPACE) if engine_load(p) > 0]
        time.sleep(4)  # Stoker looks every two seconds
        fewer = time.monotonic()
        stack.apply(example(NAME, NAMESPACE, scaling=scaling(minReplicas=1, maxReplicas=1)))
        left = timeline.wait("leaving", since=fewer, seconds=60)
        assert len(traffic.records()) == 1, "the stream was over before a replica went"
        assert left.name != busy["metadata"]["name"]
        records = traffic.finish()
    assert not lost(records), describe(lost(records))
    stack.wait_ready_engines(NAME, NAMESPACE, 1)
    (stayed,) = stack.engine_pods(NAME, NAMESPACE)
    assert stayed["metadata"]["uid"] == busy["metadata"]["uid"]


@pytest.mark.timeout(600)
def test_idle_service_goes_to_zero_and_still_lists_its_model(
    stack: Stack, tiny: str, timeline: Timeline
) -> None:
    stack.apply(example(NAME, NAMESPACE))
    timeline.wait("replicas=0", kind="Deployment", since=time.monotonic() - 1, seconds=90)
    stack.wait_for(lambda: not stack.engine_pods(NAME, NAMESPACE), "the last engine to go", 90)
    stack.wait_condition(NAME, NAMESPACE, "Ready", status="True", reason="ScaledToZero")
    before = time.monotonic()
    for _ in range(5):
        assert call(tiny, "/models")[0] == 200
        assert call(tiny.removesuffix("/v1"), "/healthz")[0] == 200
        time.sleep(0.5)
    time.sleep(3)
    assert timeline.first("created", since=before) is None, "listing the models woke an engine"


@pytest.mark.timeout(300)
def test_first_request_wakes_it_is_held_and_answered(
    stack: Stack, tiny: str, timeline: Timeline
) -> None:
    del stack
    with Traffic(tiny, NAME, streams=2, unary=2, prompts=TEXTS, stream_tokens=32) as traffic:
        started = time.monotonic()
        created = timeline.wait("created", since=started, seconds=20)
        assert created.at - started < 5, "far beyond the second that is promised"
        records = traffic.finish()
    assert not lost(records), describe(lost(records))


@pytest.mark.timeout(300)
def test_full_queue_and_spent_patience_are_told_apart(stack: Stack) -> None:
    """Without any accelerator to run on nothing ever answers: what is held is refused in words."""
    manifest = example(
        "full", NAMESPACE,
        accelerator={"types": ["nvidia-l4"]},
        frontend={"maxHeld": 2, "holdTimeout": "12s"},
        engine=None,
    )  # fmt: skip
    stack.apply(manifest)
    stack.wait_for(
        lambda: any_ready(stack, "full"), "the frontend of a service without replicas", 90
    )
    url = stack.address("full", NAMESPACE)
    found: list[tuple[float, int, dict[str, str], dict[str, object]]] = []

    def ask() -> None:
        start = time.monotonic()
        status, headers, body = call(url, "/completions", {"model": "full", "prompt": "x"})
        found.append((time.monotonic() - start, status, headers, body))

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(status for _, status, _, _ in found) == [429, 429, 429, 503, 503]
    for seconds, status, headers, body in found:
        lowered = {name.lower(): value for name, value in headers.items()}
        assert int(lowered["retry-after"]) >= 1
        assert body["error"]["message"]  # type: ignore[index]
        assert seconds < 5 if status == 429 else 10 < seconds < 30
    condition = stack.wait_condition("full", NAMESPACE, "Schedulable", status="False")
    assert condition["reason"] == "NoNodeForAccelerator"
    stack.kubectl("delete", "infer", "full", "-n", NAMESPACE)


@pytest.mark.timeout(120)
def test_kubectl_scale_is_refused_in_words_while_stoker_scales(stack: Stack, tiny: str) -> None:
    del tiny
    with pytest.raises(Exception, match="replicas and scaling exclude each other"):
        stack.kubectl("scale", "infer", NAME, "-n", NAMESPACE, "--replicas=2")


def any_ready(stack: Stack, service: str) -> bool:
    return any(is_ready(pod) for pod in stack.frontend_pods(service, NAMESPACE))


def last_scale(stack: Stack) -> dict[str, Any]:
    return dict((stack.get("infer", NAME, NAMESPACE) or {})["status"]["lastScale"])


def scaling(**changes: object) -> dict[str, object]:
    return {**example(NAME, NAMESPACE)["spec"]["scaling"], **changes}
