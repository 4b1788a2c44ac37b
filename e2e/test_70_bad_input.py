"""Mistakes: each ends in a condition with the cause, nothing is lost, the next spec recovers.

One service goes through all of them while its old revision keeps serving, so that the cost is one
engine start for each thing that an engine must be asked to find out.
"""

from __future__ import annotations

from typing import Any

import pytest

from e2e.stack import Stack, TimedOutError, example
from e2e.test_10_answers import call

NAMESPACE = "demo"
NAME = "tiny"
CAUSE_SECONDS = 75  # the promise is 60 s from apply; the rest is this machine's polling


def answers(url: str) -> bool:
    status, _, _ = call(url, "/completions", {"model": NAME, "prompt": "The", "max_tokens": 1})
    return status == 200


def change(stack: Stack, **spec: Any) -> None:
    manifest = example(NAME, NAMESPACE, scaling=None, replicas=1, **spec)
    stack.apply(manifest)


def wait_cause(stack: Stack, condition: str, words: list[str]) -> str:
    """Wait until a condition is false and its message holds all the words."""
    last: dict[str, Any] = {}

    def met() -> bool:
        nonlocal last
        last = stack.condition(NAME, NAMESPACE, condition)
        return last.get("status") == "False" and all(w in last["message"] for w in words)

    try:
        stack.wait_for(met, f"{condition} to say {words}", CAUSE_SECONDS)
    except TimedOutError as error:
        raise TimedOutError(f"{error}; it said {last}") from None
    message: str = last["message"]
    return message


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("spec", "condition", "words"),
    [
        (
            {"model": {"uri": "pvc://models/nowhere"}},
            "Progressing",
            ["ModelNotFound", "/models/nowhere", "tiny-llama"],
        ),
        (
            {"model": {"uri": "pvc://no-such-claim/x"}},
            "Progressing",
            ["ClaimNotFound", "no-such-claim", "create it, or correct model.uri"],
        ),
        (
            {"model": {"uri": "pvc://models/unknown"}},
            "Progressing",
            ["ModelInvalid"],
        ),
        (
            {"accelerator": {"types": ["nvidia-l4"]}},
            "Progressing",
            ["NoNodeForAccelerator", "nvidia"],
        ),
        (
            {"engine": {"image": "IMAGE"}},
            "Progressing",
            ["ImagePullFailed", "never-pushed"],
        ),
    ],
    ids=["model path", "claim", "checkpoint", "accelerator", "image"],
)
def test_cause_is_named_and_the_old_revision_keeps_serving(
    stack: Stack, fixed: str, spec: dict[str, Any], condition: str, words: list[str]
) -> None:
    if "engine" in spec:
        prefix = stack.cluster.images["engine-base"].rsplit("/", 1)[0]
        spec = {"engine": {"image": f"{prefix}/engine-base:never-pushed"}}
    change(stack, **spec)
    wait_cause(stack, condition, words)
    ready = stack.condition(NAME, NAMESPACE, "Ready")
    assert (ready["status"], ready["reason"]) == ("True", "OldRevisionServes")
    assert answers(fixed), "the old revision stopped serving"


@pytest.mark.timeout(120)
def test_argument_that_the_administrator_does_not_allow(stack: Stack, fixed: str) -> None:
    change(stack, engine={"args": {"trust-remote-code": "true"}})
    found = stack.wait_condition(
        NAME, NAMESPACE, "Progressing", reason="ArgumentNotAllowed", seconds=CAUSE_SECONDS
    )
    assert "trust-remote-code" in found["message"]
    assert answers(fixed)


@pytest.mark.timeout(180)
def test_the_next_correct_spec_recovers_without_hands(stack: Stack, fixed: str) -> None:
    change(stack)
    stack.wait_condition(NAME, NAMESPACE, "Progressing", reason="Settled", seconds=150)
    stack.wait_ready_engines(NAME, NAMESPACE, 1)
    assert answers(fixed)


def test_unknown_field_is_refused_with_its_path(stack: Stack) -> None:
    manifest = example("typo", NAMESPACE)
    manifest["spec"]["modle"] = {"uri": "pvc://models/tiny-llama"}
    with pytest.raises(Exception, match="modle"):
        stack.apply(manifest)


@pytest.mark.timeout(120)
def test_a_strangers_object_is_never_overwritten(stack: Stack) -> None:
    stranger = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "taken", "namespace": NAMESPACE},
        "spec": {"selector": {"app": "somebody-else"}, "ports": [{"port": 1234}]},
    }
    stack.apply(stranger)
    stack.apply(example("taken", NAMESPACE))
    found = stack.wait_condition("taken", NAMESPACE, "NameTaken", status="True", seconds=30)
    assert "taken" in found["message"]
    kept = stack.get("service", "taken", NAMESPACE)
    assert kept is not None
    assert kept["spec"]["selector"] == {"app": "somebody-else"}
    assert kept["spec"]["ports"][0]["port"] == 1234
    stack.kubectl("delete", "infer", "taken", "-n", NAMESPACE)
    assert stack.get("service", "taken", NAMESPACE) is not None, "a stranger's object went along"
    stack.kubectl("delete", "service", "taken", "-n", NAMESPACE)
