"""`stoker plan --of` and `--accept` as a user runs them, against a real API server."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from stoker.cli import app
from stoker.cluster.client import connect_as_user
from stoker.commands import running
from stoker.commands.exits import Exit
from stoker.commands.running import CommandError, Offered
from stoker.model.observed import Key
from tests.integration.operator.support import (
    OperatorProcess,
    condition,
    least_rights,
    service,
    wait_for,
)
from tests.support.controlplane import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.controlplane import ControlPlane

OFFER = {"id": "0f0f0f0f", "summary": "vllm on 1 x nvidia-l4", "saves": "$1 instead of $2 per hour"}
PLAN = {"summary": "vllm on 2 x nvidia-l4", "perReplica": 2, "offer": OFFER}
ACCEPT = "stoker.dev/accept-plan"


def run(plane: ControlPlane, *arguments: str, kubeconfig: Path | None = None) -> Result:
    words = ["plan", *arguments, "--kubeconfig", str(kubeconfig or plane.kubeconfig)]
    return CliRunner().invoke(app, words, env={"COLUMNS": "200"})


def put(plane: ControlPlane, namespace: str, status: dict[str, Any]) -> None:
    """Write the status in the operator's place; None takes a field away."""
    code, said = plane.request(
        "PATCH",
        f"/apis/stoker.dev/v1alpha1/namespaces/{namespace}/inferenceservices/tiny/status",
        {"status": status},
        kind="application/merge-patch+json",
    )
    assert code == 200, said


def our_annotations(plane: ControlPlane, namespace: str) -> dict[str, str]:
    found = plane.get("infer", "tiny", "-n", namespace)["metadata"].get("annotations") or {}
    return {name: text for name, text in found.items() if name.startswith("stoker.dev/")}


@pytest.fixture
def offered(plane: ControlPlane, namespace: str) -> str:
    """A namespace whose service `tiny` has an offer, and no operator that would take it."""
    plane.apply(service("tiny", namespace))
    put(plane, namespace, {"plan": PLAN})
    return namespace


def test_from_new_knowledge_to_an_accepted_plan(
    plane: ControlPlane, tmp_path: Path, namespace: str
) -> None:
    given = {
        "model": {"uri": "pvc://models/llama"},
        "accelerator": {"types": ["nvidia-l4"]},
        "optimization": {"objective": "cost"},
    }
    key = (namespace, "tiny")

    def plan() -> dict[str, Any]:
        found: dict[str, Any] = plane.get("infer", "tiny", "-n", namespace).get("status", {})
        return found.get("plan") or {}

    kubeconfig = least_rights(plane)
    with OperatorProcess(plane, tmp_path, "first", kubeconfig=kubeconfig):
        plane.apply(service("tiny", namespace, **given))
        before = wait_for("a plan", plan)
        shown = run(plane, "--of", "tiny", "-n", namespace)
        assert shown.exit_code == Exit.DONE, shown.output
        assert before["summary"] in shown.stdout
        assert before["expected"]["itl"]["typical"] in shown.stdout
        assert run(plane, "--accept", "tiny", "-n", namespace).exit_code == Exit.NO_OFFER
    # The next operator's administrator has corrected what the type can do.
    better = {"resource": "nvidia.com/gpu", "hardware": {"memoryGiB": 96, "bandwidthGBs": 1200}}
    accelerators = {"cpu": {}, "nvidia-l4": better}
    with OperatorProcess(
        plane, tmp_path, "next", config={"accelerators": accelerators}, kubeconfig=kubeconfig
    ):
        offer = wait_for("an offer", lambda: plan().get("offer"))
        shown = run(plane, "--of", "tiny", "-n", namespace)
        assert offer["saves"] in shown.stdout
        assert "--accept tiny" in shown.stdout
        done = run(plane, "--accept", "tiny", "-n", namespace)
        assert done.exit_code == Exit.DONE, done.output
        for words in (before["summary"], offer["saves"], offer["id"], "rollout", "status.plan"):
            assert words in done.stdout, words
        assert our_annotations(plane, namespace) == {ACCEPT: offer["id"]}
        wait_for("it is taken", lambda: plan().get("accepted") == offer["id"])
        assert plan()["configuration"] != before["configuration"]
        wait_for(
            "nothing is offered any more",
            lambda: condition(plane, key, "BetterPlanAvailable") is None,
        )
        again = run(plane, "--accept", "tiny", "-n", namespace)
        assert again.exit_code == Exit.NO_OFFER


