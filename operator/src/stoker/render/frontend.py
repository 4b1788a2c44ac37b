"""The address of a service as manifests: Envoy and its pickers, and what they need.

The caller adds owner references and the digest of what was applied; everything else is here, and
equal inputs give equal bytes. Four promises shape the pod:

* A change of configuration is a new ConfigMap name, so it rolls like any change and rolls back.
* It rolls without loss: a new pod is ready before an old one goes, and an old one goes by its
  preStop hook (see `envoy_drain`) and not before the last request is answered.
* Pickers are native sidecars: they start before Envoy, and end after it with what they hold.
* Nobody holds more than needed: the API token reaches the pickers alone, the ops port answers two
  paths, Envoy's admin interface stays on loopback.
"""

import hashlib
import json
from typing import Any, Final

from stoker import naming
from stoker.naming import Component
from stoker.render import readers
from stoker.render.envoy import render_envoy
from stoker.render.envoy_drain import PATH_DRAIN
from stoker.render.frontend_input import (
    PATH_LIVE,
    PATH_METRICS,
    PATH_READY,
    PORT_API,
    PORT_OPS,
    FrontendInput,
    TrackWeight,
)
from stoker.render.frontend_network import render_network_policy
from stoker.render.frontend_picker import (
    CONFIG_DIR,
    CONFIG_FILE,
    picker_container,
    render_picker_config,
)
from stoker_worker.contract import ENGINE_PORT

Json = dict[str, Any]

ENVOY_FILE: Final = "envoy.json"
SERVICE_PORT: Final = 80
USER: Final = 65532
ENVOY_THREADS: Final = 2
TOKEN_SECONDS: Final = 3607


def render_frontend_config(given: FrontendInput) -> dict[str, str]:
    """The files of the frontend's ConfigMap."""
    return {ENVOY_FILE: render_envoy(given), CONFIG_FILE: render_picker_config(given)}


def config_digest(files: dict[str, str]) -> str:
    """Ten hexadecimal digits that name the files' content."""
    content = json.dumps(files, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(content).hexdigest()[:10]


def render_frontend(given: FrontendInput) -> tuple[Json, ...]:
    """Every object of the frontend, in the order in which to apply them."""
    files = render_frontend_config(given)
    config = naming.frontend_config(given.service, config_digest(files))
    return (
        _object(given, "v1", "ServiceAccount", automountServiceAccountToken=False),
        _role(given),
        _role_binding(given),
        *(render_pool(given, track) for track in given.tracks),
        _object(given, "v1", "ConfigMap", name=config, data=files),
        render_network_policy(given),
        _budget(given),
        _service(given),
        _deployment(given, config),
    )


def render_pool(given: FrontendInput, track: TrackWeight) -> Json:
    """The pool of one track: which engine pods its picker chooses from."""
    selector = naming.selector(given.service, Component.ENGINE, track.revision)
    spec = {
        "selector": {"matchLabels": selector},
        "targetPorts": [{"number": ENGINE_PORT}],
        # The field is required; our own pickers do not look at it.
        "endpointPickerRef": {
            "name": naming.frontend(given.service),
            "port": {"number": given.ports.track(track.track).grpc},
        },
    }
    return _object(
        given,
        "inference.networking.k8s.io/v1",
        "InferencePool",
        name=naming.pool(given.service, track.track),
        spec=spec,
    )


def _role(given: FrontendInput) -> Json:
    read = ["get", "list", "watch"]
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": read},
        {
            "apiGroups": ["inference.networking.k8s.io"],
            "resources": ["inferencepools"],
            "verbs": read,
        },
        {
            "apiGroups": ["inference.networking.x-k8s.io"],
            "resources": ["inferenceobjectives", "inferencemodelrewrites"],
            "verbs": read,
        },
    ]
    return _object(given, "rbac.authorization.k8s.io/v1", "Role", rules=rules)


def _role_binding(given: FrontendInput) -> Json:
    name = naming.frontend(given.service)
    return _object(
        given,
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        subjects=[{"kind": "ServiceAccount", "name": name, "namespace": given.namespace}],
    )


