"""The objects that Prometheus runs as: what the usual charts give it, and no more."""

from __future__ import annotations

from typing import Any

from e2e.stack import MONITORING_NAMESPACE

Json = dict[str, Any]

NAMESPACE = MONITORING_NAMESPACE
NAME = "prometheus"
PORT = 9090
_LABELS = {"app.kubernetes.io/name": NAME}
_LOOK = ["get", "list", "watch"]


def objects(image: str, files: dict[str, str]) -> list[Json]:
    """The namespace, the rights, the files, the pod and its Service."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": NAMESPACE,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        },
        _object("v1", "ServiceAccount"),
        *_rights(),
        _object("v1", "ConfigMap", data=files),
        _object("v1", "Pod", spec=_pod(image)),
        _object(
            "v1",
            "Service",
            spec={"selector": _LABELS, "ports": [{"name": "web", "port": PORT}]},
        ),
    ]


def _object(version: str, kind: str, **fields: Any) -> Json:
    metadata = {"name": NAME, "namespace": NAMESPACE, "labels": _LABELS}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def _rights() -> list[Json]:
    """Finding targets, and nothing else."""
    api = "rbac.authorization.k8s.io"
    name = {"name": f"{NAMESPACE}-{NAME}"}
    rules = [
        {"apiGroups": [""], "resources": ["pods", "services", "endpoints"], "verbs": _LOOK},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _LOOK},
    ]
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    role = {"apiGroup": api, "kind": "ClusterRole", **name}
    head = {"apiVersion": f"{api}/v1", "metadata": name}
    return [
        {**head, "kind": "ClusterRole", "rules": rules},
        {**head, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": [subject]},
    ]


def _pod(image: str) -> Json:
    return {
        "serviceAccountName": NAME,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": NAME,
                "image": image,
                "args": [
                    "--config.file=/etc/prometheus/prometheus.yml",
                    "--storage.tsdb.path=/data",
                    f"--web.listen-address=:{PORT}",
                ],
                "ports": [{"name": "web", "containerPort": PORT}],
                "readinessProbe": {
                    "httpGet": {"path": "/-/ready", "port": "web"},
                    "periodSeconds": 1,
                },
                "resources": {
                    "requests": {"cpu": "20m", "memory": "200Mi"},
                    "limits": {"memory": "1Gi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": True,
                },
                "volumeMounts": [
                    {"name": "config", "mountPath": "/etc/prometheus"},
                    {"name": "data", "mountPath": "/data"},
                ],
            }
        ],
        "volumes": [
            {"name": "config", "configMap": {"name": NAME}},
            {"name": "data", "emptyDir": {}},
        ],
    }
