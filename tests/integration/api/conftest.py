"""An API server that knows the resource, and a way to ask it what it thinks of an object."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from stoker.api.crd import crd_yaml

if TYPE_CHECKING:
    from tests.support.controlplane import ControlPlane

COLLECTION = "/apis/stoker.dev/v1alpha1/namespaces/default/inferenceservices"
DRY = "dryRun=All&fieldValidation=Strict"


@dataclass(frozen=True)
class Judge:
    """Dry runs against one API server: nothing is stored."""

    plane: ControlPlane

    def refusal(self, body: dict[str, Any]) -> str:
        """What the server says against an object; empty when it takes it."""
        candidate = copy.deepcopy(body)
        candidate.setdefault("apiVersion", "stoker.dev/v1alpha1")
        candidate.setdefault("kind", "InferenceService")
        candidate.setdefault("metadata", {}).setdefault("name", "judged")
        if "status" not in candidate:
            status, answer = self.plane.request("POST", f"{COLLECTION}?{DRY}", candidate)
        else:
            path = f"{COLLECTION}/everything/status"
            _, stored = self.plane.request("GET", path)
            stored["status"] = candidate["status"]
            status, answer = self.plane.request("PUT", f"{path}?{DRY}", stored)
        return "" if status < 400 else str(answer["message"])

    def stored(self, spec: dict[str, Any]) -> dict[str, Any]:
        """The spec as the server would store it, with its defaults."""
        body = {
            "apiVersion": "stoker.dev/v1alpha1",
            "kind": "InferenceService",
            "metadata": {"name": "judged"},
            "spec": spec,
        }
        status, answer = self.plane.request("POST", f"{COLLECTION}?{DRY}", body)
        assert status < 400, answer
        result: dict[str, Any] = answer["spec"]
        return result


@pytest.fixture(scope="session")
def judge(api_server: ControlPlane) -> Judge:
    """Ask the API server."""
    api_server.apply(crd_yaml())
    api_server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    from tests.integration.api.table import EVERYTHING  # noqa: PLC0415

    # The path is served a moment after the condition says so.
    for _ in range(100):
        status, _ = api_server.request("GET", COLLECTION)
        if status == 200:
            break
    api_server.apply({k: v for k, v in EVERYTHING.items() if k != "status"})
    return Judge(api_server)
