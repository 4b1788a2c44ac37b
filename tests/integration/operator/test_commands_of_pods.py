"""`stoker logs`, `top`, `chat` and `bench` through a real API server, as far as a pod and back.

Behind it a stand-in for a kubelet leads to small servers that answer as a worker, a frontend, and
an engine that holds a conversation.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from stoker.cli import app
from stoker.commands.exits import Exit
from stoker.naming import Component, labels
from stoker.render.frontend_input import FrontendPorts
from stoker_worker import contract, lifecycle
from stoker_worker.server import Server
from stoker_worker.state import Phase
from stoker_worker.tracing import Tracing
from tests.integration.operator import pods, profiled
from tests.integration.operator.answering import Model
from tests.integration.operator.kubelet import NODE, Kubelet, add_pod
from tests.integration.operator.support import service, wait_for
from tests.support.controlplane import LOOPBACK

if TYPE_CHECKING:
    from tests.support.controlplane import ControlPlane

ENGINE, FRONTEND = "chat-engine-1", "chat-frontend-1"
PORTS = FrontendPorts()


@pytest.fixture
def served(plane: ControlPlane, kubelet: Kubelet, namespace: str) -> str:
    """A namespace with a service and its two pods."""
    plane.apply(service("chat", namespace, replicas=1))
    add_pod(plane, namespace, ENGINE, labels("chat", Component.ENGINE, "r1"), "engine")
    add_pod(plane, namespace, FRONTEND, labels("chat", Component.FRONTEND), "envoy")
    kubelet.logs.clear()
    kubelet.ports.clear()
    return namespace


def run(
    plane: ControlPlane, *arguments: str, kubeconfig: Path | None = None, **given: Any
) -> Result:
    words = [*arguments, "--kubeconfig", str(kubeconfig or plane.kubeconfig)]
    return CliRunner().invoke(app, words, env={"COLUMNS": "250"}, **given)


def test_logs_of_all_pods_are_one_stream(
    plane: ControlPlane, kubelet: Kubelet, served: str
) -> None:
    kubelet.logs[ENGINE, "engine"] = (
        "2026-01-01T00:00:01.5Z loading\n2026-01-01T00:00:03Z \x1b[32mready\x1b[0m\n"
    )
    kubelet.logs[FRONTEND, "envoy"] = "2026-01-01T00:00:02Z token=0123456789\n"
    found = run(plane, "logs", "chat", "-n", served, "--since", "1h")
    assert found.exit_code == Exit.DONE, found.output
    assert found.stdout.splitlines() == [
        "engine-1 | loading",
        "frontend-1 | token=***",
        "engine-1 | ready",
    ]
    assert any("sinceSeconds=3600" in each for each in kubelet.asked)
    engine = run(plane, "logs", "chat", "-n", served, "-c", "engine", "-o", "json")
    lines = [json.loads(line) for line in engine.stdout.splitlines()]
    assert [each["line"] for each in lines] == ["loading", "ready"]
    assert lines[0]["pod"] == ENGINE


def test_top_asks_the_pods(plane: ControlPlane, kubelet: Kubelet, served: str) -> None:
    with pods.Engine() as engine, pods.Frontend() as frontend:
        kubelet.ports[ENGINE, contract.WORKER_PORT] = engine.address, engine.port
        kubelet.ports[FRONTEND, PORTS.ops] = frontend.address, frontend.port
        engine.running, engine.waiting, engine.cache = 3, 2, 0.5
        frontend.active, frontend.total = 4, 10
        found = run(plane, "top", "-n", served, "-o", "json", "--interval", "1s")
        assert found.exit_code == Exit.DONE, found.output
        (row,) = json.loads(found.stdout)["services"]
        assert (row["running"], row["queue"], row["kvCache"]) == (3, 6, 0.5)
        assert row["requestsPerSecond"] == 0
        table = run(plane, "top", "chat", "-n", served, "--once", "--interval", "1s")
        assert "50%" in table.stdout
    # What cannot be reached is said, and no number is made of it.
    kubelet.ports.clear()
    found = run(plane, "top", "-n", served, "-o", "json", "--interval", "1s")
    answer = json.loads(found.stdout)
    assert answer["services"][0]["running"] is None
    assert "connection refused" in answer["notes"][0]


def test_top_without_a_right_shows_less_and_says_so(plane: ControlPlane, served: str) -> None:
    reader = plane.user("watcher")
    assert run(plane, "top", "-n", served, kubeconfig=reader).exit_code == Exit.FORBIDDEN
    plane.kubectl(
        "create", "rolebinding", "see", "--clusterrole=view", "--user=watcher", "-n", served
    )
    rights = ("--verb=get,list", "--resource=inferenceservices.stoker.dev", "-n", served)
    plane.kubectl("create", "role", "see", *rights)
    plane.kubectl("create", "rolebinding", "too", "--role=see", "--user=watcher", "-n", served)

    def look() -> Result | None:
        arguments = ("top", "-n", served, "-o", "json", "--interval", "1s")
        found = run(plane, *arguments, kubeconfig=reader)
        return found if found.exit_code == Exit.DONE and "portforward" in found.output else None

    (row,) = json.loads(wait_for("the right to list", look).stdout)["services"]
    assert row["name"] == "chat"
    assert row["running"] is None


def test_a_question_is_answered_through_the_frontend(
    plane: ControlPlane, kubelet: Kubelet, served: str
) -> None:
    model = Model()
    with model.serve():
        kubelet.ports[FRONTEND, PORTS.api] = LOOPBACK, model.port
        found = run(plane, "chat", "chat", "-n", served, input="hello\n")
        assert found.exit_code == Exit.DONE, found.output
        assert found.stdout == "HELLO[31m!\n"
        told = run(
            plane, "chat", "chat", "again", "-n", served, "--system", "be brief", "-o", "json"
        )
        answer = json.loads(told.stdout)
        assert (answer["model"], answer["finishReason"]) == ("main", "stop")
        assert answer["usage"] == {"total_tokens": 3}
        assert [each["role"] for each in model.asked[-1]["messages"]] == ["system", "user"]
        assert "Authorization" not in model.headers
        refused = run(plane, "chat", "chat", "too much", "-n", served)
        assert refused.exit_code == Exit.REFUSED
        assert "max_tokens is too large" in refused.stderr
    kubelet.ports.clear()
    away = run(plane, "chat", "chat", "hello", "-n", served)
    assert away.exit_code == Exit.UNREACHABLE
    assert "connection refused" in away.stderr
    plane.kubectl("delete", "pod", FRONTEND, "-n", served, "--force", "--grace-period=0")
    nobody = run(plane, "chat", "chat", "hello", "-n", served)
    assert nobody.exit_code == Exit.UNHEALTHY
    assert "no frontend pod" in nobody.stderr


RESULT = {"completed": 4, "failed": 0, "duration": 1.0, "p90_ttft_ms": 10.0}
BENCHED = {
    "name": "engine",
    "image": "reg/vllm:1",
    "command": ["python3", "-I", "-S", "worker"],
    "env": [
        {
            "name": contract.ENV_CONFIG,
            "value": contract.WorkerConfig("vllm", "/models/tiny", ["main"]).to_json(),
        }
    ],
    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - as in an engine's pod
}


@pytest.fixture
def benched(plane: ControlPlane, kubelet: Kubelet, namespace: str) -> str:
    """A namespace with a service at zero, whose revision has a workload."""
    target = {"ttft": {"p90": "800ms"}}
    scaling = {"minReplicas": 0, "maxReplicas": 1, "target": target}
    plane.apply(service("chat", namespace, scaling=scaling))
    kubelet.logs.clear()
    pod = {"containers": [BENCHED], "volumes": [{"name": "tmp", "emptyDir": {}}]}
    told = labels("chat", Component.ENGINE, "r1")
    plane.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "chat-engine-r1", "namespace": namespace, "labels": told},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": told},
                "template": {"metadata": {"labels": told}, "spec": pod},
            },
        }
    )
    return namespace


def job_pod(plane: ControlPlane, namespace: str) -> str:
    """The pod that the Job's controller has made."""

    def look() -> str | None:
        found = plane.get("pods", "-n", namespace, "-l", "stoker.dev/bench=chat")["items"]
        return str(found[0]["metadata"]["name"]) if found else None

    return wait_for("the job's pod", look)