def _budget(given: FrontendInput) -> Json:
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": _selector(given)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return _object(given, "policy/v1", "PodDisruptionBudget", spec=spec)


def _service(given: FrontendInput) -> Json:
    port = {"name": PORT_API, "port": SERVICE_PORT, "targetPort": PORT_API, "protocol": "TCP"}
    spec = {"type": "ClusterIP", "selector": _selector(given), "ports": [port]}
    return _object(given, "v1", "Service", name=naming.address(given.service), spec=spec)


def _deployment(given: FrontendInput, config: str) -> Json:
    selector = _selector(given)
    template = {
        "metadata": _pod_metadata(given),
        "spec": _pod_spec(given, config, selector),
    }
    spec = {
        "replicas": given.frontend.replicas,
        "revisionHistoryLimit": 2,
        "selector": {"matchLabels": selector},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        },
        "template": template,
    }
    return _object(given, "apps/v1", "Deployment", spec=spec)


def _pod_metadata(given: FrontendInput) -> Json:
    metadata: Json = {"labels": naming.labels(given.service, Component.FRONTEND)}
    if given.platform.scrape_annotations:
        # One port can be named: Envoy's, which knows every request.
        metadata["annotations"] = readers.annotations(given.ports.ops, PATH_METRICS)
    return metadata


def _pod_spec(given: FrontendInput, config: str, selector: dict[str, str]) -> Json:
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    spec: Json = {
        "serviceAccountName": naming.frontend(given.service),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": given.timeouts.frontend_grace,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector},
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ],
        "initContainers": [
            picker_container(given, track.track, security) for track in given.tracks
        ],
        "containers": [_envoy_container(given, security)],
        "volumes": [{"name": "config", "configMap": {"name": config}}, _token_volume()],
    }
    if given.platform.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in given.platform.image_pull_secrets]
    return spec


def _envoy_container(given: FrontendInput, security: Json) -> Json:
    ports = given.ports
    return {
        "name": "envoy",
        "image": given.platform.envoy_image,
        "args": [
            *("-c", f"{CONFIG_DIR}/{ENVOY_FILE}"),
            *("--concurrency", str(ENVOY_THREADS)),
            *("--log-level", "warning"),
            # A drain sends every client away at once, not more and more of them over ten minutes.
            *("--drain-strategy", "immediate"),
            "--disable-hot-restart",
        ],
        "ports": [
            {"name": PORT_API, "containerPort": ports.api},
            {"name": PORT_OPS, "containerPort": ports.ops},
        ],
        "startupProbe": _probe(PATH_READY, ports.ops, period=1, failures=60),
        # Patient: an unready frontend refuses connections, and on a busy node a live one misses a
        # probe now and then. A dead one is found by the next connection anyway.
        "readinessProbe": _probe(PATH_READY, ports.ops, period=2, failures=3),
        "livenessProbe": _probe(PATH_LIVE, ports.ops, period=10, failures=6),
        "lifecycle": {"preStop": {"httpGet": {"path": PATH_DRAIN, "port": ports.drain}}},
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"memory": "1Gi"},
        },
        "securityContext": security,
        "volumeMounts": [{"name": "config", "mountPath": CONFIG_DIR, "readOnly": True}],
    }


def _probe(path: str, port: int, *, period: int, failures: int) -> Json:
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 5,
    }


def _token_volume() -> Json:
    """What automounting would give to every container, for the pickers alone."""
    return {
        "name": "token",
        "projected": {
            "sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_SECONDS}},
                {
                    "configMap": {
                        "name": "kube-root-ca.crt",
                        "items": [{"key": "ca.crt", "path": "ca.crt"}],
                    }
                },
                {
                    "downwardAPI": {
                        "items": [
                            {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}
                        ]
                    }
                },
            ]
        },
    }


def _selector(given: FrontendInput) -> dict[str, str]:
    return naming.selector(given.service, Component.FRONTEND)


def _object(
    given: FrontendInput, version: str, kind: str, *, name: str | None = None, **content: object
) -> Json:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {
            "name": name or naming.frontend(given.service),
            "namespace": given.namespace,
            "labels": naming.labels(given.service, Component.FRONTEND),
        },
        **content,
    }
