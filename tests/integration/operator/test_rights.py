"""The rights of each command, as docs/cli.md has them: enough, and none of them too many.

The page's table is read. Each command is run by a user with a role of exactly its rights, and again
with each of them taken away: then it is refused with the right's name, or shows less and says so.
"""

from __future__ import annotations

import itertools
import json
import re
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from stoker.cli import app
from stoker.commands.exits import Exit
from stoker.naming import Component, labels
from stoker.render.frontend_input import FrontendPorts
from stoker_worker import contract
from tests.integration.operator import pods
from tests.integration.operator.answering import Model
from tests.integration.operator.kubelet import NODE, Kubelet, add_pod
from tests.integration.operator.support import service, wait_for
from tests.support.controlplane import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.support.controlplane import ControlPlane

pytestmark = pytest.mark.timeout(300)

PAGE = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
SPACE, USER = "rights", "holder-of-rights"
ENGINE, FRONTEND = "chat-engine-1", "chat-frontend-1"
_WORD = re.compile(r"`([^`]+)`")
# The port-forward's second right, which older API servers do not ask for.
CREATE_PORTS, FROM_MINOR = "create pods/portforward", 35
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_MERGE = "application/merge-patch+json"


@dataclass(frozen=True)
class Row:
    """One row of the page, for one of its commands."""

    command: str
    needs: tuple[str, ...]
    more: tuple[str, ...]


