"""What API servers of several versions say of image volumes, and how it is found out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stoker.clock import SystemClock
from stoker.cluster.client import connect
from stoker.cluster.imagevolumes import ImageVolumes

if TYPE_CHECKING:
    from tests.support.controlplane import ControlPlane


class _Leads:
    def check(self, request_timeout: float) -> None:
        """Let every write pass."""


async def asked(plane: ControlPlane, namespace: str = "default") -> bool | None:
    client = await connect(plane.kubeconfig, lambda *_: None)
    client.fence = _Leads()
    try:
        return await ImageVolumes(client, SystemClock()).taken(namespace)
    finally:
        await client.close()


async def test_the_gate_counts_and_not_the_schema(api_server: ControlPlane) -> None:
    """1.31 has the field in its schema and drops it; from 1.35 on it is kept."""
    newest = "newest" in api_server.apiserver
    assert await asked(api_server) is newest
    _, document = api_server.request("GET", "/openapi/v3/api/v1")
    assert "image" in document["components"]["schemas"]["io.k8s.api.core.v1.Volume"]["properties"]
    assert api_server.get("jobs", "-n", "default")["items"] == [], "nothing was made"


async def test_a_namespace_that_hides_the_answer(api_server: ControlPlane) -> None:
    assert await asked(api_server, "there-is-none") is None
