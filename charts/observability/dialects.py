"""What engines call the things of the vocabulary, as data.

An engine is asked by its newest spelling first, and the first one that a pod has is recorded:
vLLM writes an old and a new name side by side for some releases, and they say the same. The names
that scaling needs have a table of their own in the operator (`stoker.telemetry.dialects`); a test
holds the two together.

Sources, as of the versions named: vLLM 0.32 `v1/metrics/loggers.py`, `spec_decode/metrics.py` and
`perf.py`; SGLang 0.5 `metrics_collector.py` (some releases write `sglang_` for `sglang:`);
TensorRT-LLM 1.3 `metrics/collector.py`; LMDeploy 0.12 `metrics/loggers.py`; Text Generation
Inference 3 `docs/source/reference/metrics.md`. Only vLLM is run by the project's own tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from charts.observability import names
from charts.observability.metric import Metric


@dataclass(frozen=True, slots=True)
class Spelling:
    """One name of a thing. Of a histogram it is the name without `_bucket`."""

    series: str
    # How the parts of one engine make up the whole.
    how: Literal["sum", "max", "avg"] = "sum"


def _all(*series: str, how: Literal["sum", "max", "avg"] = "sum") -> tuple[Spelling, ...]:
    return tuple(Spelling(name, how) for name in series)


HISTOGRAMS: Final[Mapping[Metric, tuple[Spelling, ...]]] = {
    names.TTFT: _all(
        "vllm:time_to_first_token_seconds",
        "sglang:time_to_first_token_seconds",
        "sglang_time_to_first_token_seconds",
        "trtllm_time_to_first_token_seconds",
        "lmdeploy:time_to_first_token_seconds",
    ),
    names.ITL: _all(
        "vllm:inter_token_latency_seconds",
        "vllm:time_per_output_token_seconds",  # until 0.12
        "sglang:inter_token_latency_seconds",
        "sglang_inter_token_latency_seconds",
        "sglang:time_per_output_token_seconds",  # until 0.4
        "trtllm_time_per_output_token_seconds",  # a request's mean
        "lmdeploy:iter_token_latency",
        "tgi_request_mean_time_per_token_duration",  # a request's mean
    ),
    names.E2E: _all(
        "vllm:e2e_request_latency_seconds",
        "sglang:e2e_request_latency_seconds",
        "sglang_e2e_request_latency_seconds",
        "trtllm_e2e_request_latency_seconds",
        "lmdeploy:e2e_request_latency_seconds",
        "tgi_request_duration",
    ),
    names.QUEUE_TIME: _all(
        "vllm:request_queue_time_seconds",
        "sglang:queue_time_seconds",
        "sglang_queue_time_seconds",
        "trtllm_request_queue_time_seconds",
        "lmdeploy:request_queue_time_seconds",
        "tgi_request_queue_duration",
    ),
}

SINGLES: Final[Mapping[Metric, tuple[Spelling, ...]]] = {
    names.PROMPT_TOKENS: _all(
        "vllm:prompt_tokens_total",
        "sglang:prompt_tokens_total",
        "sglang_prompt_tokens_total",
        "trtllm_prompt_tokens_total",
        "lmdeploy:prompt_tokens_total",
        "tgi_request_input_length_sum",
    ),
    names.GENERATION_TOKENS: _all(
        "vllm:generation_tokens_total",
        "sglang:generation_tokens_total",
        "sglang_generation_tokens_total",
        "trtllm_generation_tokens_total",
        "lmdeploy:generation_tokens_total",
        "tgi_request_generated_tokens_sum",
    ),
    names.REQUESTS_FINISHED: _all(
        "vllm:request_success_total",
        "sglang:num_requests_total",
        "sglang_num_requests_total",
        "trtllm_request_success_total",
        "lmdeploy:request_success_total",
        "tgi_request_success",
    ),
    names.REQUESTS_RUNNING: _all(
        "vllm:num_requests_running",
        "sglang:num_running_reqs",
        "sglang_num_running_reqs",
        "trtllm_num_requests_running",
        "lmdeploy:num_requests_running",
        "tgi_batch_current_size",
    ),
    names.REQUESTS_WAITING: _all(
        "vllm:num_requests_waiting",
        "sglang:num_queue_reqs",
        "sglang_num_queue_reqs",
        "trtllm_num_requests_waiting",
        "lmdeploy:num_requests_waiting",
        "tgi_queue_size",
    ),
    # The fullest rank is what holds a request up; the operator reads it so too.
    names.KV_CACHE_USAGE: _all(
        "vllm:kv_cache_usage_perc",
        "vllm:gpu_cache_usage_perc",  # until 0.12
        "sglang:token_usage",
        "sglang_token_usage",
        "trtllm_kv_cache_utilization",
        "lmdeploy:gpu_cache_usage_perc",
        how="max",
    ),
    names.PREFIX_CACHE_HITS: _all(
        "vllm:prefix_cache_hits_total",
        "vllm:gpu_prefix_cache_hits_total",  # until 0.9
        "sglang:cached_tokens_total",
        "sglang_cached_tokens_total",
        "trtllm_prompt_cached_tokens_total",
    ),
    # SGLang and TensorRT-LLM look for every token of a prompt.
    names.PREFIX_CACHE_QUERIES: _all(
        "vllm:prefix_cache_queries_total",
        "vllm:gpu_prefix_cache_queries_total",  # until 0.9
        "sglang:prompt_tokens_total",
        "sglang_prompt_tokens_total",
        "trtllm_prompt_tokens_total",
    ),
    names.SPEC_DRAFT_TOKENS: _all(
        "vllm:spec_decode_num_draft_tokens_total",
        "trtllm_spec_decode_num_draft_tokens_total",
        "lmdeploy:spec_decode_num_draft_tokens_total",
    ),
    names.SPEC_ACCEPTED_TOKENS: _all(
        "vllm:spec_decode_num_accepted_tokens_total",
        "trtllm_spec_decode_num_accepted_tokens_total",
        "lmdeploy:spec_decode_num_accepted_tokens_total",
    ),
    names.PREEMPTIONS: _all(
        "vllm:num_preemptions_total",
        "sglang:num_retracted_requests_total",
        "sglang_num_retracted_requests_total",
    ),
    # Told of one accelerator by each rank: their mean stays that of one accelerator.
    names.FLOPS: _all(
        "vllm:estimated_flops_per_gpu_total",
        "sglang:estimated_flops_per_gpu_total",
        "sglang_estimated_flops_per_gpu_total",
        how="avg",
    ),
    names.MEMORY_READ: _all(
        "vllm:estimated_read_bytes_per_gpu_total",
        "sglang:estimated_read_bytes_per_gpu_total",
        "sglang_estimated_read_bytes_per_gpu_total",
        how="avg",
    ),
    names.MEMORY_WRITTEN: _all(
        "vllm:estimated_write_bytes_per_gpu_total",
        "sglang:estimated_write_bytes_per_gpu_total",
        "sglang_estimated_write_bytes_per_gpu_total",
        how="avg",
    ),
}

# SGLang tells no counts of proposed tokens, but their share.
SPEC_ACCEPTANCE_GAUGES: Final = ("sglang:spec_accept_rate", "sglang_spec_accept_rate")