def rows() -> list[Row]:
    """The table below "Rights"."""
    section = PAGE.split("\n## Rights\n")[1].split("\n## ")[0]
    found: list[Row] = []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| `") or len(cells) != 4:
            continue
        rights = [tuple(each for each in _WORD.findall(cell) if " " in each) for cell in cells[1:3]]
        found += [Row(command, *rights) for command in _WORD.findall(cells[0])]
    return found


ROWS = {row.command: row for row in rows()}
SAY = ("--max-tokens", "4")
LOAD = ("--requests", "4", "--concurrency", "2", "--timeout", "100s")
CACHED = "kept"
COMMANDS: dict[str, tuple[str, ...]] = {
    "why": ("why", "chat"),
    "wait": ("wait", "chat", "--for", "planned", "--timeout", "60s"),
    "plan --of": ("plan", "--of", "chat"),
    "cost": ("cost", "chat"),
    "logs": ("logs", "chat"),
    "doctor": ("doctor", "chat", "--all", "--seconds", "1"),
    "top": ("top", "--once", "--interval", "1s"),
    "top SERVICE": ("top", "chat", "--once", "--interval", "1s"),
    "chat": ("chat", "chat", "hello", *SAY),
    "bench": ("bench", "chat", *LOAD),
    "profile": ("profile", "chat", "--hold-requests", "--into", tempfile.gettempdir()),
    "scale": ("scale", "chat", "2"),
    "plan --accept": ("plan", "--accept", "chat"),
    "cache ls": ("cache", "ls"),
    "cache warm": ("cache", "warm", CACHED, "--timeout", "60s"),
    "cache verify": ("cache", "verify", CACHED, "--no-wait"),
    "cache warm --uri": ("cache", "warm", "--uri", "hf://org/made", "--no-wait"),
}
# There is no operator beside this control plane, which `doctor` says, and behind the worker's port
# nobody who profiles, which `profile` learns when it has used its last right.
GOOD = {"doctor": {Exit.DONE, Exit.UNHEALTHY}, "profile": {Exit.REFUSED}}
CONDITION = {"status": "True", "message": "so it is", "lastTransitionTime": "2026-01-01T00:00:00Z"}
STATUS: dict[str, Any] = {
    "observedGeneration": 1_000_000,  # of whatever spec: nobody else writes it
    "desiredReplicas": 1,
    "readyReplicas": 1,
    "replicas": 1,
    "plan": {
        "summary": "vllm on 2 x nvidia-l4",
        "perReplica": 2,
        "offer": {"id": "0f0f0f0f", "summary": "vllm on 1 x nvidia-l4", "saves": "$1"},
    },
    "conditions": [{**CONDITION, "type": "Planned", "reason": "Planned", "observedGeneration": 1}],
}
READY = {
    "phase": "Ready",
    "digest": "d" * 64,
    "observedGeneration": 1,
    "conditions": [{**CONDITION, "type": "Ready", "reason": "Ready", "observedGeneration": 1}],
}


def test_every_command_of_the_page_is_run_here() -> None:
    assert ROWS.keys() == COMMANDS.keys()


@dataclass(frozen=True)
class World:
    """A namespace in which every command has something to do, and a user with a changing role."""

    plane: ControlPlane
    kubelet: Kubelet
    reader: Path

    def run(self, command: str) -> Result:
        """Run it as the user, after what it may have done before is undone."""
        self._reset()
        words = [*COMMANDS[command], "-n", SPACE, "--kubeconfig", str(self.reader)]
        done = CliRunner().invoke(app, words, env={"COLUMNS": "300"})
        assert done.exception is None or isinstance(done.exception, SystemExit), done.output
        return done

    def grant(self, rights: Iterable[str], taken: Iterable[str] = ()) -> None:
        """Give the user these rights and no others, and wait until the API server knows."""
        role = {"rules": [_rule(right) for right in rights]}
        path = f"{_RBAC}/namespaces/{SPACE}/roles/{USER}"
        code, said = self.plane.request("PATCH", path, role, kind=_MERGE)
        assert code == 200, said
        wanted = [*((right, True) for right in rights), *((right, False) for right in taken)]
        wait_for("the rights", lambda: all(self._may(each) == may for each, may in wanted))

    def _may(self, right: str) -> bool:
        rule = _rule(right)
        resource, _, part = rule["resources"][0].partition("/")
        attributes = {
            "namespace": SPACE,
            "verb": rule["verbs"][0],
            "group": rule["apiGroups"][0],
            "resource": resource,
            "subresource": part,
        }
        kind = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
        body = {**kind, "spec": {"user": USER, "resourceAttributes": attributes}}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        code, said = self.plane.request("POST", path, body)
        assert code == 201, said
        return bool(said["status"]["allowed"])

    def _reset(self) -> None:
        change = {"metadata": {"annotations": {"stoker.dev/accept-plan": None}}}
        change["spec"] = {"replicas": 1}  # type: ignore[dict-item]
        path = f"/apis/stoker.dev/v1alpha1/namespaces/{SPACE}"
        code, said = self.plane.request(
            "PATCH", f"{path}/inferenceservices/chat", change, kind=_MERGE
        )
        assert code == 200, said
        self.plane.request("DELETE", f"{path}/modelcaches/made")


def _rule(right: str) -> dict[str, list[str]]:
    verb, _, resource = right.partition(" ")
    plural, _, group = resource.partition(".")
    return {"verbs": [verb], "resources": [plural], "apiGroups": [group]}


@pytest.fixture(scope="module")
def world(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    plane.namespace(SPACE)
    for kind in ("role", "rolebinding"):
        first = ("--verb=get", "--resource=pods") if kind == "role" else (f"--user={USER}",)
        role = () if kind == "role" else (f"--role={USER}",)
        plane.kubectl("create", kind, USER, *first, *role, "-n", SPACE)
    cached, profiled = {"cacheRef": {"name": CACHED}}, {"profiling": True}
    plane.apply(service("chat", SPACE, replicas=1, model=cached, engine=profiled))
    plane.apply(_cache())
    for name, kind, status in (
        ("chat", "inferenceservices", STATUS),
        (CACHED, "modelcaches", READY),
    ):
        path = f"/apis/stoker.dev/v1alpha1/namespaces/{SPACE}/{kind}/{name}/status"
        code, said = plane.request("PATCH", path, {"status": status}, kind=_MERGE)
        assert code == 200, said
    plane.apply(_workload())
    model = Model()
    with (
        Kubelet(tmp_path_factory.mktemp("kubelet")) as kubelet,
        pods.Engine() as engine,
        pods.Frontend() as frontend,
        model.serve(),
    ):
        kubelet.register(plane)
        add_pod(plane, SPACE, ENGINE, labels("chat", Component.ENGINE, "r1"), "engine")
        add_pod(plane, SPACE, FRONTEND, labels("chat", Component.FRONTEND), "envoy")
        ports = FrontendPorts()
        kubelet.logs[ENGINE, "engine"] = "2026-01-01T00:00:01Z ready\n"
        kubelet.logs[FRONTEND, "envoy"] = ""
        kubelet.ports[ENGINE, contract.WORKER_PORT] = engine.address, engine.port
        kubelet.ports[ENGINE, contract.ENGINE_PORT] = engine.address, engine.port
        kubelet.ports[FRONTEND, ports.ops] = frontend.address, frontend.port
        kubelet.ports[FRONTEND, ports.api] = LOOPBACK, model.port
        with _working(plane, kubelet):
            yield World(plane, kubelet, plane.user(USER))


def _cache() -> dict[str, Any]:
    return {
        "apiVersion": "stoker.dev/v1alpha1",
        "kind": "ModelCache",
        "metadata": {"name": CACHED, "namespace": SPACE},
        "spec": {"model": {"uri": "hf://org/kept"}},
    }


def _workload() -> dict[str, Any]:
    """A replica's, which `bench` takes image and model from."""
    config = contract.WorkerConfig("vllm", "/models/tiny", ["main"]).to_json()
    engine = {
        "name": "engine",
        "image": "reg/vllm:1",
        "command": ["python3"],
        "env": [{"name": contract.ENV_CONFIG, "value": config}],
    }
    told = labels("chat", Component.ENGINE, "r1")
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "chat-engine-r1", "namespace": SPACE, "labels": told},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {**told, "which": "none"}},
            "template": {
                "metadata": {"labels": {**told, "which": "none"}},
                "spec": {"containers": [engine]},
            },
        },
    }


class _working:  # noqa: N801 - as a context manager it reads like a function
    """What scheduler and kubelet do with the pods of benchmarks, until the block ends."""

    def __init__(self, plane: ControlPlane, kubelet: Kubelet) -> None:
        self._plane, self._kubelet = plane, kubelet
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        done: set[str] = set()
        path = f"/api/v1/namespaces/{SPACE}/pods"
        selector = "labelSelector=stoker.dev%2Fbench"
        while not self._stop.wait(0.2):
            _, found = self._plane.request("GET", f"{path}?{selector}")
            for pod in found.get("items") or ():
                name = pod["metadata"]["name"]
                if name not in done:
                    done.add(name)
                    self._finish(path, name)

    def _finish(self, path: str, name: str) -> None:
        result = {"completed": 4, "failed": 0, "duration": 1.0}
        self._kubelet.logs[name, "bench"] = f"\nSTOKER-BENCH {json.dumps(result)}\n"
        bound = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}}
        target = {"kind": "Node", "name": NODE}
        self._plane.request("POST", f"{path}/{name}/binding", {**bound, "target": target})
        ended = {
            "name": "bench",
            "image": "reg/vllm:1",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": {"exitCode": 0, "reason": "Completed"}},
        }
        status = {"phase": "Succeeded", "containerStatuses": [ended]}
        self._plane.request("PATCH", f"{path}/{name}/status", {"status": status}, kind=_MERGE)


def _named(output: str, right: str) -> int:
    """How many sentences name the right."""
    verb, _, resource = right.partition(" ")
    plural, _, part = resource.partition(".")[0].partition("/")
    sentences = [each for each in output.splitlines() if re.search(rf"\b{verb}\b", each)]
    return sum(plural in each and part in each for each in sentences)


@pytest.mark.parametrize("command", ROWS)
def test_the_rights_of_a_command_are_those_of_the_page(world: World, command: str) -> None:
    row = ROWS[command]
    every = (*row.needs, *row.more)
    good = GOOD.get(command, {Exit.DONE})
    asks = int(world.plane.version.split(".")[1]) >= FROM_MINOR

    world.grant(every)
    whole = world.run(command)
    assert whole.exit_code in good, whole.output

    if row.more:
        world.grant(row.needs, row.more)
        bare = world.run(command)
        assert bare.exit_code in good, bare.output

    for right in every:
        left = [each for each in every if each != right]
        world.grant(left, [right])
        found = world.run(command)
        if right == CREATE_PORTS and not asks:
            assert found.exit_code in good, "older API servers do not ask for it"
            continue
        if right in row.needs:
            assert found.exit_code == Exit.FORBIDDEN, f"without {right}: {found.output}"
        else:
            assert found.exit_code in good, f"without {right}: {found.output}"
        more = _named(found.output, right) > _named(whole.output, right)
        assert more, f"nothing names {right}: {found.output}"


def test_no_right_of_the_page_is_written_twice() -> None:
    for row in ROWS.values():
        every = [*row.needs, *row.more]
        assert all(a != b for a, b in itertools.combinations(every, 2))
        assert row.needs
