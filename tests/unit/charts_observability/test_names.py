"""The vocabulary is well formed."""

import re

import pytest

from charts.observability import names
from charts.observability.metric import Metric
from charts.observability.names import VOCABULARY

LEVEL = re.compile(r"stoker:[a-z0-9_]+(:[a-z0-9_]+)?")


def test_every_constant_is_in_the_vocabulary() -> None:
    constants = [value for value in vars(names).values() if isinstance(value, Metric)]
    assert {metric.name for metric in constants} <= {metric.name for metric in VOCABULARY}
    assert len({metric.name for metric in VOCABULARY}) == len(VOCABULARY) > 50


@pytest.mark.parametrize("metric", VOCABULARY, ids=str)
def test_names_say_what_prometheus_demands(metric: Metric) -> None:
    assert LEVEL.fullmatch(metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.help.endswith(".")
    assert metric.help.isascii()
    if metric.unit in {"seconds", "bytes"} and metric.name.count(":") == 1:
        assert f"_{metric.unit}" in metric.name
    if metric.unit == "ratio":
        assert "ratio" in metric.name


def test_a_histogram_has_three_series_and_nothing_else_has() -> None:
    assert names.TTFT.series == (
        "stoker:ttft_seconds_bucket",
        "stoker:ttft_seconds_sum",
        "stoker:ttft_seconds_count",
    )
    assert names.QUEUE.series == ("stoker:queue:sum",)
    with pytest.raises(ValueError, match="stoker:queue:sum is a gauge and has no bucket"):
        _ = names.QUEUE.bucket
