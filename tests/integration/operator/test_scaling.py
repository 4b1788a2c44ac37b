"""From a frontend's statistics to an engine pod, through the real control plane."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from stoker.cli import app
from stoker.commands.exits import Exit
from stoker.naming import Component
from tests.integration.operator.pods import Engine, Frontend, make_ready
from tests.integration.operator.support import condition, operator_writes, service, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.operator.support import OperatorProcess
    from tests.support.controlplane import ControlPlane

pytestmark = pytest.mark.usefixtures("operator")


def engine_pods(plane: ControlPlane, namespace: str) -> int:
    selector = "stoker.dev/component=engine"
    return len(plane.get("pods", "-n", namespace, "-l", selector)["items"])


def test_the_first_held_request_wakes_a_service_at_zero(
    plane: ControlPlane, operator: OperatorProcess, namespace: str
) -> None:
    scaling = {"minReplicas": 0, "maxReplicas": 2, "scaleToZeroAfter": "10s"}
    with Frontend() as frontend, Engine() as engine:
        # Silence is not zero, and not a reason to wake either.
        frontend.body = "<html>upstream connect error</html>"
        plane.apply(service("tiny", namespace, scaling=scaling))
        make_ready(plane, namespace, "tiny", Component.FRONTEND, frontend)

        def scaling_reason() -> str:
            return str((condition(plane, (namespace, "tiny"), "ScalingActive") or {})["reason"])

        wait_for("MetricsMissing", lambda: scaling_reason() == "MetricsMissing")
        frontend.body = ""
        wait_for("FollowsQueue", lambda: scaling_reason() != "MetricsMissing")
        # Whoever asked for a replica gets to use it: a start is no idleness, however long it takes.
        time.sleep(12)
        assert engine_pods(plane, namespace) == 1
        make_ready(plane, namespace, "tiny", Component.ENGINE, engine)
        wait_for("it goes to zero", lambda: engine_pods(plane, namespace) == 0)

        def quiet() -> bool:
            before = operator_writes(plane, namespace)
            time.sleep(5)  # looks every second
            return operator_writes(plane, namespace) == before

        wait_for("nothing is written any more", quiet)
        assert engine_pods(plane, namespace) == 0

        frontend.request()
        wait_for("an engine pod", lambda: engine_pods(plane, namespace) == 1)
        frontend.body = None
        time.sleep(4)
        assert engine_pods(plane, namespace) == 1
        assert (operator.metric("stoker_load_sample_age_seconds") or 0) < 5

        # It was served. What had asked for the replica does no more, and the status can say so.
        frontend.active, frontend.body = 0, ""
        make_ready(plane, namespace, "tiny", Component.ENGINE, engine)
        wait_for("zero again", lambda: desired(plane, namespace) == 0)
        wait_for("its pod goes", lambda: engine_pods(plane, namespace) == 0)
        time.sleep(3)
        assert (desired(plane, namespace), engine_pods(plane, namespace)) == (0, 0)
        assert not [
            line
            for line in operator.log().splitlines()
            if "WriteRefused" in line and f"{namespace}/tiny" in line
        ]


def desired(plane: ControlPlane, namespace: str) -> int | None:
    found: int | None = plane.get("infer", "tiny", "-n", namespace)["status"]["desiredReplicas"]
    return found


def why(kubeconfig: Path, namespace: str, *arguments: str) -> Result:
    words = ["why", "tiny", "-n", namespace, "--kubeconfig", str(kubeconfig), *arguments]
    return CliRunner().invoke(app, words, env={"COLUMNS": "200"})


def test_why_explains_a_decision_by_the_object_alone(plane: ControlPlane, namespace: str) -> None:
    reader = plane.user("curious")
    role = ("role", "look", "--verb=get", "--resource=inferenceservices.stoker.dev")
    plane.kubectl("create", *role, "-n", namespace)
    binding = ("rolebinding", "look", "--role=look", "--user=curious")
    plane.kubectl("create", *binding, "-n", namespace)
    absent = wait_for(
        "the right to read",
        lambda: found if (found := why(reader, namespace)).exit_code != Exit.FORBIDDEN else None,
    )
    assert absent.exit_code == Exit.NOT_FOUND, absent.output

    def told() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(why(reader, namespace, "-o", "json").stdout)
        return found

    with Frontend() as frontend, Engine() as engine:
        plane.apply(service("tiny", namespace, scaling={"minReplicas": 0, "maxReplicas": 2}))
        make_ready(plane, namespace, "tiny", Component.FRONTEND, frontend)
        make_ready(plane, namespace, "tiny", Component.ENGINE, engine)
        wait_for("a complete sample", lambda: told()["sample"])
        engine.running = 3
        frontend.total = frontend.active = 15
        grown = wait_for("a change", lambda: found if (found := told())["decisions"] else None)
        status = plane.get("infer", "tiny", "-n", namespace)["status"]
        text = why(reader, namespace)

    (change,) = grown["decisions"]
    assert (change["before"], change["after"]) == (1, 2)
    terms = {each["name"]: each["replicas"] for each in grown["terms"]}
    assert terms.keys() >= {"places", "queue", "progress"}
    terms.pop("forecast", None)
    assert grown["need"] == max(map(math.ceil, terms.values()))
    assert grown["limit"] == ("Ceiling" if grown["need"] > 2 else None)
    assert grown["rules"] == {"minReplicas": 0, "maxReplicas": 2, "target.queueDepth": 4}
    assert grown["next"][0] == {"what": "more", "at": None, "words": "never: maxReplicas is 2"}
    # What was added stays for ten minutes.
    assert grown["next"][1]["at"] == status["scaling"]["fewerNotBefore"]
    assert status["lastScale"]["message"] in text.stdout
    assert text.exit_code == Exit.DONE, text.output


def test_why_names_who_owns_a_fixed_number(plane: ControlPlane, namespace: str) -> None:
    plane.apply(service("tiny", namespace, replicas=1))

    def told() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(why(plane.kubeconfig, namespace, "-o", "json").stdout)
        return found

    found = wait_for("a look", lambda: now if (now := told())["desired"] == 1 else None)
    assert found["mode"] == "Fixed"
    assert "spec.replicas is 1, last written by kubectl at 20" in found["owner"]
    # The API server keeps no name of who writes through the scale subresource.
    plane.kubectl("scale", "infer", "tiny", "--replicas=0", "-n", namespace)
    found = wait_for("another look", lambda: now if (now := told())["desired"] == 0 else None)
    assert "spec.replicas is 0, written by somebody whom" in found["owner"]
