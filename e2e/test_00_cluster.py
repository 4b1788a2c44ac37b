"""The cluster is a real one: what users' pods meet elsewhere, they meet here.

Each refusal is shown next to the same thing getting through, so that nothing passes because it was
broken anyway.
"""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from e2e.cluster import local_volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.cluster import Cluster

NAMESPACE = "cluster-check"
SERVER, CLIENT = "server", "client"
GREETING = "kept on the node"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
FETCH = (
    "import urllib.request as r; "
    "print(r.urlopen('http://server.cluster-check.svc:8080/note.txt', timeout=3).read().decode())"
)


def pod(name: str, image: str, *command: str, claim: str = "") -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "main",
        "image": image,
        "command": list(command),
        "securityContext": RESTRICTED,
    }
    spec: dict[str, Any] = {"containers": [container], "terminationGracePeriodSeconds": 1}
    if claim:
        mount = {"name": "data", "mountPath": "/data", "readOnly": True}
        container["volumeMounts"] = [mount]
        source = {"claimName": claim, "readOnly": True}
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": source}]
    metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def eventually(what: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not (done := what()) and time.monotonic() < deadline:
        time.sleep(0.3)
    return done


@pytest.fixture(scope="module")
def checked(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server that reads a claim, its Service and a client, where `restricted` is enforced."""
    folder: Path = tmp_path_factory.mktemp("volume")
    (folder / "note.txt").write_text(GREETING)
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": NAMESPACE, "labels": labels}
    image = cluster.images["worker"]
    serve = ("python3", "-u", "-m", "http.server", "8080", "--directory", "/data")
    service = {"selector": {"app": SERVER}, "ports": [{"port": 8080}]}
    here = {"name": SERVER, "namespace": NAMESPACE}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    cluster.apply(
        *local_volume("cluster-check", folder, NAMESPACE, "data"),
        pod(SERVER, image, *serve, claim="data"),
        pod(CLIENT, image, "sleep", "3600"),
        {"apiVersion": "v1", "kind": "Service", "metadata": here, "spec": service},
    )
    ready = ("wait", "-n", NAMESPACE, "--for=condition=Ready", "pod", "--all", "--timeout=120s")
    cluster.kubectl(*ready)
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=60s")
    cluster.kubectl("delete", "persistentvolume", "cluster-check")


def fetch(cluster: Cluster) -> subprocess.CompletedProcess[str]:
    """Ask the server from the client's pod: DNS, Service and packet filter in one go."""
    inside = ("exec", "-n", NAMESPACE, CLIENT, "--", "python3", "-c", FETCH)
    return cluster.kubectl(*inside, check=False)


def test_a_pod_serves_from_a_claim_and_is_found_by_name(checked: Cluster) -> None:
    assert eventually(lambda: fetch(checked).stdout.strip() == GREETING), fetch(checked).stderr


def test_images_come_from_the_registry(checked: Cluster) -> None:
    status = checked.get("pod", SERVER, "-n", NAMESPACE)["status"]["containerStatuses"][0]
    assert "@sha256:" in status["imageID"]
    assert status["imageID"].split("@")[0] == checked.images["worker"].rpartition(":")[0]


def test_logs_and_port_forward_reach_a_pod(checked: Cluster) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kubectl = [str(checked.programs["kubectl"]), "port-forward", "-n", NAMESPACE, f"pod/{SERVER}"]
    with subprocess.Popen(
        [*kubectl, f"{port}:8080"],
        env=checked.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as forward:
        try:
            assert forward.stdout is not None
            assert "Forwarding" in forward.stdout.readline()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/note.txt", timeout=5) as answer:
                assert answer.read().decode() == GREETING
        finally:
            forward.terminate()
    logs = checked.kubectl("logs", "-n", NAMESPACE, SERVER)
    assert "GET /note.txt" in logs.stdout + logs.stderr


def test_a_pod_with_a_node_folder_is_refused(checked: Cluster) -> None:
    wanted = pod("intruder", checked.images["worker"], "true")
    wanted["spec"]["volumes"] = [{"name": "root", "hostPath": {"path": "/"}}]
    said = checked.apply(wanted, check=False)
    assert 'violates PodSecurity "restricted' in said
    assert "hostPath" in said


def test_a_service_account_may_do_only_what_its_role_says(checked: Cluster) -> None:
    question = ("auth", "can-i", "list", "pods", "-n", NAMESPACE)
    account = f"--as=system:serviceaccount:{NAMESPACE}:default"
    assert checked.kubectl(*question, check=False).stdout.strip() == "yes"
    assert checked.kubectl(*question, account, check=False).stdout.strip() == "no"


def test_a_network_policy_bites(checked: Cluster) -> None:
    assert eventually(lambda: fetch(checked).returncode == 0), "the way was closed before"
    deny = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "deny", "namespace": NAMESPACE},
        "spec": {"podSelector": {"matchLabels": {"app": SERVER}}, "policyTypes": ["Ingress"]},
    }
    checked.apply(deny)
    assert eventually(lambda: fetch(checked).returncode != 0), "the policy did not bite"
    deny["spec"] = {
        **deny["spec"],  # type: ignore[dict-item]
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": CLIENT}}}]}],
    }
    checked.apply(deny)
    assert eventually(lambda: fetch(checked).returncode == 0), "the allowed peer stays out"