def test_what_is_offered_is_said_before_it_is_taken(plane: ControlPlane, offered: str) -> None:
    done = run(plane, "--accept", "tiny", "-n", offered)
    assert done.exit_code == Exit.DONE, done.output
    for words in (PLAN["summary"], OFFER["summary"], OFFER["saves"], "new ones answer before"):
        assert str(words) in done.stdout
    assert our_annotations(plane, offered) == {ACCEPT: OFFER["id"]}
    # A second time nothing is written.
    version = plane.get("infer", "tiny", "-n", offered)["metadata"]["resourceVersion"]
    again = run(plane, "--accept", "tiny", "-n", offered)
    assert again.exit_code == Exit.DONE
    assert "had accepted this offer before" in again.stdout
    assert plane.get("infer", "tiny", "-n", offered)["metadata"]["resourceVersion"] == version


def test_whoever_accepts_every_offer_stays_so(plane: ControlPlane, offered: str) -> None:
    plane.kubectl("annotate", "infer", "tiny", "-n", offered, f"{ACCEPT}=true")
    done = run(plane, "--accept", "tiny", "-n", offered, "-o", "json")
    assert done.exit_code == Exit.DONE, done.output
    assert json.loads(done.stdout) == {
        "service": f"{offered}/tiny",
        "accepted": "true",
        "before": True,
        "runs": PLAN["summary"],
        "offer": OFFER,
    }
    assert our_annotations(plane, offered) == {ACCEPT: "true"}


