"""Series of a service come with it, follow it and go with it, over a change of leader too."""

from __future__ import annotations

import gzip
import urllib.request
from typing import TYPE_CHECKING

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.integration.operator.support import OperatorProcess, service, wait_for
from tests.support.controlplane import LOOPBACK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.controlplane import ControlPlane

pytestmark = pytest.mark.timeout(300)  # operators start, lead and end


def told(process: OperatorProcess, namespace: str) -> dict[tuple[str, ...], float]:
    """Samples about a namespace, as Prometheus asks for them, by name and their other labels."""
    request = urllib.request.Request(
        f"http://{LOOPBACK}:{process.port}/metrics",
        headers={
            "Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
            "Accept-Encoding": "gzip",
        },
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        assert answer.headers["Content-Encoding"] == "gzip"
        text = gzip.decompress(answer.read()).decode()
    return {
        (sample.name, *list(sample.labels.values())[1:]): sample.value
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.labels.get("namespace") == namespace
    }


def desired(process: OperatorProcess, namespace: str) -> float | None:
    return told(process, namespace).get(("stoker_service_replicas", "tiny", "desired"))


def test_series_come_with_a_service_follow_it_and_go_with_it(
    plane: ControlPlane, tmp_path: Path, namespace: str
) -> None:
    config = {"lease": {"name": "metrics"}}
    decided = ("stoker_scaling_decisions_total", "tiny", "FixedReplicas")
    with OperatorProcess(plane, tmp_path, "first", config=config) as first:
        wait_for("it leads", first.leads)
        assert told(first, namespace) == {}
        plane.apply(service("tiny", namespace, replicas=1))
        wait_for("one replica is wanted", lambda: desired(first, namespace) == 1)
        found = told(first, namespace)
        assert found["stoker_service_info", "tiny", "tiny", "cpu", "vllm", "balanced"] == 1
        assert found["stoker_service_replicas", "tiny", "ready"] == 0
        assert found["stoker_service_replicas_limit", "tiny", "max"] == 1
        assert [name for name in found if name[:3] == ("stoker_service_condition", "tiny", "Ready")]

        plane.kubectl("scale", "infer", "tiny", "-n", namespace, "--replicas=3")
        wait_for("the change is counted", lambda: told(first, namespace).get((*decided, "up")) == 1)
        plane.kubectl("scale", "infer", "tiny", "-n", namespace, "--replicas=2")
        wait_for("and back", lambda: told(first, namespace).get((*decided, "down")) == 1)
        assert desired(first, namespace) == 2
        wait_for("passes", lambda: 'kind="InferenceService"' in first.fetch("/metrics")[1])

        with OperatorProcess(plane, tmp_path, "second", config=config) as second:
            assert told(second, namespace) == {}, "a standby tells what the leader tells"
            assert second.metric("stoker_leader") == 0
            assert second.metric('stoker_watch_age_seconds{resource="pods"}') is not None
            assert first.stop() == 0
            wait_for("the other leads", second.leads)
            wait_for("it tells of the service", lambda: desired(second, namespace) == 2)
            assert (*decided, "up") not in told(second, namespace), "nobody decided anything anew"

            plane.kubectl("scale", "infer", "tiny", "-n", namespace, "--replicas=1")
            wait_for("counted", lambda: told(second, namespace).get((*decided, "down")) == 1)
            plane.kubectl("delete", "infer", "tiny", "-n", namespace, "--wait=true")
            wait_for("no series is left", lambda: not told(second, namespace))
            # A later service of that name begins with nothing.
            plane.apply(service("tiny", namespace, replicas=1))
            wait_for("the next one", lambda: desired(second, namespace) == 1)
            assert (*decided, "down") not in told(second, namespace)
            assert second.metric("stoker_reconcile_bugs_total") == 0
