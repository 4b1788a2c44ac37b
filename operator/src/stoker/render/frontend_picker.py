"""The endpoint picker of one track: its configuration and its container.

Flow control holds requests while there is no replica and queues them while replicas are full:

* A replica is full at a waiting queue of `QUEUE_PER_REPLICA` in its engine or at 90 % of its KV
  cache. A few waiting requests keep the engine's batch full between two looks at its metrics (one
  each 50 ms); the rest waits in the picker, where a new replica can still take it.
* Numbers older than `STALE_S` count as full. vLLM answers `/metrics` late while it is busy, so this
  is far above the picker's own 200 ms; and it is what takes a dead pod out, because a pod whose
  metrics cannot be read is filtered from the choices before Kubernetes notices anything.
* A known prefix (3) outweighs what a replica computes (2), but not by much: where two know it, the
  idler one gets the request. Without the second a replica that has just come stays empty, because
  until the first is full its queue is as short as the other's.
* Everybody has priority 0 and one common flow, first come first served: only a negative priority,
  given by an InferenceObjective that a request names, could be shed early, and the proxy strips the
  headers that name one.
"""

import json
from typing import Any, Final

from stoker import naming
from stoker.naming import Track
from stoker.render.frontend_input import (
    HELD_BYTES,
    PORT_PICKER_METRICS,
    FrontendInput,
    TrackPorts,
)
from stoker.render.timeouts import seconds

Json = dict[str, Any]

QUEUE_PER_REPLICA: Final = 8
KV_CACHE_FULL: Final = 0.9
STALE_S: Final = 2
CONFIG_FILE: Final = "picker.json"
CONFIG_DIR: Final = "/etc/stoker"
TOKEN_DIR: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105
MEMORY_LIMIT: Final = "1Gi"
GO_MEMORY_LIMIT: Final = "900MiB"


def render_picker_config(given: FrontendInput) -> str:
    """The picker's configuration file, the same for every track."""
    config: Json = {
        "apiVersion": "inference.networking.x-k8s.io/v1alpha1",
        "kind": "EndpointPickerConfig",
        "featureGates": ["flowControl"],
        "plugins": [
            {
                "type": "utilization-detector",
                "parameters": {
                    "queueDepthThreshold": QUEUE_PER_REPLICA,
                    "kvCacheUtilThreshold": KV_CACHE_FULL,
                    "metricsStalenessThreshold": f"{STALE_S}s",
                },
            },
            {"type": "queue-scorer"},
            {"type": "kv-cache-utilization-scorer"},
            {"type": "running-requests-size-scorer"},
            {"type": "prefix-cache-scorer"},
        ],
        "schedulingProfiles": [
            {
                "name": "default",
                "plugins": [
                    {"pluginRef": "utilization-detector"},
                    {"pluginRef": "queue-scorer", "weight": 2},
                    {"pluginRef": "kv-cache-utilization-scorer", "weight": 2},
                    {"pluginRef": "running-requests-size-scorer", "weight": 2},
                    {"pluginRef": "prefix-cache-scorer", "weight": 3},
                ],
            }
        ],
        "saturationDetector": {"pluginRef": "utilization-detector"},
        "flowControl": {
            "maxRequests": str(given.frontend.max_held),
            "maxBytes": str(HELD_BYTES),
            "defaultRequestTTL": seconds(given.timeouts.hold),
        },
    }
    return json.dumps(config, indent=1)


def picker_arguments(given: FrontendInput, track: Track, config: str) -> list[str]:
    """The picker's command line. What it serves is loopback's or the operator's, so without TLS."""
    ports = given.ports.track(track)
    return [
        f"--pool-name={naming.pool(given.service, track)}",
        f"--pool-namespace={given.namespace}",
        f"--config-file={config}",
        f"--grpc-port={ports.grpc}",
        f"--grpc-health-port={ports.health}",
        f"--metrics-port={ports.metrics}",
        "--metrics-endpoint-auth=false",
        "--secure-serving=false",
        "--enable-pprof=false",
        "--tracing=false",
        "--v=1",  # at 2 it writes lines for every request
    ]


def picker_container(given: FrontendInput, track: Track, security: Json) -> Json:
    """A native sidecar: it starts before Envoy and ends after it.

    Only this container gets a token of the API server.
    """
    ports = given.ports.track(track)
    probe = {"grpc": {"port": ports.health}, "timeoutSeconds": 5}
    return {
        "name": f"picker-{track.value}",
        "image": given.platform.picker_image,
        "restartPolicy": "Always",
        "args": picker_arguments(given, track, f"{CONFIG_DIR}/{CONFIG_FILE}"),
        "env": [
            _field("NAMESPACE", "metadata.namespace"),
            _field("POD_NAME", "metadata.name"),
            {"name": "GOMEMLIMIT", "value": GO_MEMORY_LIMIT},
        ],
        "ports": _container_ports(track, ports),
        "startupProbe": {**probe, "periodSeconds": 1, "failureThreshold": 120},
        "readinessProbe": {**probe, "periodSeconds": 2, "failureThreshold": 3},
        "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 6},
        "resources": {
            "requests": {"cpu": "50m", "memory": "96Mi"},
            "limits": {"memory": MEMORY_LIMIT},
        },
        "securityContext": security,
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_DIR, "readOnly": True},
            {"name": "token", "mountPath": TOKEN_DIR, "readOnly": True},
        ],
    }


def _container_ports(track: Track, ports: TrackPorts) -> list[Json]:
    suffix = "" if track is Track.STABLE else "2"  # a port's name has 15 characters at most
    return [
        {"name": f"{PORT_PICKER_METRICS}{suffix}", "containerPort": ports.metrics},
        {"name": f"picker-grpc{suffix}", "containerPort": ports.grpc},
        {"name": f"picker-health{suffix}", "containerPort": ports.health},
    ]


def _field(name: str, path: str) -> Json:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
