"""Every checkpoint in fewer bits that this engine runs: planned as what it is, served, and right.

While one is asked, the next one starts. There are never more than two, because an engine takes one
of two cores to start. Those that it cannot run start nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from e2e.models import FORMATS, PROMPTS, REFUSED, Format, ensure_quantized
from e2e.plans import Counters, check_room, status_of, technique
from e2e.stack import Stack, example
from e2e.test_10_answers import call

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = "demo"
PLAIN = "tiny"
PRUNED = "pruned"
START_SECONDS = 300
AT_ONCE = 2
# What the plan calls the weights that a format stores.
CALLED = {
    "int8": "int8",
    "int4-gptq": "int4",
    "int4-asymmetric": "int4",
    "int4-int8": "int4",
    "fp8": "fp8",
    "pruned": None,
}


# And why it refuses those that the engine has no kernels for.
REASONS = {
    "int8-weights": "WeightOnly8NotHere",
    "mxfp8": "WeightOnly8NotHere",
    "nvfp4": "Nvfp4NeedsNvidia",
}


def service(found: Format, name: str = "") -> dict[str, Any]:
    uri = f"pvc://models/{ensure_quantized().name}/{found.name}"
    # The engine accepts a cache in 4 bits and keeps 8; asked here, so that no start is spent on it.
    wishes = {"kvCache": {"dtype": "int4"}} if found.name == PRUNED else None
    return example(
        name or found.name, NAMESPACE, scaling=None, replicas=1, model={"uri": uri},
        optimization=wishes,
    )  # fmt: skip


@pytest.fixture(params=FORMATS, ids=lambda each: each.name)
def checkpoint(stack: Stack, fixed: str, request: pytest.FixtureRequest) -> Iterator[Format]:
    """A format whose service answers; the next one's is on its way."""
    del fixed
    place = FORMATS.index(request.param)
    stack.apply([service(each) for each in FORMATS[place : place + AT_ONCE]])
    name = request.param.name
    stack.wait_ready_engines(name, NAMESPACE, 1, seconds=START_SECONDS)
    stack.wait_condition(name, NAMESPACE, "Ready", status="True")
    yield request.param
    stack.kubectl("delete", "infer", name, "-n", NAMESPACE, "--wait=false")


def right_answers(stack: Stack, name: str) -> int:
    """Of the prompts whose continuation the model knows."""
    url = stack.address(name, NAMESPACE)
    right = 0
    for prompt in PROMPTS:
        body = {"model": name, "prompt": prompt.text, "max_tokens": 24, "temperature": 0}
        status, _, answer = call(url, "/completions", body)
        assert status == 200, answer
        right += answer["choices"][0]["text"].strip().startswith(prompt.continuation)
    return right


@pytest.mark.timeout(START_SECONDS + 60)
def test_it_is_planned_as_what_it_is_and_answers(stack: Stack, checkpoint: Format) -> None:
    weights = technique(stack, checkpoint.name, NAMESPACE, "weightQuantization")
    called = CALLED[checkpoint.name]
    if called is None:
        assert weights["state"] == "off"
    else:
        assert (weights["state"], weights["reason"]) == ("on", "FoundInCheckpoint")
        assert f"quantized to {called};" in weights["why"]
    room = check_room(stack, checkpoint.name, NAMESPACE)
    # The cache has one size here, and its tokens do not care for the bits of weights.
    plain = Counters(stack, PLAIN, NAMESPACE).kv_tokens()
    fold = 1
    if checkpoint.name == PRUNED:
        # Half of the heads are gone. And half of the 16 bits, not three quarters as was asked.
        fold = 2 * 2
        kv = technique(stack, PRUNED, NAMESPACE, "kvCacheDtype")
        assert (kv["state"], kv["reason"]) == ("on", "AsAsked")
        assert "the engine stores 8 bits all the same" in kv["why"]
        assert not stack.condition(PRUNED, NAMESPACE, "KvDtypeNotHonoured"), "the plan knew"
    assert room == pytest.approx(fold * plain, rel=0.02)
    right = right_answers(stack, checkpoint.name)
    # Rounding costs such a small model an answer or two, and pruning all that it knew.
    assert right > len(PROMPTS) / 2 or not checkpoint.knows_its_text


@pytest.mark.timeout(180)
def test_what_the_engine_cannot_run_is_refused_before_any_pod(stack: Stack, fixed: str) -> None:
    del fixed
    for each in REFUSED:
        stack.apply(service(each, "refused"))
        reason = REASONS[each.name]
        found = stack.wait_condition("refused", NAMESPACE, "Planned", reason=reason, seconds=75)
        assert found["status"] == "False"
        assert "model.uri" in found["message"]
        assert "configuration" not in status_of(stack, "refused", NAMESPACE).get("plan", {})
        engines = "stoker.dev/service=refused,stoker.dev/component=engine"
        assert not stack.list("deployments,pods", NAMESPACE, engines)
    stack.kubectl("delete", "infer", "refused", "-n", NAMESPACE, "--wait=false")
