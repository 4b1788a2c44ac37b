"""Continuous batching, step by step."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.catalog.gpus import Gpu
from stoker.model.sizing import Configuration
from stoker.planner.calibration import Calibration
from stoker.planner.replay import Arrival, replay
from stoker.planner.time import pace_of
from tests.support.families import FAMILIES

LLAMA = FAMILIES["llama-3.1-8b"].facts
CARD = Gpu("card", "nvidia", 24 * 2**30, 1e12, {"bfloat16": 160e12})
PACE = pace_of(LLAMA, CARD, Configuration("card"), Calibration())


def test_one_request_takes_its_prompt_and_its_tokens() -> None:
    (found,) = replay(PACE, [Arrival(3.0, 1000, 3)], 4096, 8)
    assert found.queue_s == 0
    assert found.ttft_s == pytest.approx(PACE.prefill_s(1000))
    tokens = PACE.decode_s(1, 1000) + PACE.decode_s(1, 1001)
    assert found.e2e_s == pytest.approx(found.ttft_s + tokens)


def test_requests_share_the_steps() -> None:
    alone = replay(PACE, [Arrival(0, 100, 100)], 65536, 8)[0].e2e_s
    together = replay(PACE, [Arrival(0, 100, 100)] * 8, 65536, 8)
    assert max(each.e2e_s for each in together) < 2 * alone


def test_beyond_the_limit_requests_wait() -> None:
    first, second = replay(PACE, [Arrival(0, 100, 50)] * 2, 65536, 1)
    assert first.queue_s == 0
    assert second.queue_s == pytest.approx(first.e2e_s)


def test_a_full_cache_puts_the_latest_off_and_all_end() -> None:
    roomy = replay(PACE, [Arrival(0, 400, 400)] * 4, 65536, 8)
    tight = replay(PACE, [Arrival(0, 400, 400)] * 4, 2048, 8)
    assert max(each.e2e_s for each in tight) > max(each.e2e_s for each in roomy)
    assert tight[0].e2e_s <= tight[3].e2e_s


def test_a_request_that_can_never_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="a request of 600 tokens in a cache of 512"):
        replay(PACE, [Arrival(0, 300, 300)], 512, 8)


def test_a_quiet_time_is_no_work() -> None:
    first, later = replay(PACE, [Arrival(0, 100, 10), Arrival(1000, 100, 10)], 4096, 8)
    assert later.e2e_s == pytest.approx(first.e2e_s)


@given(
    st.lists(
        st.tuples(st.floats(0, 5), st.integers(1, 600), st.integers(1, 60)), min_size=1, max_size=12
    ),
    st.sampled_from([704, 1024, 8192]),
    st.integers(1, 8),
    st.sampled_from([64, 2048]),
)
def test_every_request_ends_in_order(
    requests: list[tuple[float, int, int]], tokens: int, limit: int, chunk: int
) -> None:
    arrivals = [Arrival(*each) for each in sorted(requests)]
    found = replay(replace(PACE, chunk=chunk), arrivals, tokens, limit)
    assert len(found) == len(arrivals)
    for each in found:
        assert 0 <= each.queue_s <= each.ttft_s <= each.e2e_s
