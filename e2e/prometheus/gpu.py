"""What only a machine with an accelerator tells, played: this one has none.

A page of NVIDIA's DCGM exporter (`dcgm.txt`) has the families, help texts, units and labels of the
exporter's documentation and of its default list of counters, as one L4 under load would show them.
Its figures are made up and never change. What is real is everything behind it: a pod serves the
page, Prometheus scrapes it with `pod` and `namespace` clashing as they do with the real exporter,
and the recording rules find the service by the name of an engine pod that runs.

And one series of the operator: what a token of output costs over one of input. It follows from an
accelerator's pace, and of processors no plan knows one; the figure is what a plan for an L4 says.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

from e2e.prometheus.manifests import NAMESPACE
from e2e.test_00_cluster import RESTRICTED

Json = dict[str, Any]

NAME = "played-dcgm-exporter"
PORT = 9400
_PAGE = Path(__file__).parent / "dcgm.txt"
_FILE = "metrics.txt"  # by its ending it is served as text
_META = "__meta_kubernetes"

_PLANNED = "planned.txt"
_RATIO = "stoker_service_token_cost_ratio"
_RATIO_OF_AN_L4 = 258

# As the ServiceMonitor of the exporter's chart has it: no honorLabels, so its own labels `pod` and
# `namespace` arrive as `exported_pod` and `exported_namespace`.
JOB: Json = {
    "job_name": NAME,
    "metrics_path": f"/{_FILE}",
    "kubernetes_sd_configs": [{"role": "pod", "namespaces": {"names": [NAMESPACE]}}],
    "relabel_configs": [
        {"source_labels": [f"{_META}_pod_label_app"], "regex": NAME, "action": "keep"},
        {"source_labels": [f"{_META}_namespace"], "target_label": "namespace"},
        {"source_labels": [f"{_META}_pod_name"], "target_label": "pod"},
    ],
}

# As the chart's ServiceMonitor scrapes the operator.
PLANNED_JOB: Json = {
    **JOB,
    "job_name": "played-operator",
    "metrics_path": f"/{_PLANNED}",
    "honor_labels": True,
}
JOBS = (JOB, PLANNED_JOB)


def planned(namespace: str, service: str) -> str:
    """The operator's series of a service whose plan knows its pace."""
    labels = f'namespace="{namespace}",service="{service}"'
    return f"# TYPE {_RATIO} gauge\n{_RATIO}{{{labels}}} {_RATIO_OF_AN_L4}\n"


def page(namespace: str, pod: str) -> str:
    """The exporter's page on a node where a pod has one accelerator."""
    labels = {
        "gpu": "0",
        "UUID": "GPU-5c2f6d3a-0000-4000-8000-000000000001",
        "pci_bus_id": "00000000:00:1E.0",
        "device": "nvidia0",
        "modelName": "NVIDIA L4",
        "Hostname": "played",
        "DCGM_FI_DRIVER_VERSION": "570.86.15",
        "container": "engine",
        "namespace": namespace,
        "pod": pod,
    }
    shown = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return string.Template(_PAGE.read_text()).substitute(labels=shown)


def objects(image: str, namespace: str, service: str, pod: str) -> list[Json]:
    """Both pages in a ConfigMap, and the pod that serves them."""
    pages = {_FILE: page(namespace, pod), _PLANNED: planned(namespace, service)}
    metadata = {"name": NAME, "namespace": NAMESPACE, "labels": {"app": NAME}}
    program = ["python3", "-m", "http.server", str(PORT), "--directory", "/page"]
    container = {
        "name": "exporter",
        "image": image,
        "command": program,
        "ports": [{"name": "metrics", "containerPort": PORT}],
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "page", "mountPath": "/page"}],
    }
    spec = {
        "containers": [container],
        "terminationGracePeriodSeconds": 1,
        "volumes": [{"name": "page", "configMap": {"name": NAME}}],
    }
    head = {"apiVersion": "v1", "metadata": metadata}
    return [
        {**head, "kind": "ConfigMap", "data": pages},
        {**head, "kind": "Pod", "spec": spec},
    ]
