"""`stoker doctor` names the planted cause of each broken set-up, and its fix.

The set-ups are the table in `doctorcases`, and those of the platform below. All of the table are
planted at once, so that the operator judges them while others are looked at.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from stoker.cli import app
from stoker.commands.exits import Exit
from tests.integration.operator.doctorcases import (
    CASES,
    NAME,
    OPERATOR,
    Case,
    let_go,
    silent,
)
from tests.integration.operator.doctorpages import Answers, run_pods
from tests.integration.operator.kubelet import Kubelet
from tests.integration.operator.planting import apply, let_view, namespace_of, say
from tests.integration.operator.support import (
    CONFIG,
    OPERATOR_NAMESPACE,
    OperatorProcess,
    least_rights,
    service,
    wait_for,
)
from tests.support.controlplane import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.controlplane import ControlPlane

# The set-up starts a control plane and plants everything; a loaded machine takes its time.
pytestmark = pytest.mark.timeout(600)

LABELS = {"app.kubernetes.io/name": "stoker", "app.kubernetes.io/component": "operator"}
_NUMBERS = itertools.count(1)
_MERGE = "application/merge-patch+json"
_BINDING = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/doctor-operator"
_DEPLOYMENT = f"/apis/apps/v1/namespaces/{OPERATOR_NAMESPACE}/deployments/stoker"
_CONFIG = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/configmaps/stoker-config"
_PODS = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods"
_POOLS = "inferencepools.inference.networking.k8s.io"


def run(kubeconfig: Path, *arguments: str, columns: int = 250) -> Result:
    words = ["doctor", *arguments, "--kubeconfig", str(kubeconfig)]
    return CliRunner().invoke(app, words, env={"COLUMNS": str(columns)})


def doctor(plane: ControlPlane, *arguments: str) -> tuple[int, dict[str, Any]]:
    found = run(plane.kubeconfig, *arguments, "-o", "json")
    assert found.stdout, found.output
    return found.exit_code, json.loads(found.stdout)


def bind(plane: ControlPlane) -> None:
    """The chart's rights for the account of the operator's Deployment."""
    name = _BINDING.rpartition("/")[2]
    subject = {"kind": "ServiceAccount", "name": "stoker", "namespace": OPERATOR_NAMESPACE}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole"}
    apply(
        plane,
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {**role, "name": "operator-under-test"},
            "subjects": [subject],
        },
    )


def configure(plane: ControlPlane, **more: Any) -> None:
    """The administrator's file, where the chart puts it."""
    apply(
        plane,
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "stoker-config", "namespace": OPERATOR_NAMESPACE},
            "data": {"config.yaml": yaml.safe_dump({**CONFIG, **OPERATOR, **more})},
        },
    )


