"""Watches that break, end in errors or lie: the operator converges all the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stoker.cluster.audit import Audit
from stoker.cluster.client import connect
from stoker.cluster.kinds import WATCHED
from stoker.cluster.store import Store
from tests.integration.operator.proxy import Proxy
from tests.integration.operator.support import OperatorProcess, service, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.controlplane import ControlPlane


def has_service(plane: ControlPlane, namespace: str) -> bool:
    return plane.try_kubectl("get", "service", "tiny", "-n", namespace).returncode == 0


def test_broken_watches_heal_and_fatal_ones_end_the_process(
    plane: ControlPlane, tmp_path: Path, namespace: str
) -> None:
    with Proxy(plane) as proxy:
        kubeconfig = proxy.kubeconfig(tmp_path / "kubeconfig")
        with OperatorProcess(plane, tmp_path, "watching", kubeconfig=kubeconfig) as process:
            wait_for("it leads", process.leads)
            plane.apply(service("tiny", namespace))
            wait_for("its Service", lambda: has_service(plane, namespace))

            assert proxy.cut_watches() >= len(WATCHED)
            plane.kubectl("delete", "service", "tiny", "-n", namespace)
            wait_for("healed after a cut", lambda: has_service(plane, namespace))

            assert proxy.fail_watches() >= len(WATCHED)
            assert process.process is not None
            assert process.process.wait(20) == 1  # the kubelet's turn
            plane.kubectl("delete", "service", "tiny", "-n", namespace)
            process.start()
            wait_for("healed after a restart", lambda: has_service(plane, namespace))


async def test_the_audit_finds_ghosts_and_dead_watches(plane: ControlPlane, namespace: str) -> None:
    plane.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "one",
                "namespace": namespace,
                "labels": {"app.kubernetes.io/managed-by": "stoker", "stoker.dev/service": "tiny"},
            },
        }
    )
    body = plane.get("configmap", "one", "-n", namespace)
    woken: list[str] = []
    store = Store()
    client = await connect(plane.kubeconfig, lambda *_: None)
    audit = Audit(
        client,
        store,
        lambda kind, gone: woken.append(f"{kind} {gone['metadata']['name']}"),
        namespaces=[namespace],
    )
    try:
        assert await audit.missing_kinds() == []
        assert not await audit.complete()
        store.put("ConfigMap", body)
        assert await audit.complete()
        assert await audit.compare() == []

        ghost: dict[str, Any] = json.loads(json.dumps(body))
        ghost["metadata"] |= {"name": "ghost", "uid": "gone"}
        store.put("ConfigMap", ghost)
        assert await audit.compare() == []
        assert store.get("ConfigMap", namespace, "ghost") is None
        assert woken == ["ConfigMap ghost"]

        plane.kubectl("annotate", "configmap", "one", "-n", namespace, "example.com/change=1")
        assert await audit.compare() == []  # once may be a moment's delay
        assert await audit.compare() == [f"ConfigMap {namespace}/one"]
    finally:
        await client.close()
