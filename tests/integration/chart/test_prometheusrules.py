"""The rules as objects of the Prometheus operator: what the values say is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from e2e.cluster import programs
from e2e.cluster.host import run
from tests.integration.chart.conftest import CHART

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.chart.conftest import Helm, Manifest

ON = ("--set", "prometheusRules.enabled=true")
FILES = {
    path.stem: yaml.safe_load(path.read_text())["groups"] for path in CHART.glob("rules/*.yaml")
}


def rendered(helm: Helm, *arguments: str) -> dict[str, Manifest]:
    manifests = helm.render(*ON, *arguments)
    return {
        item["metadata"]["name"]: item for item in manifests if item["kind"] == "PrometheusRule"
    }


def rules(manifests: dict[str, Manifest]) -> list[dict[str, Any]]:
    return [
        rule
        for item in manifests.values()
        for group in item["spec"]["groups"]
        for rule in group["rules"]
    ]


def test_they_are_off_unless_asked_for(helm: Helm) -> None:
    assert "PrometheusRule" not in {item["kind"] for item in helm.render()}


def test_they_are_what_a_plain_prometheus_reads(helm: Helm, tmp_path: Path) -> None:
    manifests = rendered(helm)
    told = {name: item["spec"]["groups"] for name, item in manifests.items()}
    assert told == {f"stoker-{name}": groups for name, groups in FILES.items()}
    promtool = programs.ensure(["promtool"])["promtool"]
    for name, item in manifests.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(item["spec"]))
        run(promtool, "check", "rules", "--lint=all", "--lint-fatal", path)


def test_the_files_are_good() -> None:
    promtool = programs.ensure(["promtool"])["promtool"]
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", *CHART.glob("rules/*.yaml"))


def test_values_change_them(helm: Helm) -> None:
    manifests = rendered(
        helm,
        "--set", "prometheusRules.namespace=monitoring",
        "--set", "prometheusRules.labels.release=prometheus",
        "--set", "prometheusRules.alertLabels.team=ml",
        "--set", "runbookBaseUrl=https://wiki.example.com/books",
        "--set", "prometheusRules.disabledAlerts={StokerBudgetReached}",
        "--set-json", 'prometheusRules.objectives={"errors": 0.999, "latency": 0.9}',
    )  # fmt: skip
    for item in manifests.values():
        assert item["metadata"]["namespace"] == "monitoring"
        assert item["metadata"]["labels"]["release"] == "prometheus"
    found = rules(manifests)
    alerts = {rule["alert"]: rule for rule in found if "alert" in rule}
    assert "StokerBudgetReached" not in alerts
    assert len(alerts) == sum(len(group["rules"]) for group in FILES["alerts"]) - 1
    for name, rule in alerts.items():
        assert rule["labels"]["team"] == "ml"
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        url = f"https://wiki.example.com/books/{name}.md"
        assert rule["annotations"]["runbook_url"] == url
    objectives = {
        rule["labels"]["slo"]: rule["expr"].split(" ")[0]
        for rule in found
        if rule.get("record") == "stoker:objective:ratio"
    }
    assert objectives == {"errors": "0.999", "ttft": "0.9", "itl": "0.9"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--set", "prometheusRules.disabledAlerts={StokerNothing}"),
            "there is no alert StokerNothing",
        ),
        (("--set", "prometheusRules.alertLabels.severity=none"), "are the alerts' own"),
        (("--set", "prometheusRules.alertLabels.my-team=a"), "alertLabels"),
        (("--set-json", "prometheusRules.objectives.errors=1"), "objectives"),
        (("--set", "runbookBaseUrl=wiki"), "runbookBaseUrl"),
    ],
)
def test_bad_values_are_refused(helm: Helm, arguments: tuple[str, ...], words: str) -> None:
    done = helm.attempt("template", "stoker", str(CHART), *ON, *arguments)
    assert done.returncode != 0
    assert words in done.stderr