def run_operators_pods(plane: ControlPlane) -> bool:
    """The kubelet's part: every pod of the operator's Deployment is Ready; whether it counts."""
    for pod in plane.request("GET", _PODS)[1].get("items") or ():
        if pod["metadata"].get("labels", {}).items() >= LABELS.items():
            say(
                plane,
                pod,
                {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
            )
    return bool(plane.request("GET", _DEPLOYMENT)[1].get("status", {}).get("availableReplicas"))


@pytest.fixture(scope="module")
def operator(
    plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    folder = tmp_path_factory.mktemp("operator")
    kubeconfig = least_rights(plane)
    with OperatorProcess(plane, folder, config=OPERATOR, kubeconfig=kubeconfig) as process:
        wait_for("the operator leads", process.leads)
        yield process


@pytest.fixture(scope="module")
def installed(plane: ControlPlane, operator: OperatorProcess) -> Iterator[OperatorProcess]:
    """The objects that the chart makes for the operator, beside the process that does its work."""
    metadata = {"name": "stoker", "namespace": OPERATOR_NAMESPACE}
    apply(plane, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    bind(plane)
    configure(plane)
    container = {"name": "operator", "image": "reg/operator:1", "args": ["run"]}
    apply(
        plane,
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {**metadata, "labels": LABELS},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": LABELS},
                "template": {
                    "metadata": {"labels": LABELS},
                    "spec": {"serviceAccountName": "stoker", "containers": [container]},
                },
            },
        },
    )
    wait_for("the Deployment counts its pod", lambda: run_operators_pods(plane))
    yield operator
    for path in (_DEPLOYMENT, _CONFIG, _BINDING):
        plane.request("DELETE", path)


@pytest.fixture
def namespace(plane: ControlPlane) -> str:
    """A namespace of the test's own, with the model's claim."""
    return namespace_of(plane, f"doctor-own-{next(_NUMBERS)}")


@pytest.fixture(scope="module")
def planted(plane: ControlPlane, installed: OperatorProcess) -> Iterator[dict[str, str]]:
    """Every set-up of the table in a namespace of its own, by its name."""
    del installed
    found = {}
    for number, case in enumerate(CASES):
        namespace = namespace_of(plane, f"doctor-{number}")
        case.plant(plane, namespace)
        found[case.name] = namespace
    yield found
    for namespace in found.values():
        let_go(plane, namespace)
        plane.request("DELETE", f"/api/v1/namespaces/{namespace}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_planted_cause_is_named_with_its_fix(
    plane: ControlPlane, planted: dict[str, str], case: Case
) -> None:
    namespace = planted[case.name]
    seen: list[Any] = []

    def named() -> dict[str, Any] | None:
        case.keep(plane, namespace)
        code, found = doctor(plane, NAME, "-n", namespace)
        seen[:] = [code, found["cause"]]
        cause: dict[str, Any] = found["cause"] or {}
        return cause if cause.get("check") == case.check and code == case.exit else None

    try:
        cause = wait_for(case.check, named)
    except AssertionError as error:
        raise AssertionError(f"{case.name}: {error}: {seen}") from error
    assert case.fix in cause["fix"], cause
    assert case.why in cause["words"] + cause["where"], cause


def test_a_service_that_answers_is_healthy_and_what_is_not_known_is_told(
    plane: ControlPlane, installed: OperatorProcess, namespace: str
) -> None:
    del installed
    apply(plane, service(NAME, namespace))

    def healthy() -> dict[str, Any] | None:
        silent(plane, namespace)  # a fixed number needs no metrics
        code, found = doctor(plane, NAME, "-n", namespace)
        return found if code == Exit.DONE and found["state"] == "healthy" else None

    found = wait_for("it is healthy", healthy)
    assert found["cause"] is None
    assert {link["state"] for link in found["links"]} == {"ok"}
    whole = run(plane.kubeconfig, NAME, "-n", namespace, "--all", columns=60)
    assert whole.exit_code == Exit.DONE
    assert all(len(line) <= 60 for line in whole.stdout.splitlines())
    assert "one operator leads" in whole.stdout
    assert "\x1b" not in whole.stdout

    # Whoever may only view the namespace is told less, and nothing wrong.
    let_view(plane, namespace, "viewer")
    little = run(plane.user("viewer"), NAME, "-n", namespace, "-o", "json")
    assert little.exit_code == Exit.DONE, little.output
    states = {link["check"]: link["state"] for link in json.loads(little.stdout)["links"]}
    assert states["operator"] == states["leader"] == states["rights"] == "unknown"
    assert states["claim"] == states["engine"] == states["status"] == "ok"

    told = run(plane.kubeconfig, "-n", namespace)
    assert told.exit_code == Exit.DONE
    assert f"{namespace}/{NAME}: " in told.stdout


def test_a_service_that_answers_is_measured_and_asked(
    plane: ControlPlane, installed: OperatorProcess, kubelet: Kubelet, namespace: str
) -> None:
    del installed
    answers = Answers()
    apply(plane, service(NAME, namespace, replicas=1))

    def healthy() -> dict[str, Any] | None:
        run_pods(plane, namespace, kubelet, answers.port)
        code, found = doctor(plane, NAME, "-n", namespace, "--ask", "--seconds", "0.5")
        sound = code == Exit.DONE and (found["bound"] or {}).get("basis")
        return found if sound else None

    with answers.serving():
        found = wait_for("it is healthy", healthy)
        states = {link["check"]: link for link in found["links"]}
        assert states["first-token"]["words"].startswith("after ")
        assert found["bound"]["name"] == "KV capacity"
        assert found["bound"]["basis"] == "measured"
        assert "97% full and 3 requests wait" in found["bound"]["words"]
        advice = {each["id"]: each for each in found["advice"]}
        assert "finds 25% of the prompts' tokens" in advice["prefix-cache"]["words"]
        assert advice["eager"]["judgement"] == "well"

        answers.status = 503
        code, found = doctor(plane, NAME, "-n", namespace, "--ask")
        assert code == Exit.UNHEALTHY
        assert found["cause"]["check"] == "first-token"
        assert "HTTP 503" in found["cause"]["words"]
    # Ports that nobody serves: nothing is claimed, and the links are as good as before.
    kubelet.ports.clear()
    code, found = doctor(plane, NAME, "-n", namespace, "--seconds", "0.5")
    assert code == Exit.DONE, found["cause"]
    assert found["bound"]["name"] == "not known"
    assert {each["judgement"] for each in found["advice"]} <= {"notKnown", "well"}


def test_names_rights_and_servers_that_are_not_there(
    plane: ControlPlane, installed: OperatorProcess, namespace: str, tmp_path: Path
) -> None:
    del installed
    code, found = doctor(plane, "nobody", "-n", namespace)
    assert (code, found["cause"]["check"]) == (Exit.NOT_FOUND, "service")
    stranger = run(plane.user("stranger"), NAME, "-n", namespace, "-o", "json")
    assert stranger.exit_code == Exit.FORBIDDEN
    assert "get inferenceservices.stoker.dev" in json.loads(stranger.stdout)["cause"]["words"]
    lost = tmp_path / "lost"
    lost.write_text(plane.kubeconfig.read_text().replace(f":{plane.port}", f":{free_port()}", 1))
    unreachable = run(lost, NAME, "-n", namespace, "-o", "json")
    assert unreachable.exit_code == Exit.UNREACHABLE
    cause = json.loads(unreachable.stdout)["cause"]
    assert cause["check"] == "api"
    assert LOOPBACK in cause["words"]
    assert run(plane.kubeconfig, "-A", "-n", namespace).exit_code == Exit.BAD_INPUT


def wait_for_cause(plane: ControlPlane, check: str, status: int, *arguments: str) -> dict[str, Any]:
    def named() -> dict[str, Any] | None:
        code, found = doctor(plane, *arguments)
        cause: dict[str, Any] = found["cause"] or {}
        return cause if (code, cause.get("check")) == (status, check) else None

    return wait_for(check, named)


# What follows breaks the platform for everybody and mends it again; the last ends the operator.


def test_an_operator_without_its_rights(plane: ControlPlane, installed: OperatorProcess) -> None:
    del installed
    plane.request("DELETE", _BINDING)
    cause = wait_for_cause(plane, "rights", Exit.UNHEALTHY)
    assert "list inferenceservices.stoker.dev" in cause["words"]
    assert "helm upgrade stoker" in cause["fix"]
    bind(plane)
    wait_for("rights are back", lambda: doctor(plane)[1]["cause"] is None)


def test_a_namespace_that_the_operator_does_not_look_at(
    plane: ControlPlane, installed: OperatorProcess, namespace: str
) -> None:
    del installed
    apply(plane, service(NAME, namespace))
    configure(plane, watchNamespaces=["elsewhere"])
    cause = wait_for_cause(plane, "watched", Exit.UNHEALTHY, NAME, "-n", namespace)
    assert f"watchNamespaces={{elsewhere,{namespace}}}" in cause["fix"]
    configure(plane)


def test_definitions_that_are_older_than_the_operator(
    plane: ControlPlane, installed: OperatorProcess
) -> None:
    del installed
    crd = plane.get("crd", "modelcaches.stoker.dev")
    fields = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    repaired = fields["properties"].pop("repaired")
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/modelcaches.stoker.dev"
    patch = {"spec": {"versions": crd["spec"]["versions"]}}
    plane.request("PATCH", path, patch, kind=_MERGE)
    cause = wait_for_cause(plane, "schema", Exit.UNHEALTHY)
    assert "status.repaired" in cause["words"]
    assert "kubectl apply --server-side" in cause["fix"]
    fields["properties"]["repaired"] = repaired
    plane.request("PATCH", path, patch, kind=_MERGE)
    wait_for("the schema is back", lambda: doctor(plane)[1]["cause"] is None)


def test_an_operator_that_cannot_start(plane: ControlPlane, installed: OperatorProcess) -> None:
    del installed
    plane.request("PATCH", _DEPLOYMENT, {"spec": {"replicas": 0}}, kind=_MERGE)
    cause = wait_for_cause(plane, "operator", Exit.UNHEALTHY)
    assert "kubectl scale deployment stoker" in cause["fix"]
    plane.request("PATCH", _DEPLOYMENT, {"spec": {"replicas": 1}}, kind=_MERGE)
    ended = {"exitCode": 2, "reason": "Error", "message": "engines.vllm: no image"}
    state = {"waiting": {"reason": "CrashLoopBackOff"}}

    def crashed() -> bool:
        for pod in plane.request("GET", _PODS)[1].get("items") or ():
            status = {"name": "operator", "image": "", "imageID": "", "ready": False}
            last = {**status, "restartCount": 1, "state": state, "lastState": {"terminated": ended}}
            say(plane, pod, {"containerStatuses": [last]})
        return "no image" in wait_for_cause(plane, "operator", Exit.UNHEALTHY)["words"]

    wait_for("its last words are told", crashed)
    wait_for("the Deployment counts its pod", lambda: run_operators_pods(plane))


def test_nobody_leads_and_then_the_definitions_are_gone(
    plane: ControlPlane, installed: OperatorProcess
) -> None:
    installed.stop()
    cause = wait_for_cause(plane, "leader", Exit.UNHEALTHY)
    assert "it was given back" in cause["words"]
    assert "kubectl rollout restart" in cause["fix"]
    crd = plane.get("crd", _POOLS)
    plane.kubectl("delete", "crd", _POOLS)
    cause = wait_for_cause(plane, "definitions", Exit.UNHEALTHY)
    assert _POOLS in cause["where"]
    assert "crds.install=true" in cause["fix"]
    for name in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"):
        crd["metadata"].pop(name, None)
    del crd["status"]
    plane.apply(crd)
    plane.kubectl("wait", "--for=condition=Established", f"crd/{_POOLS}", "--timeout=60s")
