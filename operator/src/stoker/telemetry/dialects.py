"""What engines call the numbers that Stoker reads, as data: the one table of dialects.

The operator scales by it, `stoker top` and `stoker doctor` read pods by it, and the chart's rules
unite engines by it (`charts.observability.dialects`).

vLLM renames a metric in three releases: it writes both names, then hides the old one, then drops
it. So each series has its spellings, the newest first, and the first one that a page has is read;
both at once say the same and are never added up. What a page lacks is not known, and never zero.

Sources, as of the versions named: vLLM 0.32 `v1/metrics/loggers.py`, `spec_decode/metrics.py` and
`perf.py` (pull requests 18354 and 29330 renamed the KV cache's); SGLang 0.5 `metrics_collector.py`
(some releases write `sglang_` for `sglang:`); TensorRT-LLM 1.3 `metrics/collector.py`; LMDeploy
0.12 `metrics/loggers.py`; Text Generation Inference 3 `docs/source/reference/metrics.md`. Only vLLM
is run by the project's own tests.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

# Engines, as the catalogue calls them, by how their series begin.
_ENGINES: Final = {
    "vllm:": "vllm",
    "sglang:": "sglang",
    "sglang_": "sglang",
    "trtllm_": "tensorrt-llm",
    "lmdeploy:": "lmdeploy",
    "tgi_": "tgi",
}
PREFIXES: Final = tuple(_ENGINES)


@dataclass(frozen=True, slots=True)
class Spelling:
    """One name of a series. Of a histogram it is the name without `_bucket`."""

    metric: str
    versions: str = ""  # in words, where they matter

    @property
    def engine(self) -> str:
        """Who says it so."""
        return engine_of([self.metric])


@dataclass(frozen=True, slots=True)
class Series:
    """One number and its names, those of an engine from new to old."""

    what: str
    spellings: tuple[Spelling, ...]
    # How the parts of one engine make up the whole.
    how: Literal["sum", "max", "avg"] = "sum"

    @property
    def metrics(self) -> tuple[str, ...]:
        """Its names."""
        return tuple(spelling.metric for spelling in self.spellings)

    def absent(self, engine: str) -> str:
        """What a page of that engine lacks, in words."""
        own = [each for each in self.spellings if each.engine == engine]
        if not own:
            return f"{self.what} under a name that Stoker knows"
        first, *rest = (f"{each.metric} ({each.versions or 'all versions'})" for each in own)
        known = "".join(f", nor as {other}" for other in rest)
        return f"{first}{known}"


def engine_of(names: Iterable[str]) -> str:
    """Whose dialect a page is in, by the first name that is anybody's; empty where none is."""
    for name in names:
        for prefix, engine in _ENGINES.items():
            if name.startswith(prefix):
                return engine
    return ""


def not_known(engine: str) -> str:
    """In words, why there is no number: this engine does not tell it, or Stoker not its name."""
    return f"not known for this engine ({engine or 'its metrics are in no dialect of Stoker'})"


def _series(what: str, *names: str | Spelling, how: Literal["sum", "max", "avg"] = "sum") -> Series:
    told = (each if isinstance(each, Spelling) else Spelling(each) for each in names)
    return Series(what, tuple(told), how)


# --- Histograms of time --------------------------------------------------------------------------

TTFT: Final = _series(
    "times to the first token",
    "vllm:time_to_first_token_seconds",
    "sglang:time_to_first_token_seconds",
    "sglang_time_to_first_token_seconds",
    "trtllm_time_to_first_token_seconds",
    "lmdeploy:time_to_first_token_seconds",
)
ITL: Final = _series(
    "times between tokens",
    "vllm:inter_token_latency_seconds",
    "vllm:time_per_output_token_seconds",  # until 0.12
    "sglang:inter_token_latency_seconds",
    "sglang_inter_token_latency_seconds",
    "sglang:time_per_output_token_seconds",  # until 0.4
    "trtllm_time_per_output_token_seconds",  # a request's mean
    "lmdeploy:iter_token_latency",
    "tgi_request_mean_time_per_token_duration",  # a request's mean
)
E2E: Final = _series(
    "times of whole requests",
    "vllm:e2e_request_latency_seconds",
    "sglang:e2e_request_latency_seconds",
    "sglang_e2e_request_latency_seconds",
    "trtllm_e2e_request_latency_seconds",
    "lmdeploy:e2e_request_latency_seconds",
    "tgi_request_duration",
)
QUEUE_TIME: Final = _series(
    "times in the queue",
    "vllm:request_queue_time_seconds",
    "sglang:queue_time_seconds",
    "sglang_queue_time_seconds",
    "trtllm_request_queue_time_seconds",
    "lmdeploy:request_queue_time_seconds",
    "tgi_request_queue_duration",
)

# --- Single numbers ------------------------------------------------------------------------------