def test_data_for_programs(plane: ControlPlane, offered: str) -> None:
    said = {"type": "Planned", "status": "True", "reason": "Planned", "message": "It runs."}
    dated = {**said, "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}
    put(plane, offered, {"conditions": [dated]})
    found = run(plane, "--of", "tiny", "-n", offered, "-o", "json")
    assert found.exit_code == Exit.DONE, found.output
    assert json.loads(found.stdout) == {
        "service": f"{offered}/tiny",
        "planned": True,
        "reason": "Planned",
        "message": "It runs.",
        "plan": PLAN,
    }
    text = run(plane, "--of", "tiny", "-n", offered, "-o", "yaml").stdout
    assert yaml.safe_load(text) == json.loads(found.stdout)


def test_a_service_without_a_plan_says_why(plane: ControlPlane, namespace: str) -> None:
    plane.apply(service("tiny", namespace))
    found = run(plane, "--of", "tiny", "-n", namespace)
    assert found.exit_code == Exit.REFUSED
    assert "Not planned yet" in found.stdout
    assert run(plane, "--accept", "tiny", "-n", namespace).exit_code == Exit.NO_OFFER


def test_errors_say_what_to_do(plane: ControlPlane, offered: str, tmp_path: Path) -> None:
    absent = run(plane, "--accept", "nosuch", "-n", offered)
    assert absent.exit_code == Exit.NOT_FOUND
    assert f"no InferenceService nosuch in namespace {offered}" in absent.stderr

    reader = plane.user("reader")
    refused = run(plane, "--of", "tiny", "-n", offered, kubeconfig=reader)
    assert refused.exit_code == Exit.FORBIDDEN
    assert "the right `get`" in refused.stderr
    role = ("role", "look", "--verb=get", "--resource=inferenceservices.stoker.dev")
    plane.kubectl("create", *role, "-n", offered)
    binding = ("rolebinding", "look", "--role=look", "--user=reader")
    plane.kubectl("create", *binding, "-n", offered)
    wait_for(
        "the right to read",
        lambda: (
            run(plane, "--of", "tiny", "-n", offered, kubeconfig=reader).exit_code == Exit.REFUSED
        ),
    )
    refused = run(plane, "--accept", "tiny", "-n", offered, kubeconfig=reader)
    assert refused.exit_code == Exit.FORBIDDEN
    assert "`patch`" in refused.stderr
    assert our_annotations(plane, offered) == {}

    away = tmp_path / "away"
    away.write_text(
        plane.kubeconfig.read_text().replace(plane.url, f"https://{LOOPBACK}:{free_port()}")
    )
    silent = run(plane, "--accept", "tiny", "-n", offered, kubeconfig=away)
    assert silent.exit_code == Exit.UNREACHABLE
    assert "does not answer" in silent.stderr


class _Elsewhere(BaseHTTPRequestHandler):
    """An API server that has never heard of Stoker, as far as one question goes."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()
        self.wfile.write(b"404 page not found\n")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_a_cluster_without_stoker(plane: ControlPlane, tmp_path: Path) -> None:
    with ThreadingHTTPServer((LOOPBACK, 0), _Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        away = tmp_path / "away"
        address = f"http://{LOOPBACK}:{server.server_port}"
        away.write_text(plane.kubeconfig.read_text().replace(plane.url, address))
        found = run(plane, "--of", "tiny", kubeconfig=away)
        server.shutdown()
    assert found.exit_code == Exit.NOT_FOUND
    assert "Stoker is not installed there" in found.stderr


def test_the_contexts_namespace_is_the_default(
    plane: ControlPlane, offered: str, tmp_path: Path
) -> None:
    config = json.loads(plane.kubeconfig.read_text())
    (context,) = config["contexts"]
    there = {"name": "there", "context": {**context["context"], "namespace": offered}}
    path = tmp_path / "config"
    path.write_text(json.dumps({**config, "contexts": [context, there]}))
    assert run(plane, "--accept", "tiny", kubeconfig=path).exit_code == Exit.NOT_FOUND
    done = run(plane, "--accept", "tiny", "--context", "there", kubeconfig=path)
    assert done.exit_code == Exit.DONE, done.output
    assert our_annotations(plane, offered) == {ACCEPT: OFFER["id"]}


def accept_after(plane: ControlPlane, namespace: str, meanwhile: Callable[[], object]) -> None:
    """Look, let something happen, and accept what was seen."""

    async def go() -> None:
        client, _ = await connect_as_user(plane.kubeconfig, None)
        try:
            key = Key(namespace, "tiny")
            body = await running.read_service(client, key)
            found: Offered = running.offer_of(body, key)
            await asyncio.to_thread(meanwhile)
            await running.accept(client, found, body)
        finally:
            await client.close()

    asyncio.run(go())


def test_another_word_in_the_status_is_no_change_of_the_offer(
    plane: ControlPlane, offered: str
) -> None:
    accept_after(plane, offered, lambda: put(plane, offered, {"replicas": 3}))
    assert our_annotations(plane, offered) == {ACCEPT: OFFER["id"]}


@pytest.mark.parametrize("change", ["another offer", "no offer", "the spec", "another object"])
def test_what_nobody_has_seen_is_never_accepted(
    plane: ControlPlane, offered: str, change: str
) -> None:
    def remake() -> None:
        plane.kubectl("delete", "infer", "tiny", "-n", offered)
        plane.apply(service("tiny", offered))
        put(plane, offered, {"plan": PLAN})

    changes: dict[str, Callable[[], object]] = {
        "another offer": lambda: put(plane, offered, {"plan": {"offer": {"id": "1e1e1e1e"}}}),
        "no offer": lambda: put(plane, offered, {"plan": {"offer": None}}),
        "the spec": lambda: plane.apply(service("tiny", offered, replicas=2)),
        "another object": remake,
    }
    with pytest.raises(CommandError) as error:
        accept_after(plane, offered, changes[change])
    assert error.value.exit is Exit.CHANGED
    assert "nothing was changed" in str(error.value)
    assert our_annotations(plane, offered) == {}
