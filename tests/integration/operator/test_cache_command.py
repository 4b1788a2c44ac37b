"""`stoker cache` as a user runs it, against a real API server; the test writes the status."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from stoker.cli import app
from stoker.commands.exits import Exit
from tests.integration.operator.support import service, wait_for
from tests.support.controlplane import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.controlplane import ControlPlane

VERIFY = "stoker.dev/verify-again"
GIB = 2**30
READY = {
    "phase": "Ready",
    "observedGeneration": 1,
    "digest": "d" * 64,
    "revision": "abc",
    "bytes": 16 * GIB,
    "files": 9,
    "claim": "llama-cache",
    "folder": "llama-1",
    "lastVerified": "2026-01-01T00:00:00Z",
}


@pytest.fixture
def namespace(bare_namespace: str) -> str:
    """Without a claim, which nobody looks at here."""
    return bare_namespace


def run(plane: ControlPlane, *arguments: str, kubeconfig: Path | None = None) -> Result:
    words = ["cache", *arguments, "--kubeconfig", str(kubeconfig or plane.kubeconfig)]
    return CliRunner().invoke(app, words, env={"COLUMNS": "250"})


def put(plane: ControlPlane, namespace: str, **status: Any) -> None:
    """Write the status in the operator's place."""
    path = f"/apis/stoker.dev/v1alpha1/namespaces/{namespace}/modelcaches/llama/status"
    kind = "application/merge-patch+json"
    code, said = plane.request("PATCH", path, {"status": status}, kind=kind)
    assert code == 200, said


def cache(plane: ControlPlane, namespace: str, name: str = "llama") -> dict[str, Any]:
    return dict(plane.get("mc", name, "-n", namespace))


@pytest.fixture
def cached(plane: ControlPlane, namespace: str) -> str:
    """A namespace with the cache `llama`."""
    plane.apply(
        {
            "apiVersion": "stoker.dev/v1alpha1",
            "kind": "ModelCache",
            "metadata": {"name": "llama", "namespace": namespace},
            "spec": {"model": {"uri": "hf://org/llama"}},
        }
    )
    return namespace


@pytest.fixture
def obedient(plane: ControlPlane, cached: str) -> Iterator[str]:
    """The same with somebody who verifies what he is asked to, and finds a bad file."""
    put(plane, cached, **READY)
    stop = threading.Event()

    def obey() -> None:
        while not stop.wait(0.2):
            word = (cache(plane, cached)["metadata"].get("annotations") or {}).get(VERIFY)
            if word:
                put(plane, cached, verified=word, repaired=["model-00003.safetensors"])
                return

    thread = threading.Thread(target=obey)
    thread.start()
    yield cached
    stop.set()
    thread.join()


def test_caches_are_listed_with_their_users(plane: ControlPlane, cached: str) -> None:
    put(plane, cached, **READY)
    plane.apply(service("chat", cached, model={"uri": "pvc://models/tiny"}))
    found = run(plane, "ls", "-n", cached, "-o", "json")
    assert found.exit_code == Exit.DONE, found.output
    (entry,) = json.loads(found.stdout)["caches"]
    assert entry["name"] == "llama"
    assert (entry["phase"], entry["percent"], entry["bytes"]) == ("Ready", 100, 16 * GIB)
    assert entry["usedBy"] == []
    text = run(plane, "ls", "-n", cached, "-o", "yaml").stdout
    assert yaml.safe_load(text) == json.loads(found.stdout)
    table = run(plane, "ls", "-A")
    assert cached in table.stdout
    assert "unused" in table.stdout
    assert "hf://org/llama" in run(plane, "ls", "-n", cached, "-o", "wide").stdout
    empty = run(plane, "ls", "-n", plane.namespace(f"{cached}-empty"))
    assert empty.exit_code == Exit.DONE
    assert "no model caches" in empty.stderr


def test_verification_is_asked_for_and_waited_for(plane: ControlPlane, obedient: str) -> None:
    done = run(plane, "verify", "llama", "-n", obedient, "--timeout", "60s")
    assert done.exit_code == Exit.DONE, done.output
    assert "model-00003.safetensors had other bytes" in done.stdout
    assert f"{obedient}/llama: Ready 100%" in done.stderr  # a log's line, as nobody has a terminal
    again = run(plane, "verify", "llama", "-n", obedient, "--timeout", "1s")
    assert again.exit_code == Exit.TIMED_OUT
    assert "stoker cache ls" in again.stderr
    told = run(plane, "verify", "llama", "-n", obedient, "--no-wait", "-o", "json")
    assert told.exit_code == Exit.DONE
    assert json.loads(told.stdout)["done"] is False


