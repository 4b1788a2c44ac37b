"""What versions of vLLM call the numbers that scaling reads, as data.

vLLM renames a metric in three releases: it writes both names, then hides the old one, then drops
it. So each series has its spellings, the newest first, and the first one that a page has is read;
both at once say the same and are never added up. Metrics of time have their own table (`timings`),
as nothing depends on them.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Spelling:
    """One name of a series."""

    metric: str
    versions: str  # in words


@dataclass(frozen=True, slots=True)
class Series:
    """One number and its names, the newest first."""

    what: str
    spellings: tuple[Spelling, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Its names."""
        return tuple(spelling.metric for spelling in self.spellings)

    def absent(self) -> str:
        """What a page lacks, in words."""
        first, *rest = (f"{each.metric} ({each.versions})" for each in self.spellings)
        known = "".join(f", nor as {other}" for other in rest)
        return f"{first}{known}"


RUNNING: Final = Series(
    "requests being computed", (Spelling("vllm:num_requests_running", "all versions"),)
)
WAITING: Final = Series(
    "requests waiting", (Spelling("vllm:num_requests_waiting", "all versions"),)
)
# Renamed by vLLM's pull request 18354, the old name removed by 29330.
KV_CACHE: Final = Series(
    "share of the KV cache in use",
    (
        Spelling("vllm:kv_cache_usage_perc", "0.10 and newer"),
        Spelling("vllm:gpu_cache_usage_perc", "0.12 and older"),
    ),
)
SERIES: Final = (RUNNING, WAITING, KV_CACHE)
CACHE_CONFIG: Final = "vllm:cache_config_info"

# What the worker's page says of itself (`stoker_worker.loadpage`).
PAGE_INFO: Final = "stoker_worker_load_info"
PAGE_AGE: Final = "stoker_worker_load_age_seconds"
ENGINE_START: Final = "stoker_worker_engine_start_time_seconds"
