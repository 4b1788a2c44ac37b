"""Where pods and services answer."""

from dataclasses import replace

from stoker.render import addresses
from tests.unit.plan import worlds


def test_a_service() -> None:
    assert addresses.service_url(worlds.KEY, "cluster.local") == (
        "http://llama.chat.svc.cluster.local/v1"
    )


def test_pods_of_both_families() -> None:
    pod = worlds.pod(ready=True)
    assert addresses.engine_metrics_url(pod) == "http://10.0.0.1:8000/metrics"
    assert addresses.pod_url(replace(pod, ip="fd00::1"), 8001) == "http://[fd00::1]:8001"


def test_a_pod_without_an_address() -> None:
    assert addresses.engine_metrics_url(worlds.pod()) is None
