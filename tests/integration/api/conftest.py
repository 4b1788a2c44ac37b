"""An API server that knows the resource, and a way to ask it what it thinks of an object."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from stoker.api.crd import DEFINITIONS, SERVICE, Definition, crd_yaml

if TYPE_CHECKING:
    from tests.support.controlplane import ControlPlane


def collection(definition: Definition = SERVICE) -> str:
    """Path of the objects that are judged."""
    return f"/apis/stoker.dev/v1alpha1/namespaces/default/{definition.plural}"


COLLECTION = collection()
DRY = "dryRun=All&fieldValidation=Strict"


@dataclass(frozen=True)
class Judge:
    """Dry runs against one API server: nothing is stored."""

    plane: ControlPlane

    def refusal(self, body: dict[str, Any], definition: Definition = SERVICE) -> str:
        """What the server says against an object; empty when it takes it."""
        where = collection(definition)
        candidate = copy.deepcopy(body)
        candidate.setdefault("apiVersion", "stoker.dev/v1alpha1")
        candidate.setdefault("kind", definition.kind)
        candidate.setdefault("metadata", {}).setdefault("name", "judged")
        if "status" not in candidate:
            status, answer = self.plane.request("POST", f"{where}?{DRY}", candidate)
        else:
            path = f"{where}/everything/status"
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


@pytest.fixture(scope="package")
def judge(api_server: ControlPlane) -> Judge:
    """Ask the API server."""
    for definition in DEFINITIONS:
        api_server.apply(crd_yaml(definition))
    api_server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    from tests.integration.api.table import EVERYTHING  # noqa: PLC0415

    # The path is served a moment after the condition says so.
    for definition in DEFINITIONS:
        for _ in range(100):
            status, _ = api_server.request("GET", collection(definition))
            if status == 200:
                break
    api_server.apply({k: v for k, v in EVERYTHING.items() if k != "status"})
    return Judge(api_server)
