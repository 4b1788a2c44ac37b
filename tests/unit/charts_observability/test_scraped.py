"""What is stored of pods, where only that is stored which rules and dashboards read."""

from __future__ import annotations

import re

import pytest

from charts.observability import generated, scraped

PATTERN = re.compile(generated.files()["rules/scraped.txt"].strip())


def test_names_are_found_in_queries_and_labels_are_none() -> None:
    text = 'sum by (envoy_cluster_name, le) (rate(vllm:a_seconds_bucket[5m])) / sglang_b{x="tgi"}'
    assert scraped.names([text]) == ("sglang_b", "vllm:a_seconds")
    assert scraped.names(["stoker:held_requests + stoker_service_info"]) == ()


@pytest.mark.parametrize(
    "name",
    [
        "vllm:time_to_first_token_seconds_bucket",
        "vllm:kv_cache_usage_perc",
        "vllm:num_requests_running",
        "envoy_cluster_upstream_rq_active",
        "inference_extension_flow_control_request_queue_duration_seconds_count",
    ],
)
def test_what_the_rules_read_is_kept(name: str) -> None:
    assert PATTERN.fullmatch(name)


@pytest.mark.parametrize(
    "name", ["vllm:cache_config_info", "envoy_server_live", "python_gc_objects_collected_total"]
)
def test_what_nobody_reads_is_not(name: str) -> None:
    assert not PATTERN.fullmatch(name)
