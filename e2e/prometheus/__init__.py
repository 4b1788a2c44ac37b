"""A real Prometheus on the cluster, scraping what the chart's monitors select.

It runs as a pod with a ServiceAccount that may look at targets and nothing else, in a namespace of
its own, as at any user's. So a NetworkPolicy that shuts a user's Prometheus out shuts this one out.
Its scrape jobs are the chart's monitors (`monitors`), its rules the chart's PrometheusRule. It
starts with the first service of a run and records all of it: what a test asks later, it asks of
everything that happened, with no traffic made again.
"""

from __future__ import annotations

import json
import tempfile
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from e2e.cluster import lifecycle
from e2e.cluster.images import ensure_images
from e2e.cluster.progress import Progress
from e2e.prometheus.manifests import NAME, NAMESPACE, PORT, objects
from e2e.prometheus.monitors import scrape_jobs
from e2e.stack import CHART, OPERATOR_NAMESPACE, RELEASE, Stack, is_ready

if TYPE_CHECKING:
    from collections.abc import Iterable

Json = dict[str, Any]
MONITORING_API = "monitoring.coreos.com/v1"
SCRAPE_SECONDS = 5
"""Between two scrapes, and two evaluations: a user's choice, here for faults of a minute."""
INTERVAL = f"{SCRAPE_SECONDS}s"
CLUSTER = {"target_label": "cluster", "replacement": "local"}
READY_SECONDS = 90
ASK_SECONDS = 30
ALERT_SECONDS = 120


class QueryError(AssertionError):
    """Prometheus refused a question; says which and why."""


@dataclass(frozen=True)
class Prometheus:
    """Prometheus as it runs."""

    stack: Stack
    url: str
    began: float
    """When it started, seconds since the epoch."""

    def ask(self, path: str, **parameters: Any) -> Any:
        """The data of an answer of its HTTP API."""
        query = urllib.parse.urlencode(parameters, doseq=True)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.url}/api/v1/{path}?{query}", timeout=ASK_SECONDS) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")
            raise QueryError(f"Prometheus answers {error.code} to {parameters}: {said}") from None

    def now(self, expression: str) -> list[Json]:
        """The series of an expression at this moment."""
        return list(self.ask("query", query=expression)["result"])

    def value(self, expression: str) -> float | None:
        """The first series' value at this moment; None when there is none."""
        found = self.now(expression)
        return float(found[0]["value"][1]) if found else None

    def over(self, expression: str) -> list[Json]:
        """The series of an expression over all that was recorded; what one scrape saw is in it."""
        end = time.time()
        # Prometheus answers at most 11,000 points a series.
        step = max(SCRAPE_SECONDS, (end - self.began) / 10_000)
        parameters = {"query": expression, "start": self.began, "end": end, "step": step}
        return list(self.ask("query_range", **parameters)["result"])

    def fired(self, alert: str, **labels: str) -> list[Json]:
        """The labels of each alert of this name that has fired since the start."""
        wanted = "".join(f',{name}="{value}"' for name, value in labels.items())
        found = self.over(f'ALERTS{{alertname="{alert}",alertstate="firing"{wanted}}}')
        return [each["metric"] for each in found]

    def wait_fired(self, alert: str, **labels: str) -> None:
        """Wait until an alert fires, or see that it has."""
        self.stack.wait_for(
            lambda: self.fired(alert, **labels), f"{alert} to fire for {labels}", ALERT_SECONDS
        )

    def targets(self) -> list[Json]:
        """What it scrapes, with the health and the last error of each."""
        return list(self.ask("targets", state="active")["activeTargets"])


def record(stack: Stack, extra_jobs: Iterable[Json] = ()) -> Prometheus:
    """Start Prometheus afresh, with nothing recorded, and return once it answers."""
    image = ensure_images(["prometheus"], mode=stack.cluster.mode)["prometheus"]
    with Progress("start Prometheus"):
        stack.kubectl("delete", "pod", NAME, "-n", NAMESPACE, "--ignore-not-found", "--wait=true")
        shipped = rendered(stack)
        files = {
            "prometheus.yml": yaml.safe_dump(configuration(shipped, extra_jobs), sort_keys=False),
            "rules.yml": yaml.safe_dump(rules(shipped), sort_keys=False),
        }
        stack.apply(objects(image, files))
        stack.wait_for(
            lambda: is_ready(stack.get("pod", NAME, NAMESPACE) or {"metadata": {}}),
            "Prometheus to be ready (kubectl logs -n monitoring prometheus)",
            READY_SECONDS,
        )
        found = stack.get("service", NAME, NAMESPACE)
        assert found is not None, "no Service of Prometheus"
        url = f"http://{found['spec']['clusterIP']}:{PORT}"
        # kube-proxy learns of a ready pod a moment later than its status says it.
        stack.wait_for(lambda: lifecycle.answers(f"{url}/-/ready"), "Prometheus to answer", 30)
    return Prometheus(stack, url, time.time())


def rendered(stack: Stack) -> list[Json]:
    """The chart's monitors and rules, as Helm renders them where the Prometheus operator runs."""
    values = stack.values() | {
        "serviceMonitor": {"enabled": True, "interval": INTERVAL},
        "podMonitor": {"enabled": True, "interval": INTERVAL},
        "prometheusRules": {"enabled": True},
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        text = stack.cluster.helm(
            "template", RELEASE, str(CHART), "--namespace", OPERATOR_NAMESPACE,
            "--values", file.name, "--api-versions", MONITORING_API,
        ).stdout  # fmt: skip
    found = [each for each in yaml.safe_load_all(text) if each]
    return [each for each in found if each["apiVersion"] == MONITORING_API]


def configuration(shipped: Iterable[Json], extra_jobs: Iterable[Json] = ()) -> Json:
    """Prometheus' own configuration."""
    monitors = [each for each in shipped if each["kind"] != "PrometheusRule"]
    jobs = [job for each in monitors for job in scrape_jobs(each)]
    # `cluster` is on the targets, so that rules and dashboards meet it: a label of
    # `external_labels` is for those that are told, and in no answer of this Prometheus.
    named = [
        {**job, "relabel_configs": [*job["relabel_configs"], CLUSTER]}
        for job in [*jobs, *extra_jobs]
    ]
    return {
        "global": {
            "scrape_interval": INTERVAL,
            "evaluation_interval": INTERVAL,
        },
        "rule_files": ["/etc/prometheus/rules.yml"],
        "scrape_configs": named,
    }


def rules(shipped: Iterable[Json]) -> Json:
    """The rule file: the groups of every PrometheusRule."""
    found = [each["spec"]["groups"] for each in shipped if each["kind"] == "PrometheusRule"]
    return {"groups": [group for groups in found for group in groups]}
