"""Monitors become the scrape jobs that the Prometheus operator would write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster import programs
from e2e.cluster.host import run
from e2e.prometheus import configuration, rules
from e2e.prometheus.monitors import scrape_jobs


def monitor(kind: str, **spec: Any) -> dict[str, Any]:
    endpoints = "endpoints" if kind == "ServiceMonitor" else "podMetricsEndpoints"
    return {
        "kind": kind,
        "metadata": {"name": "stoker", "namespace": "stoker-system"},
        "spec": {
            "selector": {"matchLabels": {"app.kubernetes.io/name": "stoker"}},
            endpoints: [{"port": "http", "interval": "5s"}],
            **spec,
        },
    }


def sources(rule: dict[str, Any]) -> list[str]:
    found: list[str] = rule.get("source_labels", [])
    return [each.removeprefix("__meta_kubernetes_") for each in found]


def test_a_service_monitor_looks_in_its_own_namespace() -> None:
    (job,) = scrape_jobs(monitor("ServiceMonitor"))
    assert job["job_name"] == "serviceMonitor/stoker-system/stoker/0"
    (discovery,) = job["kubernetes_sd_configs"]
    assert discovery == {"role": "endpointslice", "namespaces": {"names": ["stoker-system"]}}
    assert job["scrape_interval"] == "5s"
    first = job["relabel_configs"][0]
    assert first["regex"] == "(stoker);true"
    assert sources(first) == [
        "service_label_app_kubernetes_io_name",
        "service_labelpresent_app_kubernetes_io_name",
    ]


def test_a_pod_monitor_may_look_everywhere_and_relabels_last() -> None:
    own = [{"sourceLabels": ["__meta_kubernetes_pod_label_x"], "targetLabel": "service"}]
    (job,) = scrape_jobs(
        monitor(
            "PodMonitor",
            namespaceSelector={"any": True},
            selector={
                "matchExpressions": [
                    {"key": "stoker.dev/component", "operator": "In", "values": ["engine", "a.b"]},
                    {"key": "stoker.dev/service", "operator": "Exists"},
                ]
            },
            podMetricsEndpoints=[{"port": "http", "relabelings": own, "honorLabels": True}],
        )
    )
    assert job["kubernetes_sd_configs"] == [{"role": "pod"}]
    assert job["honor_labels"]
    component, present, *_, last = job["relabel_configs"]
    assert component["regex"] == r"(engine|a\.b);true"
    assert sources(present) == ["pod_labelpresent_stoker_dev_service"]
    assert last == {
        "source_labels": ["__meta_kubernetes_pod_label_x"],
        "target_label": "service",
    }


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("PodMonitor", {"podTargetLabels": ["a"]}),
        ("PodMonitor", {"podMetricsEndpoints": [{"port": "http", "bearerTokenSecret": {}}]}),
        ("ServiceMonitor", {"namespaceSelector": {"matchLabels": {}}}),
        ("ServiceMonitor", {"endpoints": [{"port": "http", "relabelings": [{"from": "a"}]}]}),
    ],
)
def test_what_is_not_known_is_not_left_out(kind: str, spec: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="does not know"):
        scrape_jobs(monitor(kind, **spec))


def test_prometheus_takes_them(tmp_path: Path) -> None:
    shipped = [
        monitor("ServiceMonitor"),
        monitor("PodMonitor", namespaceSelector={"any": True}),
        {"kind": "PrometheusRule", "spec": {"groups": [{"name": "one", "rules": []}]}},
    ]
    assert rules(shipped) == {"groups": [{"name": "one", "rules": []}]}
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration(shipped) | {"rule_files": []}))
    promtool = programs.ensure(["promtool"])["promtool"]
    # Without looking for the ServiceAccount's files, which only the pod has.
    command = (promtool, "check", "config", "--syntax-only", file)
    done = run(*command, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
