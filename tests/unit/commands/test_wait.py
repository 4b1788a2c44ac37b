"""`stoker wait`: when a status says that it has come, that it never will, and where it is."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from stoker.cli import app
from stoker.commands import waits
from stoker.commands.exits import Exit
from stoker.commands.inputs import InputError
from stoker.commands.waits import goal_of, judge


def body(generation: int = 1, **status: Any) -> dict[str, Any]:
    metadata = {"name": "llama", "namespace": "chat", "generation": generation}
    return {"metadata": metadata, "status": {"observedGeneration": 1, **status}}


def condition(kind: str, status: str, reason: str = "Word", message: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


READY = body(
    desiredReplicas=2, readyReplicas=1, replicas=2, conditions=[condition("Ready", "True")]
)
ZERO = body(desiredReplicas=0, replicas=0, conditions=[condition("Ready", "True", "ScaledToZero")])
SETTLED = body(conditions=[condition("Progressing", "False", "Settled")])


@pytest.mark.parametrize(
    ("word", "there", "not_yet"),
    [
        ("ready", READY, ZERO),
        ("zero", ZERO, READY),
        ("zero", ZERO, body(desiredReplicas=0, replicas=1)),
        ("planned", body(conditions=[condition("Planned", "True")]), body()),
        ("settled", SETTLED, body(conditions=[condition("Progressing", "True", "RollingOut")])),
        ("condition=ModelReady", body(conditions=[condition("ModelReady", "True")]), body()),
        (
            "condition=Schedulable=False",
            body(conditions=[condition("Schedulable", "False")]),
            body(conditions=[condition("Schedulable", "True")]),
        ),
    ],
)
def test_what_has_come(word: str, there: dict[str, Any], not_yet: dict[str, Any]) -> None:
    goal = goal_of(word)
    found = judge(there, goal)
    assert found is not None
    assert found.exit is Exit.DONE
    assert found.words.startswith(f"chat/llama {goal.words}")
    assert judge(not_yet, goal) is None


def test_a_status_of_an_older_spec_says_nothing() -> None:
    changed = {**READY, "metadata": {**READY["metadata"], "generation": 2}}
    assert judge(changed, goal_of("ready")) is None
    assert "as it is now" in waits.line(changed)
    assert judge({"metadata": READY["metadata"]}, goal_of("ready")) is None


def test_what_will_never_come_ends_the_waiting() -> None:
    stalled = body(conditions=[condition("Stalled", "True", "InvalidSpec", "no such claim.")])
    found = judge(stalled, goal_of("ready"))
    assert found is not None
    assert found.exit is Exit.UNHEALTHY
    assert "InvalidSpec: no such claim" in found.words
    going = {**READY, "metadata": {**READY["metadata"], "deletionTimestamp": "now"}}
    ended = judge(going, goal_of("ready"))
    assert ended is not None
    assert ended.exit is Exit.UNHEALTHY
    assert judge(going, goal_of("deleted")) is None


def test_the_line_names_what_is_waited_for() -> None:
    waiting = body(
        desiredReplicas=2,
        readyReplicas=1,
        conditions=[condition("Progressing", "True", "Scaling", "On the way to 2 replicas.")],
    )
    assert waits.line(waiting) == "1 of 2 replicas ready; Scaling: On the way to 2 replicas"
    assert waits.progress(waiting).percent == 50
    assert waits.line(ZERO) == "no replica is wanted"
    assert "1 still there" in waits.line(body(desiredReplicas=0, replicas=1))


@pytest.mark.parametrize("word", ["", "Ready", "condition=", "condition=Ready=Yes", "jsonpath=x"])
def test_words_that_mean_nothing(word: str) -> None:
    with pytest.raises(InputError, match="write one of ready, zero, planned, settled, deleted"):
        goal_of(word)


def test_bad_options_are_told_before_any_cluster_is_asked() -> None:
    for arguments in (["llama", "--for", "x"], ["llama", "--timeout", "soon"], ["-", "-n", "a"]):
        result = CliRunner().invoke(app, ["wait", *arguments, "--kubeconfig", "/nowhere"])
        assert result.exit_code == Exit.BAD_INPUT
        assert "kubeconfig" not in result.stderr
