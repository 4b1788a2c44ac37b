"""The dashboards as the chart ships them: ConfigMaps that a sidecar of Grafana finds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from charts.observability.dashboards import BOARDS, files
from charts.observability.rulefile import RUNBOOKS
from tests.integration.chart.conftest import CHART, NAMESPACE

if TYPE_CHECKING:
    from tests.integration.chart.conftest import Helm

ON = ("--set", "dashboards.enabled=true")


def dashboards(helm: Helm, *extra: str) -> dict[str, dict[str, Any]]:
    found = helm.render(*extra)
    return {
        item["metadata"]["name"]: item
        for item in found
        if "-dashboard-" in item["metadata"]["name"]
    }


def test_they_are_off_unless_asked_for(helm: Helm) -> None:
    assert not dashboards(helm)


def test_each_is_a_configmap_that_the_sidecar_finds(helm: Helm) -> None:
    found = dashboards(helm, *ON)
    assert len(found) == len(BOARDS)
    for board in BOARDS:
        item = found[f"stoker-dashboard-{board.uid.removeprefix('stoker-')}"]
        assert item["kind"] == "ConfigMap"
        meta = item["metadata"]
        assert meta["namespace"] == NAMESPACE
        assert meta["labels"]["grafana_dashboard"] == "1"
        assert meta["labels"]["app.kubernetes.io/part-of"] == "stoker"
        assert meta["annotations"] == {"grafana_folder": "Stoker"}
        (name,) = item["data"]
        assert name == f"{board.uid}.json"
        assert json.loads(item["data"][name]) == json.loads(files()[f"dashboards/{name}"])
        assert len(item["data"][name].encode()) < 2**20


def test_label_folder_and_namespace_can_be_chosen(helm: Helm) -> None:
    found = dashboards(
        helm, *ON, "--set", "dashboards.label=find-me", "--set-string", "dashboards.labelValue=yes",
        "--set", "dashboards.namespace=monitoring",
        "--set-json", 'dashboards.annotations={"grafana_folder": null, "folder": "AI"}',
    )  # fmt: skip
    assert len(found) == len(BOARDS)
    for item in found.values():
        assert item["metadata"]["namespace"] == "monitoring"
        assert item["metadata"]["labels"]["find-me"] == "yes"
        assert "grafana_dashboard" not in item["metadata"]["labels"]
        assert item["metadata"]["annotations"] == {"folder": "AI"}


def test_runbooks_can_lie_elsewhere(helm: Helm) -> None:
    found = dashboards(helm, *ON, "--set", "runbookBaseUrl=https://wiki.example/run")
    texts = [text for item in found.values() for text in item["data"].values()]
    assert any("https://wiki.example/run/" in text for text in texts)
    assert not any(RUNBOOKS in text for text in texts)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("dashboards.enable=true", "additional properties 'enable' not allowed"),
        ("dashboards.label=", "at '/dashboards/label'"),
        ("dashboards.namespace=Monitoring", "at '/dashboards/namespace'"),
        ("runbookBaseUrl=wiki.example", "at '/runbookBaseUrl'"),
        ("runbookBaseUrl=https://wiki.example/", "at '/runbookBaseUrl'"),
    ],
)
def test_what_is_misspelt_is_refused(helm: Helm, setting: str, said: str) -> None:
    done = helm.attempt("template", "stoker", str(CHART), "--set", setting)
    assert done.returncode != 0
    assert said in done.stderr
