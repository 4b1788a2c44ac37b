"""What pods answer, well and badly meant. Nothing bad ever reads as zero."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.telemetry.parse import SampleError, engine_sample, frontend_sample

ENGINE = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 3.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="tiny"} 5.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.25
vllm:time_to_first_token_seconds_bucket{le="0.001"} 0.0
"""


def frontend(**values: float) -> str:
    stats = [
        {"name": f"cluster.{name.replace('__', '.')}", "value": v} for name, v in values.items()
    ]
    return json.dumps({"stats": stats})


def test_an_engine_in_its_own_words() -> None:
    sample = engine_sample("pod", ENGINE)
    assert (sample.running, sample.waiting, sample.kv_cache) == (3, 5, 0.25)


def cache(**labels: str) -> str:
    told = ",".join(f'{name}="{text}"' for name, text in labels.items())
    return f"{ENGINE}vllm:cache_config_info{{{told}}} 1.0\n"


@pytest.mark.parametrize(
    ("labels", "tokens"),
    [
        ({"block_size": "128", "num_gpu_blocks": "4096"}, 524_288),
        # Layers of several kinds share the blocks: what the engine counts itself is right.
        ({"block_size": "16", "num_gpu_blocks": "100", "kv_cache_size_tokens": "800"}, 800),
        ({"block_size": "128", "num_gpu_blocks": "None"}, None),
        ({"block_size": "None", "num_gpu_blocks": "7"}, None),
        ({"num_gpu_blocks": "9" * 30, "block_size": "16"}, None),
    ],
)
def test_what_the_engine_says_of_its_cache(labels: dict[str, str], tokens: int | None) -> None:
    assert engine_sample("pod", cache(**labels)).kv_tokens == tokens


def test_a_recorded_engine_tells_its_cache() -> None:
    text = (Path(__file__).parents[1] / "worker" / "data" / "metrics.txt").read_text()
    assert engine_sample("pod", text).kv_tokens == 524_288
    assert engine_sample("pod", ENGINE).kv_tokens is None


def test_ranks_of_one_replica_add_up_and_the_fullest_cache_counts() -> None:
    more = ENGINE.replace('engine="0"', 'engine="1"').replace("0.25", "0.75")
    sample = engine_sample("pod", ENGINE + more)
    assert (sample.running, sample.waiting, sample.kv_cache) == (6, 10, 0.75)


def test_zero_is_zero_and_an_absent_cache_is_absent() -> None:
    text = "vllm:num_requests_running 0.0\nvllm:num_requests_waiting 0.0\n"
    sample = engine_sample("pod", text)
    assert (sample.running, sample.waiting, sample.kv_cache) == (0, 0, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html><body>502 Bad Gateway</body></html>",
        ENGINE.replace("5.0", "NaN"),
        ENGINE.replace("5.0", "+Inf"),
        ENGINE.replace("5.0", "-1"),
        ENGINE.replace("5.0", "1e300"),
        ENGINE.replace("5.0", "five"),
        ENGINE.replace("num_requests_waiting", "num_requests_unknown"),
        'vllm:num_requests_running{engine="0 3.0\nvllm:num_requests_waiting 1\n',
        "vllm:num_requests_running 1\n" * 600 + "vllm:num_requests_waiting 1\n",
        "vllm:num_requests_waiting_total 4\nvllm:num_requests_running 1\n",
    ],
)
def test_what_is_no_engine_is_a_problem_not_a_number(text: str) -> None:
    with pytest.raises(SampleError):
        engine_sample("pod", text)


def test_a_megabyte_of_histograms_does_not_hide_the_gauges() -> None:
    noise = 'vllm:e2e_request_latency_seconds_bucket{le="1"} 4\n' * 20_000
    assert engine_sample("pod", noise + ENGINE + noise).waiting == 5


def test_what_came_in_and_is_with_no_engine_is_held() -> None:
    text = frontend(
        track_stable__upstream_rq_active=7,
        engines_stable__upstream_rq_active=4,
        track_stable__upstream_rq_total=120,
        track_stable__upstream_rq_retry=20,
    )
    sample = frontend_sample("pod", text)
    assert (sample.held, sample.active, sample.requests_total) == (3, 7, 100)


def test_tracks_add_up_and_a_race_between_counters_is_not_negative() -> None:
    text = frontend(
        track_stable__upstream_rq_active=1,
        track_candidate__upstream_rq_active=1,
        engines_stable__upstream_rq_active=3,
    )
    sample = frontend_sample("pod", text)
    assert (sample.held, sample.active, sample.requests_total) == (0, 2, 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"stats": null}',
        '{"stats": []}',
        '{"stats": [1, "two"]}',
        "<html></html>",
        "[" * 5000,
        frontend(other__upstream_rq_active=1),
        '{"stats": [{"name": "cluster.track_a.upstream_rq_active", "value": NaN}]}',
        '{"stats": [{"name": "cluster.track_a.upstream_rq_active", "value": -1}]}',
        '{"stats": [{"name": "cluster.track_a.upstream_rq_active", "value": true}]}',
        '{"stats": [{"name": "cluster.track_a.upstream_rq_active", "value": "3"}]}',
        '{"stats": [{"name": "cluster.track_a.upstream_rq_active"}]}',
    ],
)
def test_what_is_no_frontend_is_a_problem_not_a_number(text: str) -> None:
    with pytest.raises(SampleError):
        frontend_sample("pod", text)


@settings(max_examples=50)
@given(st.text(max_size=200))
def test_any_text_is_a_sample_or_a_problem(text: str) -> None:
    for read in (engine_sample, frontend_sample):
        try:
            read("pod", text)
        except SampleError:
            continue
