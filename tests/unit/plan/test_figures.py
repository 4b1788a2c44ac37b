"""What /metrics tells of a service comes from its object alone, and bad objects cost nothing."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from stoker.catalog.load import builtin_gpus
from stoker.model import reasons
from stoker.model.observed import ContainerFailure
from stoker.model.sizing import Configuration
from stoker.naming import Component
from stoker.plan import conditions
from stoker.plan.failures import End, end_of
from stoker.plan.figures import figures_of, residuals_of, speaks_against
from stoker.plan.stored import PLANNER_VERSION
from stoker_worker import modelfacts
from stoker_worker.contract import Termination, TerminationReason
from tests.unit.plan.worlds import FACTS, KEY, PLANNING, pod

L4 = builtin_gpus()["nvidia-l4"]
CONFIGURATION = Configuration("nvidia-l4", tensor=2)


def planned(**plan: Any) -> dict[str, Any]:
    """A status with a plan of two L4."""
    return {
        "model": {"name": "llama", "facts": modelfacts.to_json(FACTS)},
        "plan": {
            "accelerator": "nvidia-l4",
            "configuration": json.dumps(asdict(CONFIGURATION)),
            "inputs": {"spec": "s", "model": "m"},
            **plan,
        },
    }


def figures(spec: object = None, status: object = None, **more: Any) -> Any:
    return figures_of(KEY, {"spec": spec, "status": status}, PLANNING, **more)


def test_a_new_service_tells_what_its_spec_says() -> None:
    found = figures({"model": {"uri": "pvc://models/tiny"}, "replicas": 3})
    assert (found.accelerator, found.engine, found.objective) == ("cpu", "vllm", "balanced")
    assert found.limits == {"min": 3, "max": 3}
    assert found.replicas == {}
    assert (found.flops, found.bandwidth, found.startup, found.residuals) == (None, None, {}, {})
    assert figures({"accelerator": {"types": ["a", "b"]}}).accelerator == "a,b"
    assert figures({}).limits == {"min": 1, "max": 1}
    assert figures({"scaling": {"maxReplicas": 8}}).limits == {"min": 1, "max": 8}
    assert figures({"scaling": {"minReplicas": 0, "maxReplicas": 8}}).limits["min"] == 0


def test_replicas_that_exist_and_do_not_answer_are_pending() -> None:
    told = {"desiredReplicas": 4, "replicas": 3, "readyReplicas": 1}
    assert figures({}, told).replicas == {"desired": 4, "ready": 1, "pending": 2}
    fewer = {"desiredReplicas": 0, "replicas": 0, "readyReplicas": 1}
    assert figures({}, fewer).replicas == {"desired": 0, "ready": 1, "pending": 0}


@pytest.mark.parametrize(
    ("scaling", "targets", "seconds", "shares"),
    [
        ({"ttft": {"p90": "800ms"}}, {}, {"ttft": 0.8}, {"ttft": 0.9}),
        ({"itl": {"p50": "20ms", "p99": "1s"}}, {}, {"itl": 1.0}, {"itl": 0.99}),
        ({}, {"ttft": "1m"}, {"ttft": 60.0}, {}),
        ({"ttft": {"p50": "2s"}}, {"ttft": "1s"}, {"ttft": 2.0}, {"ttft": 0.5}),
        ({"ttft": {"p90": "soon"}}, {"itl": 3}, {}, {}),
    ],
)
def test_a_target_is_what_is_promised_else_what_is_planned_for(
    scaling: dict[str, Any],
    targets: dict[str, Any],
    seconds: dict[str, float],
    shares: dict[str, float],
) -> None:
    spec = {"scaling": {"maxReplicas": 2, "target": scaling}, "optimization": {"targets": targets}}
    found = figures(spec)
    assert (found.targets, found.shares) == (seconds, shares)


def test_peaks_are_those_of_all_accelerators_of_a_replica() -> None:
    found = figures({}, planned())
    assert (found.model, found.accelerators) == ("llama", 2)
    assert found.flops == pytest.approx(2 * L4.flops["bfloat16"])
    assert found.bandwidth == pytest.approx(2 * L4.bandwidth)
    unread = planned()
    del unread["model"]["facts"]
    assert figures({}, unread).flops is None
    assert figures({}, unread).bandwidth is not None
    unknown = planned(configuration=json.dumps(asdict(Configuration("own-type"))))
    assert (figures({}, unknown).flops, figures({}, unknown).bandwidth) == (None, None)


def test_residuals_are_of_the_way_that_runs() -> None:
    way = {
        "accelerator": "nvidia-l4", "parallelism": "2x1x1", "quantization": "none",
        "kvCacheDtype": "auto", "ttft": 1.25, "itl": 0.8,
    }  # fmt: skip
    shared = {"engine": "0.33", "model": "m", "planner": PLANNER_VERSION}
    other = {**way, "parallelism": "1x1x1", "itl": 3.0}
    residual = {"kvTokensPredicted": 1000, "kvTokensReported": 1100}
    told = planned(measured={**shared, "ways": [other, way]}, residual=residual)
    assert residuals_of(told) == {"kv_tokens": 1.1, "ttft": 1.25, "itl": 0.8}
    assert residuals_of(planned(measured={**shared, "ways": [other]})) == {}
    assert residuals_of(planned(residual={"kvTokensPredicted": 0, "kvTokensReported": 1})) == {}


@pytest.mark.parametrize(
    ("condition", "status", "reason", "against"),
    [
        (conditions.READY, "False", reasons.WAITING_FOR_PODS, True),
        (conditions.READY, "True", reasons.ALL_READY, False),
        (conditions.SCALING_ACTIVE, "False", reasons.METRICS_MISSING, True),
        (conditions.SCALING_ACTIVE, "False", reasons.FIXED_REPLICAS, False),
        (conditions.PROGRESSING, "False", reasons.SETTLED, False),
        (conditions.PROGRESSING, "False", reasons.ROLLOUT_BLOCKED, True),
        (conditions.SCHEDULABLE, "Unknown", reasons.NOTHING_TO_SCHEDULE, False),
        (conditions.SCALED_BY_OTHERS, "True", "Any", True),
        (conditions.SCALED_BY_OTHERS, "False", "Any", False),
        (conditions.BETTER_PLAN_AVAILABLE, "True", reasons.BETTER_PLAN, False),
    ],
)
def test_only_bad_news_is_told(condition: str, status: str, reason: str, *, against: bool) -> None:
    entry = {"type": condition, "status": status, "reason": reason}
    assert speaks_against(condition, status, reason) is against
    found = figures({}, {"conditions": [entry]}).conditions
    assert found == (((condition, reason),) if against else ())


def test_the_oldest_pod_without_a_node_is_told_with_its_deadline() -> None:
    startup = {"accelerator": "cpu", "nodeSeconds": 200.0, "imageSeconds": 3.0, "loadSeconds": 9.5}
    pods = [pod("a", unschedulable="no node", created=50), pod("b", created=10)]
    found = figures({}, {"startup": startup}, pods=pods)
    assert (found.waiting_since, found.deadline_s) == (50, 600.0)
    assert found.startup == {"node": 200.0, "image": 3.0, "load": 9.5}
    calm = figures({}, {"startup": startup}, pods=pods[1:])
    assert (calm.waiting_since, calm.deadline_s) == (None, None)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"spec": [], "status": "none"},
        {"spec": {"scaling": 3, "model": None, "engine": [], "optimization": "x"}, "status": {}},
        {"spec": {"replicas": "2"}, "status": {"plan": {"inputs": {}, "configuration": "{"}}},
        {"status": {"conditions": ["x", {}], "startup": {"nodeSeconds": float("nan")}}},
        {"status": {"desiredReplicas": True, "readyReplicas": "1", "replicas": None}},
        {"spec": {"accelerator": {"types": 3}}, "status": {"model": {"name": 3, "facts": 4}}},
    ],
)
def test_what_makes_no_sense_is_left_out(body: dict[str, Any]) -> None:
    found = figures_of(KEY, body, PLANNING)
    assert found.key == KEY
    assert not found.replicas
    assert not found.startup
    assert not found.conditions


@pytest.mark.parametrize(
    ("reason", "termination", "word"),
    [
        ("Error", TerminationReason.ENGINE_HUNG, "hung"),
        ("Error", TerminationReason.ENGINE_CRASHED, "crashed"),
        ("Error", TerminationReason.MODEL_INVALID, "start_failed"),
        ("Error", TerminationReason.GROUP_BROKEN, "group_broken"),
        ("Error", None, "crashed"),
        ("OOMKilled", TerminationReason.ENGINE_HUNG, "out_of_memory"),
    ],
)
def test_an_end_has_one_of_few_words(reason: str, termination: str | None, word: str) -> None:
    told = None if termination is None else Termination(termination, "text").to_json()
    failure = ContainerFailure("engine", reason, "", 1, told, finished=12.0)
    assert end_of(pod(failures=(failure,))) == End(word, 12.0)


def test_other_ends_are_nobodys_business() -> None:
    failure = ContainerFailure("engine", "Error", "", 1, None, finished=12.0)
    other = ContainerFailure("install-worker", "Error", "", 1, None, finished=12.0)
    unended = ContainerFailure("engine", "ImagePullBackOff", "")
    assert end_of(pod(failures=(other, unended))) is None
    assert end_of(pod(failures=(failure,), deleting=True)) is None
    assert end_of(pod(failures=(failure,), component=Component.FRONTEND)) is None