PROMPT_TOKENS: Final = _series(
    "tokens of prompts",
    "vllm:prompt_tokens_total",
    "sglang:prompt_tokens_total",
    "sglang_prompt_tokens_total",
    "trtllm_prompt_tokens_total",
    "lmdeploy:prompt_tokens_total",
    "tgi_request_input_length_sum",
)
GENERATION_TOKENS: Final = _series(
    "tokens generated",
    "vllm:generation_tokens_total",
    "sglang:generation_tokens_total",
    "sglang_generation_tokens_total",
    "trtllm_generation_tokens_total",
    "lmdeploy:generation_tokens_total",
    "tgi_request_generated_tokens_sum",
)
REQUESTS_FINISHED: Final = _series(
    "requests that ended",
    "vllm:request_success_total",
    "sglang:num_requests_total",
    "sglang_num_requests_total",
    "trtllm_request_success_total",
    "lmdeploy:request_success_total",
    "tgi_request_success",
)
RUNNING: Final = _series(
    "requests being computed",
    Spelling("vllm:num_requests_running", "all versions"),
    "sglang:num_running_reqs",
    "sglang_num_running_reqs",
    "trtllm_num_requests_running",
    "lmdeploy:num_requests_running",
    "tgi_batch_current_size",
)
WAITING: Final = _series(
    "requests waiting",
    Spelling("vllm:num_requests_waiting", "all versions"),
    "sglang:num_queue_reqs",
    "sglang_num_queue_reqs",
    "trtllm_num_requests_waiting",
    "lmdeploy:num_requests_waiting",
    "tgi_queue_size",
)
# The fullest rank is what holds a request up.
KV_CACHE: Final = _series(
    "share of the KV cache in use",
    Spelling("vllm:kv_cache_usage_perc", "0.10 and newer"),
    Spelling("vllm:gpu_cache_usage_perc", "0.12 and older"),
    "sglang:token_usage",
    "sglang_token_usage",
    "trtllm_kv_cache_utilization",
    "lmdeploy:gpu_cache_usage_perc",
    how="max",
)
PREFIX_CACHE_HITS: Final = _series(
    "tokens found in the prefix cache",
    "vllm:prefix_cache_hits_total",
    "vllm:gpu_prefix_cache_hits_total",  # until 0.9
    "sglang:cached_tokens_total",
    "sglang_cached_tokens_total",
    "trtllm_prompt_cached_tokens_total",
)
# SGLang and TensorRT-LLM look for every token of a prompt.
PREFIX_CACHE_QUERIES: Final = _series(
    "tokens looked for in the prefix cache",
    "vllm:prefix_cache_queries_total",
    "vllm:gpu_prefix_cache_queries_total",  # until 0.9
    "sglang:prompt_tokens_total",
    "sglang_prompt_tokens_total",
    "trtllm_prompt_tokens_total",
)
SPEC_DRAFT_TOKENS: Final = _series(
    "tokens guessed",
    "vllm:spec_decode_num_draft_tokens_total",
    "trtllm_spec_decode_num_draft_tokens_total",
    "lmdeploy:spec_decode_num_draft_tokens_total",
)
SPEC_ACCEPTED_TOKENS: Final = _series(
    "guessed tokens accepted",
    "vllm:spec_decode_num_accepted_tokens_total",
    "trtllm_spec_decode_num_accepted_tokens_total",
    "lmdeploy:spec_decode_num_accepted_tokens_total",
)
PREEMPTIONS: Final = _series(
    "requests pushed out of the batch",
    "vllm:num_preemptions_total",
    "sglang:num_retracted_requests_total",
    "sglang_num_retracted_requests_total",
)
# Told of one accelerator by each rank: their mean stays that of one accelerator.
FLOPS: Final = _series(
    "operations of one accelerator",
    "vllm:estimated_flops_per_gpu_total",
    "sglang:estimated_flops_per_gpu_total",
    "sglang_estimated_flops_per_gpu_total",
    how="avg",
)
MEMORY_READ: Final = _series(
    "bytes read of one accelerator's memory",
    "vllm:estimated_read_bytes_per_gpu_total",
    "sglang:estimated_read_bytes_per_gpu_total",
    "sglang_estimated_read_bytes_per_gpu_total",
    how="avg",
)
MEMORY_WRITTEN: Final = _series(
    "bytes written to one accelerator's memory",
    "vllm:estimated_write_bytes_per_gpu_total",
    "sglang:estimated_write_bytes_per_gpu_total",
    "sglang_estimated_write_bytes_per_gpu_total",
    how="avg",
)

# What scaling cannot do without, or without which it cannot tell how full a replica is.
SERIES: Final = (RUNNING, WAITING, KV_CACHE)
CACHE_CONFIG: Final = "vllm:cache_config_info"
# SGLang tells no counts of proposed tokens, but their share.
SPEC_ACCEPTANCE: Final = _series(
    "share of guessed tokens that were accepted",
    "sglang:spec_accept_rate",
    "sglang_spec_accept_rate",
    how="avg",
)

# What the worker's page says of itself (`stoker_worker.loadpage`).
PAGE_INFO: Final = "stoker_worker_load_info"
PAGE_AGE: Final = "stoker_worker_load_age_seconds"
ENGINE_START: Final = "stoker_worker_engine_start_time_seconds"
