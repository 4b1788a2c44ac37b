"""The configuration that docs/metrics.md shows is one that Prometheus takes, with every port."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster import programs
from e2e.cluster.host import run
from stoker.naming import Component, labels
from stoker.render.engine import render_engine
from stoker.render.frontend import render_frontend
from tests.unit.render.test_engine import OWNER, replica
from tests.unit.render.test_frontend import TWO

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


@pytest.fixture
def shown() -> str:
    (block,) = re.findall(r"```yaml\n(# prometheus.yml\n.*?)```", PAGE.read_text(), re.DOTALL)
    return str(block)


def kept(jobs: list[dict[str, Any]], pod: dict[str, Any]) -> list[tuple[str, str]]:
    """Job and port of every target that these jobs make of a pod."""
    found = []
    for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
        for port in container.get("ports", ()):
            seen = {
                f"__meta_kubernetes_pod_label_{re.sub('[^a-z0-9]', '_', name)}": value
                for name, value in pod["metadata"]["labels"].items()
            } | {"__meta_kubernetes_pod_container_port_name": port["name"]}
            found += [
                (job["job_name"], port["name"])
                for job in jobs
                for rule in job["relabel_configs"]
                if rule.get("action") == "keep"
                and re.fullmatch(
                    rule["regex"], ";".join(seen.get(name, "") for name in rule["source_labels"])
                )
            ]
    return found


def test_prometheus_takes_it(shown: str, tmp_path: Path) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text(shown)
    promtool = programs.ensure(["promtool"])["promtool"]
    done = run(promtool, "check", "config", "--syntax-only", file, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_finds_every_port_once(shown: str) -> None:
    jobs = yaml.safe_load(shown)["scrape_configs"]
    engine = render_engine(OWNER, "r", replica("cpu"), 1)["spec"]["template"]
    assert kept(jobs, engine) == [("stoker-engines", "http"), ("stoker-engines", "worker")]
    frontend = render_frontend(TWO)[-1]["spec"]["template"]
    assert sorted(port for _, port in kept(jobs, frontend)) == [
        "ops",
        "picker-metrics",
        "picker-metrics2",
    ]
    assert {job for job, _ in kept(jobs, frontend)} == {"stoker-frontends"}
    other = {"metadata": {"labels": labels("x", Component.FACTS)}, "spec": engine["spec"]}
    assert kept(jobs, other) == []
