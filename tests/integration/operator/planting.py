"""Objects of a test, and what a kubelet says of pods, by plain requests.

Kubectl's start takes longer than all else that these tests do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.integration.operator.support import CLAIM

if TYPE_CHECKING:
    from tests.support.controlplane import ControlPlane

_STRATEGIC = "application/strategic-merge-patch+json"
_PATHS = {
    "Namespace": ("/api/v1", "namespaces"),
    "Pod": ("/api/v1", "pods"),
    "Service": ("/api/v1", "services"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "ResourceQuota": ("/api/v1", "resourcequotas"),
    "PersistentVolume": ("/api/v1", "persistentvolumes"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "InferenceService": ("/apis/stoker.dev/v1alpha1", "inferenceservices"),
    "ModelCache": ("/apis/stoker.dev/v1alpha1", "modelcaches"),
    "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles"),
    "ClusterRoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings"),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "ValidatingAdmissionPolicy": (
        "/apis/admissionregistration.k8s.io/v1",
        "validatingadmissionpolicies",
    ),
    "ValidatingAdmissionPolicyBinding": (
        "/apis/admissionregistration.k8s.io/v1",
        "validatingadmissionpolicybindings",
    ),
}


def apply(plane: ControlPlane, body: dict[str, Any]) -> None:
    """Server-side apply without kubectl, whose start would take longer than all else here."""
    root, plural = _PATHS[body["kind"]]
    metadata = body["metadata"]
    within = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    path = f"{root}{within}/{plural}/{metadata['name']}?fieldManager=doctor&force=true"
    status, said = plane.request("PATCH", path, body, kind="application/apply-patch+yaml")
    assert status in {200, 201}, said


def tried(plane: ControlPlane, namespace: str, kind: str) -> str:
    """What the API server says to an engine's pod or Deployment, of which it keeps nothing."""
    labels = {"stoker.dev/component": "engine"}
    rights = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    container = {"name": "engine", "image": "engine", "securityContext": rights}
    spec: dict[str, Any] = {"securityContext": security, "containers": [container]}
    if kind == "deployments":
        spec = {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        }
    path = f"{_PATHS['Deployment' if kind == 'deployments' else 'Pod'][0]}/namespaces/{namespace}"
    body = {"metadata": {"name": "tried", "labels": labels}, "spec": spec}
    _, said = plane.request("POST", f"{path}/{kind}?dryRun=All", body)
    return str(said.get("message", ""))


def namespace_of(plane: ControlPlane, name: str) -> str:
    """A namespace with the model's claim, which the controller manager binds."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    apply(plane, body)
    shared = {"accessModes": ["ReadOnlyMany"], "storageClassName": ""}
    volume = {**shared, "capacity": {"storage": "1Mi"}, "hostPath": {"path": "/nowhere"}}
    apply(
        plane,
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"{name}-{CLAIM}"},
            "spec": volume,
        },
    )
    requests = {"requests": {"storage": "1Mi"}}
    claim = {**shared, "volumeName": f"{name}-{CLAIM}", "resources": requests}
    apply(
        plane,
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": CLAIM, "namespace": name},
            "spec": claim,
        },
    )
    return name


def pods(plane: ControlPlane, namespace: str, component: str) -> list[dict[str, Any]]:
    """Pods of that part of the service."""
    path = f"/api/v1/namespaces/{namespace}/pods?labelSelector=stoker.dev/component={component}"
    return list(plane.request("GET", path)[1].get("items") or ())


def say(plane: ControlPlane, pod: dict[str, Any], status: dict[str, Any]) -> None:
    """Write a pod's status, as a kubelet does."""
    metadata = pod["metadata"]
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
    plane.request("PATCH", path, {"status": status}, kind=_STRATEGIC)


def let_view(plane: ControlPlane, namespace: str, user: str) -> None:
    """What the chart's role adds to `view`, and `view`, in one namespace."""
    group = "rbac.authorization.k8s.io"
    rule = {
        "apiGroups": ["stoker.dev"],
        "resources": ["inferenceservices", "modelcaches"],
        "verbs": ["get", "list", "watch"],
    }
    api = {"apiVersion": f"{group}/v1"}
    name = "doctor-view"
    apply(plane, {**api, "kind": "ClusterRole", "metadata": {"name": name}, "rules": [rule]})
    for role in ("view", name):
        subject = {"apiGroup": group, "kind": "User", "name": user}
        apply(
            plane,
            {
                **api,
                "kind": "RoleBinding",
                "metadata": {"name": role, "namespace": namespace},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
                "subjects": [subject],
            },
        )
