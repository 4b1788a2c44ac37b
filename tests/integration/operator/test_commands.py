"""`stoker wait`, `scale`, `logs` and completion against a real API server, as users run them.

No operator runs: the test writes the status. There is no kubelet, so no pod has a log to read.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from stoker.cli import app
from stoker.commands.exits import Exit
from tests.integration.operator.support import service, wait_for
from tests.support.controlplane import LOOPBACK, free_port

if TYPE_CHECKING:
    from tests.support.controlplane import ControlPlane

BOUNDS = "stoker.dev/bounds-before"
NOW = "2026-01-01T00:00:00Z"


def run(plane: ControlPlane, *arguments: str, kubeconfig: Path | None = None) -> Result:
    words = [*arguments, "--kubeconfig", str(kubeconfig or plane.kubeconfig)]
    return CliRunner().invoke(app, words, env={"COLUMNS": "250"})


def put(plane: ControlPlane, namespace: str, **status: Any) -> None:
    """Write the status in the operator's place."""
    path = f"/apis/stoker.dev/v1alpha1/namespaces/{namespace}/inferenceservices/chat/status"
    kind = "application/merge-patch+json"
    code, said = plane.request("PATCH", path, {"status": status}, kind=kind)
    assert code == 200, said


def condition(kind: str, status: str, reason: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "so it is",
        "lastTransitionTime": NOW,
        "observedGeneration": 1,
    }


@pytest.fixture
def scales(plane: ControlPlane, namespace: str) -> str:
    """A namespace with the service `chat`, which scales."""
    plane.apply(service("chat", namespace, scaling={"minReplicas": 0, "maxReplicas": 4}))
    return namespace


def spec(plane: ControlPlane, namespace: str) -> dict[str, Any]:
    return dict(plane.get("infer", "chat", "-n", namespace)["spec"])


def test_waiting_ends_when_it_has_come(plane: ControlPlane, scales: str) -> None:
    late = run(plane, "wait", "chat", "-n", scales, "--timeout", "1s")
    assert late.exit_code == Exit.TIMED_OUT
    assert "as it is now" in late.stderr
    ready = {
        "observedGeneration": 1,
        "desiredReplicas": 1,
        "readyReplicas": 1,
        "conditions": [condition("Ready", "True", "AllReady")],
    }
    come = threading.Timer(1.0, put, (plane, scales), ready)
    come.start()
    done = run(plane, "wait", "chat", "-n", scales, "--timeout", "60s", "-o", "json")
    come.join()
    assert done.exit_code == Exit.DONE, done.output
    told = json.loads(done.stdout)
    assert (told["for"], told["done"], told["ready"]) == ("ready", True, 1)
    put(plane, scales, conditions=[condition("Stalled", "True", "InvalidSpec")])
    never = run(plane, "wait", "chat", "-n", scales, "--for", "zero")
    assert never.exit_code == Exit.UNHEALTHY
    assert "InvalidSpec: so it is" in never.stdout
    assert run(plane, "wait", "nosuch", "-n", scales).exit_code == Exit.NOT_FOUND
    gone = ("wait", "chat", "-n", scales, "--for", "deleted", "--timeout", "60s")
    bye = threading.Timer(1.0, plane.kubectl, ("delete", "infer", "chat", "-n", scales))
    bye.start()
    found = run(plane, *gone)
    bye.join()
    assert found.exit_code == Exit.DONE, found.output
    assert "is gone" in found.stdout


def test_a_number_by_hand_and_back(plane: ControlPlane, scales: str) -> None:
    pinned = run(plane, "scale", "chat", "2", "-n", scales)
    assert pinned.exit_code == Exit.DONE, pinned.output
    assert "now 2 replicas, 0 to 4 replicas before" in pinned.stdout
    found = plane.get("infer", "chat", "-n", scales, "--show-managed-fields")
    assert found["metadata"]["annotations"][BOUNDS] == "0-4"
    assert (spec(plane, scales)["scaling"]["minReplicas"]) == 2
    # Who did it has a name.
    managers = [each["manager"] for each in found["metadata"]["managedFields"]]
    assert "stoker-cli" in managers
    released = run(plane, "scale", "chat", "--auto", "-n", scales, "-o", "json")
    assert json.loads(released.stdout)["after"] == "0 to 4 replicas"
    found = plane.get("infer", "chat", "-n", scales)
    assert BOUNDS not in (found["metadata"].get("annotations") or {})
    again = run(plane, "scale", "chat", "--auto", "-n", scales)
    assert again.exit_code == Exit.REFUSED
    assert run(plane, "scale", "chat", "0", "-n", scales).exit_code == Exit.REFUSED
    bounded = run(plane, "scale", "chat", "--min", "1", "--max", "3", "-n", scales)
    assert bounded.exit_code == Exit.DONE
    assert spec(plane, scales)["scaling"]["maxReplicas"] == 3


