"""Install, upgrade twice, uninstall, reinstall: definitions and services survive all of it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.integration.chart.conftest import CHART, NAMESPACE, ROOT, Helm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.controlplane import ControlPlane

OURS = "inferenceservices.stoker.dev"
FOREIGN = "inferencepools.inference.networking.k8s.io"


def remove(plane: ControlPlane, helm: Helm) -> None:
    helm.attempt("uninstall", "stoker", "-n", NAMESPACE)
    # What `kubectl apply` made, no release knows of.
    text = helm("template", "stoker", str(CHART), "-n", NAMESPACE, "--set", "crds.install=false")
    plane.try_kubectl("delete", "-n", NAMESPACE, "--ignore-not-found", "-f", "-", stdin=text)
    plane.try_kubectl("delete", OURS, "--all", "-A")


@pytest.fixture(autouse=True)
def clean(plane: ControlPlane, administrator: Helm) -> Iterator[None]:
    """Leave nothing to the next test but the definitions, which nobody may lose."""
    yield
    remove(plane, administrator)


def uid(plane: ControlPlane, *what: str) -> str:
    return str(plane.get(*what)["metadata"]["uid"])


def make_service(plane: ControlPlane) -> str:
    manifest: dict[str, Any] = yaml.safe_load((ROOT / "docs/examples/tiny.yaml").read_text())
    manifest["metadata"]["namespace"] = "team"
    deadline = time.monotonic() + 20
    while True:
        done = plane.try_kubectl("apply", "--server-side", "-f", "-", stdin=manifest)
        if done.returncode == 0:
            return uid(plane, OURS, "tiny", "-n", "team")
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.2)


def wait_for_pods(plane: ControlPlane, count: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 30
    selector = "app.kubernetes.io/name=stoker"
    while True:
        pods: list[dict[str, Any]] = plane.get("pods", "-n", NAMESPACE, "-l", selector)["items"]
        if len(pods) >= count:
            return pods
        assert time.monotonic() < deadline, plane.kubectl("get", "events", "-n", NAMESPACE)
        time.sleep(0.2)


def walk_through(plane: ControlPlane, helm: Helm) -> None:
    arguments = ("stoker", str(CHART), "-n", NAMESPACE)
    helm("install", *arguments)
    service = make_service(plane)
    definition, foreign = uid(plane, "crd", OURS), uid(plane, "crd", FOREIGN)

    helm("upgrade", *arguments, "--set", "logLevel=debug")
    helm("upgrade", *arguments, "--set", "replicas=3")
    assert plane.get("deployment", "stoker", "-n", NAMESPACE)["spec"]["replicas"] == 3
    helm("uninstall", "stoker", "-n", NAMESPACE)
    assert plane.try_kubectl("get", "deployment", "stoker", "-n", NAMESPACE).returncode != 0
    assert uid(plane, OURS, "tiny", "-n", "team") == service
    helm("install", *arguments)

    assert uid(plane, OURS, "tiny", "-n", "team") == service
    assert uid(plane, "crd", OURS) == definition
    assert uid(plane, "crd", FOREIGN) == foreign


def test_every_object_survives(plane: ControlPlane, administrator: Helm) -> None:
    walk_through(plane, administrator)


def test_the_operators_pods_meet_the_restricted_standard(
    plane: ControlPlane, administrator: Helm
) -> None:
    administrator("install", "stoker", str(CHART), "-n", NAMESPACE)
    # The namespace enforces it: admission would have refused the pods.
    pods = wait_for_pods(plane, 2)
    assert all(pod["spec"]["serviceAccountName"] == "stoker" for pod in pods)


def test_another_configuration_is_another_pod(plane: ControlPlane, administrator: Helm) -> None:
    def mark() -> str:
        template = plane.get("deployment", "stoker", "-n", NAMESPACE)["spec"]["template"]
        return str(template["metadata"]["annotations"]["stoker.dev/config"])

    arguments = ("stoker", str(CHART), "-n", NAMESPACE)
    administrator("install", *arguments)
    first = mark()
    administrator("upgrade", *arguments)
    assert mark() == first
    administrator("upgrade", *arguments, "--set", "drain.drainSeconds=60")
    assert mark() != first


def test_without_helm_on_the_cluster(plane: ControlPlane, administrator: Helm) -> None:
    arguments = ("template", "stoker", str(CHART), "-n", NAMESPACE, "--include-crds")
    text = administrator(*arguments)
    apply = ("apply", "--server-side", "-n", NAMESPACE, "-f", "-")
    plane.kubectl(*apply, stdin=text)
    service = make_service(plane)
    again = plane.kubectl(*apply, stdin=text)
    assert "conflict" not in again
    assert uid(plane, OURS, "tiny", "-n", "team") == service
    # What was there before Helm came can be handed to it.
    administrator(
        "upgrade", "--install", "stoker", str(CHART), "-n", NAMESPACE, "--take-ownership",
        "--force-conflicts",
    )  # fmt: skip
    assert uid(plane, OURS, "tiny", "-n", "team") == service


def test_a_newer_foreign_definition_stays(plane: ControlPlane, administrator: Helm) -> None:
    administrator("install", "stoker", str(CHART), "-n", NAMESPACE)
    mark = "example.com/newer=true"
    plane.kubectl("annotate", "crd", FOREIGN, mark)
    administrator("uninstall", "stoker", "-n", NAMESPACE)
    administrator("install", "stoker", str(CHART), "-n", NAMESPACE)
    annotations = plane.get("crd", FOREIGN)["metadata"]["annotations"]
    assert annotations["example.com/newer"] == "true"
    plane.kubectl("annotate", "crd", FOREIGN, "example.com/newer-")


@pytest.mark.timeout(240)
def test_the_documented_rights_are_enough(
    plane: ControlPlane, helm_program: Path, tmp_path: Path
) -> None:
    """Who holds what docs/install.md lists, and nothing else, can do all of it."""
    text = (ROOT / "docs/install.md").read_text()
    blocks = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    role = next(each for each in blocks if each["metadata"]["name"] == "stoker-installer")
    assert not [r for r in role["rules"] if "*" in [*r["verbs"], *r["resources"], *r["apiGroups"]]]
    plane.apply(role)
    plane.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "stoker-installer"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": role["metadata"]["name"],
            },
            "subjects": [{"kind": "User", "name": "ida", "apiGroup": "rbac.authorization.k8s.io"}],
        }
    )
    ida = Helm(helm_program, tmp_path, plane.user("ida"))
    ida_sees = plane.try_kubectl("get", "volumeattachments", kubeconfig=plane.user("ida"))
    assert ida_sees.returncode != 0
    walk_through(plane, ida)
    ida("upgrade", "stoker", str(CHART), "-n", NAMESPACE, "--set", "watchNamespaces={team}")
    ida("uninstall", "stoker", "-n", NAMESPACE)
