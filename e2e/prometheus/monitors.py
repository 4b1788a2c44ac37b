"""ServiceMonitors and PodMonitors as scrape jobs, the way the Prometheus operator writes them.

The local cluster has no Prometheus operator, and what the chart ships are its monitors. So the
chart's own rendered monitors are translated, by the operator's documented rules: which pods a
selector keeps, which labels a target has before the monitor's relabelings come. A field that is not
known here is an error, or the chart could ship what no test ever ran.
"""

from __future__ import annotations

import re
from typing import Any

Json = dict[str, Any]

_SPEC = {"selector", "namespaceSelector", "endpoints", "podMetricsEndpoints", "jobLabel"}
_ENDPOINT = {"port", "path", "interval", "scrapeTimeout", "honorLabels", "relabelings"}
_ENDPOINT |= {
    "metricRelabelings",
    "scheme",
    "filterRunning",
    "fallbackScrapeProtocol",
    "portNumber",
}
_RELABELING = {
    "sourceLabels": "source_labels",
    "separator": "separator",
    "regex": "regex",
    "modulus": "modulus",
    "targetLabel": "target_label",
    "replacement": "replacement",
    "action": "action",
}
_ENDED = "(Failed|Succeeded)"


def scrape_jobs(monitor: Json) -> list[Json]:
    """The scrape jobs of one monitor, one for each of its endpoints.

    Raises
    ------
    ValueError
        The monitor has a field that is not known here; says which.
    """
    kind, spec = monitor["kind"], monitor["spec"]
    _refuse(spec, _SPEC, f"{kind} {monitor['metadata']['name']}: spec")
    endpoints = spec["podMetricsEndpoints" if kind == "PodMonitor" else "endpoints"]
    return [_job(monitor, index, endpoint) for index, endpoint in enumerate(endpoints)]


def _refuse(found: Json, known: set[str], where: str) -> None:
    if unknown := sorted(set(found) - known):
        raise ValueError(f"{where} has {', '.join(unknown)}, which e2e.prometheus does not know")


def _job(monitor: Json, index: int, endpoint: Json) -> Json:
    kind, metadata, spec = monitor["kind"], monitor["metadata"], monitor["spec"]
    where = f"{metadata['namespace']}/{metadata['name']}"
    _refuse(endpoint, _ENDPOINT, f"{kind} {where}: endpoint {index}")
    pods = kind == "PodMonitor"
    discovery: Json = {"role": "pod" if pods else "endpointslice"}
    if names := _namespaces(monitor):
        discovery["namespaces"] = {"names": names}
    job: Json = {
        "job_name": f"{kind[0].lower()}{kind[1:]}/{where}/{index}",
        "honor_labels": endpoint.get("honorLabels", False),
        "metrics_path": endpoint.get("path", "/metrics"),
        "scheme": endpoint.get("scheme", "http"),
        "kubernetes_sd_configs": [discovery],
        "relabel_configs": [
            *_kept(spec["selector"], "pod" if pods else "service"),
            *(_pod_labels(endpoint, where) if pods else _service_labels(endpoint)),
            *(_relabeling(each) for each in endpoint.get("relabelings", [])),
        ],
        "metric_relabel_configs": [
            _relabeling(each) for each in endpoint.get("metricRelabelings", [])
        ],
    }
    for ours, theirs in (
        ("interval", "scrape_interval"),
        ("scrapeTimeout", "scrape_timeout"),
        ("fallbackScrapeProtocol", "fallback_scrape_protocol"),
    ):
        if ours in endpoint:
            job[theirs] = endpoint[ours]
    return job


def _namespaces(monitor: Json) -> list[str]:
    """Namespaces to look in; none means all."""
    chosen = monitor["spec"].get("namespaceSelector", {})
    _refuse(chosen, {"any", "matchNames"}, f"{monitor['kind']}: namespaceSelector")
    if chosen.get("any"):
        return []
    names: list[str] = chosen.get("matchNames", [monitor["metadata"]["namespace"]])
    return names


def _label(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)


def _keep(sources: list[str], regex: str, action: str = "keep") -> Json:
    return {"source_labels": sources, "regex": regex, "action": action}


def _kept(selector: Json, what: str) -> list[Json]:
    """Rules that keep what a label selector selects."""
    _refuse(selector, {"matchLabels", "matchExpressions"}, "selector")
    rules = []
    for name, value in sorted(selector.get("matchLabels", {}).items()):
        own, there = _sources(what, name)
        rules.append(_keep([own, there], f"({re.escape(value)});true"))
    for each in selector.get("matchExpressions", []):
        own, there = _sources(what, each["key"])
        values = "|".join(re.escape(value) for value in each.get("values", []))
        match each["operator"]:
            case "In":
                rules.append(_keep([own, there], f"({values});true"))
            case "NotIn":
                rules.append(_keep([own, there], f"({values});true", "drop"))
            case "Exists":
                rules.append(_keep([there], "true"))
            case "DoesNotExist":
                rules.append(_keep([there], "true", "drop"))
            case other:
                raise ValueError(f"selector: no operator {other}")
    return rules


def _sources(what: str, name: str) -> tuple[str, str]:
    meta = f"__meta_kubernetes_{what}"
    return f"{meta}_label_{_label(name)}", f"{meta}_labelpresent_{_label(name)}"


def _named(source: str, target: str) -> Json:
    return {"source_labels": [f"__meta_kubernetes_{source}"], "target_label": target}


def _pod_labels(endpoint: Json, where: str) -> list[Json]:
    """What a PodMonitor's targets are and which labels they have."""
    meta = "__meta_kubernetes_pod"
    rules = (
        [_keep([f"{meta}_phase"], _ENDED, "drop")] if endpoint.get("filterRunning", True) else []
    )
    if "portNumber" in endpoint:
        rules.append(_keep([f"{meta}_container_port_number"], str(endpoint["portNumber"])))
    else:
        rules.append(_keep([f"{meta}_container_port_name"], re.escape(endpoint["port"])))
    return [
        *rules,
        _named("namespace", "namespace"),
        _named("pod_container_name", "container"),
        _named("pod_name", "pod"),
        {"target_label": "job", "replacement": where},
        {"target_label": "endpoint", "replacement": str(endpoint.get("port", ""))},
    ]


def _service_labels(endpoint: Json) -> list[Json]:
    """What a ServiceMonitor's targets are and which labels they have."""
    target = ["__meta_kubernetes_endpointslice_address_target_kind"]
    target.append("__meta_kubernetes_endpointslice_address_target_name")
    port = re.escape(endpoint["port"])
    return [
        _keep(["__meta_kubernetes_endpointslice_port_name"], port),
        {"source_labels": target, "separator": ";", "regex": "Node;(.*)", "target_label": "node"},
        {"source_labels": target, "separator": ";", "regex": "Pod;(.*)", "target_label": "pod"},
        _named("namespace", "namespace"),
        _named("service_name", "service"),
        _named("pod_name", "pod"),
        _named("pod_container_name", "container"),
        _keep(["__meta_kubernetes_pod_phase"], _ENDED, "drop"),
        {"source_labels": ["__meta_kubernetes_service_name"], "target_label": "job"},
        {"target_label": "endpoint", "replacement": endpoint["port"]},
    ]


def _relabeling(rule: Json) -> Json:
    _refuse(rule, set(_RELABELING), "relabeling")
    return {_RELABELING[name]: value for name, value in rule.items()}