def test_an_empty_cache_is_not_verified(plane: ControlPlane, cached: str) -> None:
    refused = run(plane, "verify", "llama", "-n", cached)
    assert refused.exit_code == Exit.REFUSED
    assert "holds nothing yet" in refused.stderr
    assert not cache(plane, cached)["metadata"].get("annotations", {}).get(VERIFY)


def test_warm_waits_until_it_is_ready_or_says_why_not(plane: ControlPlane, cached: str) -> None:
    assert run(plane, "warm", "llama", "-n", cached, "--timeout", "1s").exit_code == Exit.TIMED_OUT
    put(plane, cached, **READY)
    done = run(plane, "warm", "llama", "-n", cached)
    assert done.exit_code == Exit.DONE, done.output
    assert "claim llama-cache, models/llama-1" in done.stdout
    said = {
        "type": "Ready",
        "status": "False",
        "reason": "Unauthorized",
        "message": "the token has no rights",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1,
    }
    put(plane, cached, phase="Failed", conditions=[said])
    failed = run(plane, "warm", "llama", "-n", cached)
    assert failed.exit_code == Exit.UNHEALTHY
    assert "Unauthorized: the token has no rights" in failed.stdout


def test_warm_makes_a_cache_and_never_overwrites_one(plane: ControlPlane, namespace: str) -> None:
    given = ("warm", "--uri", "hf://org/Llama-3", "-n", namespace, "--no-wait")
    made = run(plane, *given, "--revision", "v1", "--secret", "token")
    assert made.exit_code == Exit.DONE, made.output
    found = cache(plane, namespace, "llama-3")
    model = {"uri": "hf://org/Llama-3", "revision": "v1", "secretRef": {"name": "token"}}
    assert found["spec"]["model"] == model
    again = run(plane, *given, "--revision", "v1", "--secret", "token")
    assert again.exit_code == Exit.DONE
    assert "is there already" in again.stdout
    other = run(plane, *given)
    assert other.exit_code == Exit.REFUSED
    assert "pass another --name" in other.stderr
    same = cache(plane, namespace, "llama-3")
    assert same["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]
    assert run(plane, *given, "--name", "mine").exit_code == Exit.DONE
    assert cache(plane, namespace, "mine")["spec"]["model"] == {"uri": "hf://org/Llama-3"}


def test_errors_tell_absent_from_forbidden_and_unreachable(
    plane: ControlPlane, cached: str, tmp_path: Path
) -> None:
    for command in ("verify", "warm"):
        absent = run(plane, command, "nosuch", "-n", cached)
        assert absent.exit_code == Exit.NOT_FOUND
        assert "there is no ModelCache nosuch" in absent.stderr
    reader = plane.user("looker")
    refused = run(plane, "ls", "-n", cached, kubeconfig=reader)
    assert refused.exit_code == Exit.FORBIDDEN
    assert "`list` on modelcaches" in refused.stderr
    rights = ("--verb=get,list", "--resource=modelcaches.stoker.dev", "-n", cached)
    plane.kubectl("create", "role", "look", *rights)
    plane.kubectl("create", "rolebinding", "look", "--role=look", "--user=looker", "-n", cached)
    put(plane, cached, **READY)
    # Who uses it is not this user's to know.
    look = ("ls", "-n", cached, "-o", "json")
    wait_for(
        "the right to look",
        lambda: run(plane, *look, kubeconfig=reader).exit_code == Exit.DONE,
    )
    (entry,) = json.loads(run(plane, *look, kubeconfig=reader).stdout)["caches"]
    assert entry["usedBy"] is None
    assert run(plane, "warm", "llama", "-n", cached, kubeconfig=reader).exit_code == Exit.DONE
    refused = run(plane, "verify", "llama", "-n", cached, kubeconfig=reader)
    assert refused.exit_code == Exit.FORBIDDEN
    away = tmp_path / "away"
    address = f"https://{LOOPBACK}:{free_port()}"
    away.write_text(plane.kubeconfig.read_text().replace(plane.url, address))
    assert run(plane, "ls", kubeconfig=away).exit_code == Exit.UNREACHABLE