def test_a_benchmark_is_a_job_that_goes_again(
    plane: ControlPlane, kubelet: Kubelet, benched: str
) -> None:
    def work() -> None:
        """What scheduler and kubelet do with the job's pod."""
        name = job_pod(plane, benched)
        path = f"/api/v1/namespaces/{benched}/pods/{name}"
        bound = {"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": NODE}}
        metadata = {"metadata": {"name": name}}
        plane.request("POST", f"{path}/binding", {**bound, **metadata})
        kubelet.logs[name, "bench"] = f"it begins\n\nSTOKER-BENCH {json.dumps(RESULT)}\n"
        ended = {"terminated": {"exitCode": 0, "reason": "Completed"}}
        status = {
            "phase": "Succeeded",
            "containerStatuses": [
                {
                    "name": "bench",
                    "image": "reg/vllm:1",
                    "imageID": "",
                    "ready": False,
                    "restartCount": 0,
                    "state": ended,
                }
            ],
        }
        kind = "application/merge-patch+json"
        plane.request("PATCH", f"{path}/status", {"status": status}, kind=kind)

    worker = threading.Thread(target=work)
    worker.start()
    load = ("--requests", "4", "--concurrency", "2")
    found = run(plane, "bench", "chat", "-n", benched, *load, "--timeout", "100s", "-o", "json")
    worker.join()
    assert found.exit_code == Exit.DONE, found.output
    told = json.loads(found.stdout)
    assert (told["completed"], told["targets"][0]["kept"]) == (4, True)
    left = "jobs,networkpolicies"
    wait_for("nothing is left", lambda: not plane.get(left, "-n", benched)["items"])


