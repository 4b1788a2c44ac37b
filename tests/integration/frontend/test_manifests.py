"""The API server takes what is rendered, as a namespace that enforces `restricted` demands."""

from __future__ import annotations

import json

from stoker import naming
from stoker.naming import Component, Track
from stoker.render.frontend import render_frontend
from tests.integration.frontend.support import NAMESPACE, TrackWeight, make_input
from tests.support.controlplane import ControlPlane


def test_api_server_takes_every_manifest_twice(plane: ControlPlane) -> None:
    tracks = (TrackWeight(Track.STABLE, 90), TrackWeight(Track.CANDIDATE, 10))
    manifests = render_frontend(make_input("whole", tracks=tracks, notify="stoker.ops.svc:80"))
    for manifest in manifests:
        plane.apply(manifest, "--field-manager=stoker")
    kinds = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]
    versions = [_version(plane, *kind) for kind in kinds]
    for manifest in manifests:
        plane.apply(manifest, "--field-manager=stoker")
    assert [_version(plane, *kind) for kind in kinds] == versions  # nothing was changed on the way


def test_pods_pass_the_restricted_standard(plane: ControlPlane) -> None:
    plane.namespace("strict", enforce="restricted")
    manifests = {m["kind"]: m for m in render_frontend(make_input("strict", namespace="strict"))}
    plane.apply(manifests["ServiceAccount"])
    template = manifests["Deployment"]["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    pod["metadata"] = {**template["metadata"], "name": "frontend", "namespace": "strict"}
    plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))


def test_pickers_may_read_what_they_watch_and_nothing_else(plane: ControlPlane) -> None:
    for manifest in render_frontend(make_input("rights")):
        if manifest["kind"] in ("ServiceAccount", "Role", "RoleBinding"):
            plane.apply(manifest)
    account = f"system:serviceaccount:{NAMESPACE}:{naming.frontend('rights')}"

    def may(verb: str, resource: str, namespace: str = NAMESPACE) -> bool:
        asked = plane.try_kubectl(
            "auth", "can-i", verb, resource, f"--as={account}", "-n", namespace
        )
        return asked.stdout.strip() == "yes"

    assert may("watch", "pods")
    assert may("list", "inferencepools.inference.networking.k8s.io")
    assert not may("delete", "pods")
    assert not may("get", "secrets")
    assert not may("list", "pods", "default")
    assert Component.FRONTEND.value in account


def _version(plane: ControlPlane, kind: str, name: str) -> str:
    version: str = plane.get(kind, name, "-n", NAMESPACE)["metadata"]["resourceVersion"]
    return version
