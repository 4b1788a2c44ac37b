"""The dialects of rules and those of the operator are the same."""

import pytest

from charts.observability import names
from charts.observability.dialects import HISTOGRAMS, SINGLES
from charts.observability.metric import Metric
from stoker.telemetry import dialects, timings


@pytest.mark.parametrize(
    ("metric", "series"),
    [
        (names.REQUESTS_RUNNING, dialects.RUNNING),
        (names.REQUESTS_WAITING, dialects.WAITING),
        (names.KV_CACHE_USAGE, dialects.KV_CACHE),
    ],
    ids=str,
)
def test_what_scaling_reads_is_recorded(metric: Metric, series: dialects.Series) -> None:
    of_vllm = [each.series for each in SINGLES[metric] if each.series.startswith("vllm:")]
    assert of_vllm == list(series.metrics)


@pytest.mark.parametrize(
    ("metric", "series"), [(names.TTFT, timings.TTFT), (names.ITL, timings.ITL)], ids=str
)
def test_what_latency_targets_read_is_recorded(metric: Metric, series: tuple[str, ...]) -> None:
    of_vllm = [each.series for each in HISTOGRAMS[metric] if each.series.startswith("vllm:")]
    assert of_vllm == [f"vllm:{name}" for name in series]


@pytest.mark.parametrize("metric", [*HISTOGRAMS, *SINGLES], ids=str)
def test_counters_are_united_of_counters(metric: Metric) -> None:
    """Those of TGI have no ending, and sums of histograms are counters too."""
    of_tgi = {"tgi_request_success"}
    for spelling in SINGLES.get(metric, ()):
        counts = spelling.series.endswith(("_total", "_sum")) or spelling.series in of_tgi
        assert counts == (metric.kind == "counter"), spelling
