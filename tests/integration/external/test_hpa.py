"""A real HorizontalPodAutoscaler, driven by the real controller, scales by Stoker's numbers."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest

from stoker.naming import Component
from tests.integration.external.conftest import SERVICE_NAME, documented
from tests.integration.operator.pods import Engine, Frontend, make_ready
from tests.integration.operator.support import OPERATOR_NAMESPACE, service, wait_for
from tests.support.controlplane import FRONT_PROXY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.external.conftest import Telling
    from tests.support.controlplane import ControlPlane

GROUP = "/apis/external.metrics.k8s.io/v1beta1"


@pytest.fixture(scope="module")
def api(plane: ControlPlane, operator: Telling) -> Iterator[str]:
    """The operator, registered with the API server; the path of its API."""
    # Nothing routes to a Service here, and endpoints may not be loopback: a name may.
    plane.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": SERVICE_NAME, "namespace": OPERATOR_NAMESPACE},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        }
    )
    plane.apply(
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
            "spec": {
                "group": "external.metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "caBundle": b64encode((operator.certificates / "tls.crt").read_bytes()).decode(),
                "service": {
                    "name": SERVICE_NAME,
                    "namespace": OPERATOR_NAMESPACE,
                    "port": operator.hpa_port,
                },
            },
        }
    )
    plane.kubectl(
        *("wait", "--for=condition=Available", "--timeout=60s"),
        "apiservice/v1beta1.external.metrics.k8s.io",
    )
    yield GROUP
    plane.kubectl("delete", "apiservice", "v1beta1.external.metrics.k8s.io")


def read(plane: ControlPlane, path: str) -> tuple[int, dict[str, Any]]:
    return plane.request("GET", f"{GROUP}/{path}")


def replicas(plane: ControlPlane, namespace: str) -> tuple[int, int]:
    """What the autoscaler asked for, and the engine pods that there are."""
    asked = plane.get("infer", "chat", "-n", namespace)["spec"].get("replicas", 1)
    selector = "stoker.dev/component=engine,stoker.dev/service=chat"
    pods = plane.get("pods", "-n", namespace, "-l", selector)["items"]
    return asked, sum("deletionTimestamp" not in pod["metadata"] for pod in pods)


@pytest.mark.timeout(300)
def test_an_autoscaler_follows_the_queue_from_zero_and_back(
    plane: ControlPlane, api: str, namespace: str
) -> None:
    del api
    autoscaler = documented("HorizontalPodAutoscaler")
    autoscaler["metadata"]["namespace"] = namespace
    autoscaler["spec"]["minReplicas"] = 0  # this control plane has the feature gate
    autoscaler["spec"]["behavior"] = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    target = autoscaler["spec"]["metrics"][0]["external"]["target"]

    def state() -> str:
        found = plane.get("hpa", autoscaler["metadata"]["name"], "-n", namespace)
        conditions = found.get("status", {}).get("conditions", ())
        active: dict[str, Any] = next((c for c in conditions if c["type"] == "ScalingActive"), {})
        return f"{active.get('status')} {active.get('message')}"

    with Frontend() as frontend, Engine() as engine:
        plane.apply(service("chat", namespace, replicas=0))
        make_ready(plane, namespace, "chat", Component.FRONTEND, frontend)
        plane.apply(autoscaler)
        # Nobody else can tell that nothing waits for a service without replicas.
        wait_for("the autoscaler reads a zero", lambda: state().startswith("True"))
        assert replicas(plane, namespace) == (0, 0)

        frontend.request()
        wait_for("a replica for it", lambda: replicas(plane, namespace) == (1, 1))
        make_ready(plane, namespace, "chat", Component.ENGINE, engine)
        frontend.active, engine.running = 0, 3 * int(target["averageValue"])
        wait_for("three replicas", lambda: replicas(plane, namespace)[0] == 3)

        # Silence is no zero: the number stays, and the autoscaler says why.
        frontend.body = "<html>upstream connect error</html>"
        wait_for("the reason", lambda: "frontend pod" in state())
        assert state().startswith("False")
        assert replicas(plane, namespace)[0] == 3
        frontend.body = ""
        engine.running = 0
        wait_for("nothing is left", lambda: replicas(plane, namespace) == (0, 0))


def test_mistakes_are_answered_in_words(plane: ControlPlane, api: str, namespace: str) -> None:
    del api
    for path, code, words in (
        ("load?labelSelector=service%3Dchat", 400, "'load' is unknown; write one of: queueDepth"),
        ("inprogress", 400, "metric.selector: is missing; write metric.selector.matchLabels"),
        ("inprogress?labelSelector=app%3Dchat", 400, "names no single service"),
        ("inprogress?labelSelector=service%3Dnobody", 404, "no InferenceService 'nobody'"),
    ):
        status, answer = read(plane, f"namespaces/{namespace}/{path}")
        assert status == code, answer
        assert words in answer["message"]
    plane.apply(service("chat", namespace, replicas=0))

    def unknown() -> str:
        path = f"namespaces/{namespace}/inprogress?labelSelector=service%3Dchat"
        status, answer = read(plane, path)
        return answer["message"] if status == 503 else ""

    # Its frontend never answers, so nobody knows its load.
    assert "no frontend pod is ready" in wait_for("an error", unknown)


def test_kubernetes_decides_who_may_read(plane: ControlPlane, api: str, namespace: str) -> None:
    path = f"{api}/namespaces/{namespace}/inprogress?labelSelector=service%3Dchat"
    refused = plane.try_kubectl("get", "--raw", path, kubeconfig=plane.user("mallory"))
    assert "mallory" in refused.stderr
    assert "external.metrics.k8s.io" in refused.stderr


def test_nobody_but_the_front_proxy_gets_through(plane: ControlPlane, operator: Telling) -> None:
    """Not the holder of another certificate of the cluster, nor another that was signed for it."""
    front = plane.front_proxy
    front.sign("stranger", "/CN=stranger")

    def knock(pair: Path | None) -> int:
        context = ssl.create_default_context(cafile=str(operator.certificates / "tls.crt"))
        context.check_hostname = False  # it is called by its address, not by its name
        if pair is not None:
            context.load_cert_chain(pair.with_suffix(".crt"), pair.with_suffix(".key"))
        try:
            url = f"https://localhost:{operator.hpa_port}{GROUP}"
            with urllib.request.urlopen(url, context=context, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:  # ended in the handshake
            return 0

    wait_for("it listens", lambda: knock(front.folder / FRONT_PROXY) == 200)
    assert knock(None) == 0
    assert knock(plane.folder / "admin") == 0
    assert knock(front.folder / "stranger") == 403
