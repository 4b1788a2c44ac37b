"""Which series of engines each metric of the vocabulary is made of.

The names are the operator's own table (`stoker.telemetry.dialects`), which scaling and the commands
read too. An engine is asked by its newest spelling first, and the first one that a pod has is
recorded: vLLM writes an old and a new name side by side for some releases, and they say the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from charts.observability import names
from charts.observability.metric import Metric
from stoker.telemetry import dialects


@dataclass(frozen=True, slots=True)
class Spelling:
    """One name of a thing. Of a histogram it is the name without `_bucket`."""

    series: str
    # How the parts of one engine make up the whole.
    how: Literal["sum", "max", "avg"] = "sum"


def _of(series: dialects.Series) -> tuple[Spelling, ...]:
    return tuple(Spelling(name, series.how) for name in series.metrics)


HISTOGRAMS: Final[Mapping[Metric, tuple[Spelling, ...]]] = {
    names.TTFT: _of(dialects.TTFT),
    names.ITL: _of(dialects.ITL),
    names.E2E: _of(dialects.E2E),
    names.QUEUE_TIME: _of(dialects.QUEUE_TIME),
}

SINGLES: Final[Mapping[Metric, tuple[Spelling, ...]]] = {
    names.PROMPT_TOKENS: _of(dialects.PROMPT_TOKENS),
    names.GENERATION_TOKENS: _of(dialects.GENERATION_TOKENS),
    names.REQUESTS_FINISHED: _of(dialects.REQUESTS_FINISHED),
    names.REQUESTS_RUNNING: _of(dialects.RUNNING),
    names.REQUESTS_WAITING: _of(dialects.WAITING),
    names.KV_CACHE_USAGE: _of(dialects.KV_CACHE),
    names.PREFIX_CACHE_HITS: _of(dialects.PREFIX_CACHE_HITS),
    names.PREFIX_CACHE_QUERIES: _of(dialects.PREFIX_CACHE_QUERIES),
    names.SPEC_DRAFT_TOKENS: _of(dialects.SPEC_DRAFT_TOKENS),
    names.SPEC_ACCEPTED_TOKENS: _of(dialects.SPEC_ACCEPTED_TOKENS),
    names.PREEMPTIONS: _of(dialects.PREEMPTIONS),
    names.FLOPS: _of(dialects.FLOPS),
    names.MEMORY_READ: _of(dialects.MEMORY_READ),
    names.MEMORY_WRITTEN: _of(dialects.MEMORY_WRITTEN),
}

SPEC_ACCEPTANCE_GAUGES: Final = dialects.SPEC_ACCEPTANCE.metrics
