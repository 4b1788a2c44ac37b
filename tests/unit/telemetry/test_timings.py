"""What an engine's histograms say of its times; nonsense says nothing and costs no sample."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.model.timing import Timings
from stoker.telemetry.parse import engine_sample
from stoker.telemetry.timings import timings_of

RECORDED = Path(__file__).parents[1] / "worker" / "data" / "metrics.txt"
LABELS = '{engine="0",model_name="a {strange} name"}'
VALUES = {
    "time_to_first_token_seconds_count": 40,
    "time_to_first_token_seconds_sum": 8.5,
    "inter_token_latency_seconds_count": 4000,
    "inter_token_latency_seconds_sum": 80.25,
    "request_generation_tokens_count": 38,
    "request_generation_tokens_sum": 4038,
    "request_queue_time_seconds_sum": 0.5,
    "request_prompt_tokens_sum": 9000,
    "request_prefill_kv_computed_tokens_sum": 6000,
    "num_preemptions_total": 1,
}
GAUGES = "vllm:num_requests_running 3\nvllm:num_requests_waiting 0\n"
ALL = Timings(40, 8.5, 4000, 80.25, 38, 0.5, 9000, 6000, 4038, 1)


def page(**changes: object) -> str:
    values = {**VALUES, **changes}
    return "".join(
        f"# TYPE vllm:{name} histogram\n"
        f'vllm:{name.removesuffix("_sum")}_bucket{{le="0.01"}} 7\n'
        f"vllm:{name}{LABELS} {value}\n"
        f"vllm:{name}_created{LABELS} 1.79e+09\n"
        for name, value in values.items()
        if value is not None
    )


def test_sums_and_counts() -> None:
    assert timings_of(page()) == ALL


def test_a_recorded_engine_that_has_done_nothing() -> None:
    assert timings_of(RECORDED.read_text()) == Timings()


def test_ranks_of_one_replica_add_up() -> None:
    assert timings_of(page() + page().replace('engine="0"', 'engine="1"')) == ALL.plus(ALL)


def test_the_old_name_of_the_time_per_token() -> None:
    old = {
        "inter_token_latency_seconds_count": None,
        "inter_token_latency_seconds_sum": None,
        "time_per_output_token_seconds_count": 4000,
        "time_per_output_token_seconds_sum": 80.25,
    }
    assert timings_of(page(**old)) == ALL
    # A version in between writes both, which are the same numbers.
    both = {name: value for name, value in old.items() if value is not None}
    assert timings_of(page(**both)) == ALL


def test_an_engine_that_does_not_tell_what_the_prefix_cache_had() -> None:
    found = timings_of(page(request_prefill_kv_computed_tokens_sum=None))
    assert found is not None
    assert found.computed_tokens == found.prompt_tokens == 9000


def test_a_time_stamp_after_the_value() -> None:
    assert timings_of(page(request_queue_time_seconds_sum="0.5 1795227600000")) == ALL


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-1", "1e300", "five", "", "0x10"])
@pytest.mark.parametrize("name", VALUES)
def test_nonsense_gives_no_times_and_keeps_the_sample(name: str, value: str) -> None:
    text = page(**{name: value})
    assert timings_of(text) is None
    sample = engine_sample("pod", GAUGES + text)
    assert (sample.running, sample.timings) == (3, None)


@pytest.mark.parametrize(
    "name",
    sorted({*VALUES} - {"num_preemptions_total", "request_prefill_kv_computed_tokens_sum"}),
)
def test_what_is_absent_is_not_zero(name: str) -> None:
    assert timings_of(page(**{name: None})) is None


def test_too_many_lines_are_no_engine() -> None:
    assert timings_of("vllm:num_preemptions_total 1\n" * 9000 + page()) is None


@settings(max_examples=50)
@given(st.sampled_from(sorted(VALUES)), st.text(max_size=40))
def test_any_text_is_times_or_nothing(name: str, text: str) -> None:
    found = timings_of(page() + f"vllm:{name}{text}\n")
    assert found is None or found.gaps >= 4000
