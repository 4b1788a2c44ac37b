"""The dialects of rules and those of the operator are the same."""

import pytest

from charts.observability.dialects import HISTOGRAMS, SINGLES
from charts.observability.metric import Metric
from stoker.telemetry import dialects


def test_there_is_one_table() -> None:
    """Each series of the operator's is recorded, but for what is only told as a share."""
    series = {
        each.metrics
        for each in vars(dialects).values()
        if isinstance(each, dialects.Series) and each != dialects.SPEC_ACCEPTANCE
    }
    recorded = [
        tuple(spelling.series for spelling in spellings)
        for spellings in (*HISTOGRAMS.values(), *SINGLES.values())
    ]
    assert set(recorded) == series
    assert len(set(recorded)) == len(recorded)


@pytest.mark.parametrize("metric", [*HISTOGRAMS, *SINGLES], ids=str)
def test_counters_are_united_of_counters(metric: Metric) -> None:
    """Those of TGI have no ending, and sums of histograms are counters too."""
    of_tgi = {"tgi_request_success"}
    for spelling in SINGLES.get(metric, ()):
        counts = spelling.series.endswith(("_total", "_sum")) or spelling.series in of_tgi
        assert counts == (metric.kind == "counter"), spelling