def test_what_the_rules_refuse_is_told_in_their_words(plane: ControlPlane, namespace: str) -> None:
    window = {"cron": "0 8 * * *", "duration": "1h", "minReplicas": 3}
    bounds = {"minReplicas": 0, "maxReplicas": 4, "schedule": [window]}
    plane.apply(service("chat", namespace, scaling=bounds))
    refused = run(plane, "scale", "chat", "--max", "2", "-n", namespace)
    assert refused.exit_code == Exit.REFUSED
    assert "schedule" in refused.stderr
    plane.apply(service("fixed", namespace, replicas=1))
    assert run(plane, "scale", "fixed", "2", "-n", namespace).exit_code == Exit.DONE
    assert plane.get("infer", "fixed", "-n", namespace)["spec"]["replicas"] == 2


def test_not_permitted_differs_from_absent_and_unreachable(
    plane: ControlPlane, scales: str, tmp_path: Path
) -> None:
    nobody = plane.user("nobody-much")
    away = tmp_path / "away"
    address = f"https://{LOOPBACK}:{free_port()}"
    away.write_text(plane.kubeconfig.read_text().replace(plane.url, address))
    for words in (("wait", "{}"), ("scale", "{}", "1"), ("logs", "{}"), ("why", "{}")):
        here = [*(word.format("chat") for word in words), "-n", scales]
        assert run(plane, *here, kubeconfig=nobody).exit_code == Exit.FORBIDDEN
        there = [*(word.format("nosuch") for word in words), "-n", scales]
        assert run(plane, *there).exit_code == Exit.NOT_FOUND
        timeout = ["--timeout", "0s"] if words[0] == "wait" else []
        assert run(plane, *here, *timeout, kubeconfig=away).exit_code in {
            Exit.UNREACHABLE,
            Exit.TIMED_OUT,
        }
    # Who may see services only cannot read logs, and is told the right.
    rights = ("--verb=get", "--resource=inferenceservices.stoker.dev", "-n", scales)
    plane.kubectl("create", "role", "see", *rights)
    plane.kubectl("create", "rolebinding", "see", "--role=see", "--user=nobody-much", "-n", scales)
    wait_for(
        "the right to see it",
        lambda: "pods/log" in run(plane, "logs", "chat", "-n", scales, kubeconfig=nobody).stderr,
    )
    refused = run(plane, "scale", "chat", "1", "-n", scales, kubeconfig=nobody)
    assert refused.exit_code == Exit.FORBIDDEN


def test_a_service_without_pods_has_no_logs(plane: ControlPlane, scales: str) -> None:
    found = run(plane, "logs", "chat", "-n", scales)
    assert found.exit_code == Exit.DONE
    assert found.stdout == ""
    assert "no container of" in found.stderr


def test_names_are_completed(plane: ControlPlane, scales: str) -> None:
    program = Path(sys.executable).parent / "kubectl_complete-stoker"

    def words(*given: str) -> list[str]:
        config = ("--kubeconfig", str(plane.kubeconfig))
        told = subprocess.run(  # noqa: S603 - our own program
            [str(program), given[0], *config, *given[1:]],
            capture_output=True,
            check=True,
            env={"PATH": os.environ["PATH"]},
        )
        return told.stdout.decode().split()

    # The time to answer is bounded, and this machine may be slow.
    assert wait_for("the name", lambda: "chat" in words("why", "-n", scales, "c"))
    assert wait_for("the namespace", lambda: scales in words("why", "-n", scales[:-1]))