def test_a_benchmark_that_does_not_begin_ends_and_leaves_nothing(
    plane: ControlPlane, benched: str
) -> None:
    found = run(plane, "bench", "chat", "-n", benched, "--timeout", "5s")
    assert found.exit_code == Exit.TIMED_OUT, found.output
    wait_for("nothing is left", lambda: not plane.get("jobs", "-n", benched)["items"])
    plane.kubectl("delete", "deployment", "--all", "-n", benched, "--wait=true")
    early = run(plane, "bench", "chat", "-n", benched)
    assert early.exit_code == Exit.REFUSED
    assert "no replica to take image and model from" in early.stderr


def test_a_replica_is_profiled_only_where_that_is_wanted_and_can_be(
    plane: ControlPlane, kubelet: Kubelet, served: str, tmp_path: Path
) -> None:
    """The way there and back with a real engine is in tests/integration/worker/test_engine.py."""
    words = ("profile", "chat", "-n", served, "--into", str(tmp_path))
    unset = run(plane, *words)
    assert unset.exit_code == Exit.REFUSED, unset.output
    assert "spec.engine.profiling: true" in unset.stderr
    plane.apply(service("chat", served, replicas=1, engine={"profiling": True}))
    alone = run(plane, *words)
    assert alone.exit_code == Exit.REFUSED
    assert "only replica" in alone.stderr
    assert run(plane, *words, "--pod", "nosuch").exit_code == Exit.NOT_FOUND

    # A worker as it was before it could, one whose engine was started without, one that is busy.
    def serve(answer: Any, control: Any) -> None:
        server = Server(LOOPBACK, 0, answer, control, contract.PATH_PROFILE)
        server.start()
        kubelet.ports[ENGINE, contract.WORKER_PORT] = LOOPBACK, server.port

    serve(lambda _: None, None)
    older = run(plane, *words, "--hold-requests")
    assert older.exit_code == Exit.REFUSED
    assert "cannot profile yet" in older.stderr
    ready = replace(lifecycle.begin(0), phase=Phase.READY)
    serve(lambda _: None, Tracing("", lambda: ready, lambda _: None).answer)
    without = run(plane, *words, "--hold-requests")
    assert without.exit_code == Exit.REFUSED
    assert "before spec.engine.profiling was set" in without.stderr
    kubelet.ports.clear()
    away = run(plane, *words, "--hold-requests")
    assert away.exit_code == Exit.UNREACHABLE, away.output
    assert "connection refused" in away.stderr
    assert not list(tmp_path.iterdir())


def test_a_profile_is_fetched_and_a_command_that_is_ended_gives_the_replica_back(
    plane: ControlPlane, kubelet: Kubelet, served: str, tmp_path: Path
) -> None:
    plane.apply(service("chat", served, replicas=1, engine={"profiling": True}))
    into = tmp_path / "into"
    words = ("profile", "chat", "-n", served, "--into", str(into), "--hold-requests", "-o", "json")
    with profiled.replica(tmp_path) as replica:
        kubelet.ports[ENGINE, contract.WORKER_PORT] = LOOPBACK, replica.worker_port
        kubelet.ports[ENGINE, contract.ENGINE_PORT] = LOOPBACK, replica.engine_port
        found = run(plane, *words, "--requests", "2")
        assert found.exit_code == Exit.DONE, found.output
        told = json.loads(found.stdout)
        assert [each["name"] for each in told["operators"]] == ["aten::mm", "aten::add"]
        assert told["operators"][0]["selfSeconds"] == pytest.approx(0.009)
        (trace,) = told["traces"]
        assert Path(trace).parent == into
        assert Path(trace).read_bytes() == profiled.TRACE
        wait_for("the files to go", lambda: not list((tmp_path / "traces").iterdir()), 30)
        assert replica.is_ready()
        twice = run(plane, *words, "--requests", "2")
        assert twice.exit_code == Exit.BAD_INPUT, "a file of the user is never written over"
        assert "File exists" in twice.stderr
        Path(trace).unlink()
        shown = run(plane, *words[:-2], "--top", "1")
        assert "aten::mm" in shown.stdout
        assert "aten::add" not in shown.stdout
        assert str(into) in shown.stdout

        endless = ("--output-tokens", str(profiled.ENDLESS), "--kubeconfig", str(plane.kubeconfig))
        ended = subprocess.Popen(  # noqa: S603 - ours
            [str(Path(sys.executable).parent / "stoker"), *words, *endless],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        wait_for("it records", lambda: replica.state().get("profile") == "Recording", 60)
        assert not replica.is_ready()
        ended.send_signal(signal.SIGINT)
        output, _ = ended.communicate(timeout=60)
        assert ended.returncode == 130, output
        wait_for("the replica is back", replica.is_ready, 25)
        wait_for("the files to go", lambda: not list((tmp_path / "traces").iterdir()), 30)
