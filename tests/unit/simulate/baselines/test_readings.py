"""Windows, and traffic between readings."""

import pytest

from stoker.simulate.baselines.readings import (
    Counters,
    extended,
    extended_counters,
    mean,
    queued_in_engines,
    scraped,
    traffic_in,
)
from tests.unit.simulate.baselines.scenes import engine, look


def test_a_series_forgets_what_is_not_younger_than_its_window() -> None:
    series = extended(((0.0, 1.0), (10.0, 2.0)), [(20.0, 3.0)], since=0.0)
    assert series == ((10.0, 2.0), (20.0, 3.0))
    assert mean(series) == 2.5
    assert mean(series, since=10.0) == 3.0
    assert mean((), since=10.0) == 0.0


def test_a_reading_behind_a_scraper_is_half_its_interval_old() -> None:
    pipeline = scraped(15.0, 30.0, 5.0)
    assert pipeline.lag_s - pipeline.scrape_s == 5.0
    assert pipeline.scrape_s == 15.0


def test_traffic_is_the_difference_of_counters_over_a_window() -> None:
    counters: tuple[Counters, ...] = ()
    for time, requests in ((0.0, 0), (30.0, 3), (60.0, 9), (90.0, 19)):
        seen = look(
            time,
            requests_total=requests,
            input_tokens_total=100 * requests,
            finished_total=requests // 3,
            output_tokens_total=50 * (requests // 3),
        )
        counters = extended_counters(counters, (seen,), time - 60.0)
    assert [each.time for each in counters] == [30.0, 60.0, 90.0]
    traffic = traffic_in(counters, 30.0)
    assert (traffic.seconds, traffic.requests) == (60.0, 16)
    assert traffic.rate == pytest.approx(16 / 60)
    assert (traffic.input_tokens, traffic.output_tokens) == (100.0, 50.0)
    assert traffic_in((), 0.0).rate == 0.0


def test_what_is_held_goes_back_into_the_queues_of_engines_that_answer() -> None:
    seen = queued_in_engines(look(0.0, engine(1, 2), engine(1, 2, pod=1), held=5))
    assert (seen.held, [each.waiting for each in seen.replicas]) == (0, [5, 4])
    assert queued_in_engines(look(0.0, held=5)).held == 5
