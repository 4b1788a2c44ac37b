"""What a running engine says of itself, over the estimate for the very configuration and load.

Compared is with the estimate as it would be without any correction, so that the factor found is the
whole correction, and finding it again changes nothing. And compared is only what both sides mean:

- KV cache: the tokens it holds, told once at start. They depend on no load.
- Time per token: the mean over all tokens, against the estimate for the batch that a token met, the
  prompts and the answers as long as they were, prompts computed as far as the prefix cache did not
  have them. Not where drafts are verified: the engine counts steps then, and acceptance is the
  text's. Not where weights lie in the host's memory, or requests were put off and began again.
- First token: from arrival, less the wait for a place in the batch. Not where that wait is more
  than a tenth of the whole, as then the load is told and not the engine; not where prompts often
  share their steps; and not where prompts are of another size than the plan is for, because fixed
  times of the server dominate short ones, and the factor would be carried over to long ones.

A factor beyond all reason is another configuration than was thought. It is cut to a bound, and what
is no positive number is none. Both are said.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from stoker.model.sizing import Configuration
from stoker.model.timing import Seen
from stoker.planner import words
from stoker.planner.calibration import Residual
from stoker.planner.estimate import Estimator

KV_BOUNDS: Final = (0.25, 2.0)
TIME_BOUNDS: Final = (0.1, 10.0)
_LEAST: Final = 100  # tokens, requests: means of fewer say little
_QUEUED: Final = 0.1
_PREFILLING: Final = 0.2  # per data parallel rank; then about every fifth prompt meets another
_PUT_OFF: Final = 0.02
_SIZE: Final = 4.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison."""

    factor: float | None  # observed over estimated; None: not comparable
    why: str  # the numbers behind it, or why there are none


def kv_cache(estimator: Estimator, configuration: Configuration, tokens: int) -> Finding:
    """Tokens that the engine's KV cache holds, over those estimated."""
    estimated = _bare(estimator).memory(configuration).kv_tokens
    return bounded(
        tokens, estimated, KV_BOUNDS, f"{tokens:,} tokens in the cache, {estimated:,} estimated"
    )


def next_token(estimator: Estimator, configuration: Configuration, seen: Seen) -> Finding:
    """Time between two tokens, over that estimated for the load that was there."""
    refused = _other_work(configuration, seen)
    if refused:
        return Finding(None, refused)
    if configuration.speculation != "none":
        return Finding(None, "drafts are verified, so that a step is not a token")
    if min(seen.counted.gaps, seen.counted.requests) < _LEAST:
        return Finding(None, f"fewer than {_LEAST} requests with an answer of several tokens")
    batch = max(1.0, seen.batch / configuration.data)
    pace = estimator.pace(configuration)
    estimated = pace.gap_s(batch, seen.prompt_tokens, seen.generated_tokens, seen.computed_tokens)
    told = (
        f"{words.seconds(seen.itl_s)} per token, {words.seconds(estimated)} estimated for "
        f"{seen.batch:.1f} requests at once"
    )
    return bounded(seen.itl_s, estimated, TIME_BOUNDS, told)


def first_token(estimator: Estimator, configuration: Configuration, seen: Seen) -> Finding:
    """Time to the first token, over that estimated for the load that was there."""
    refused = _other_work(configuration, seen)
    if refused:
        return Finding(None, refused)
    if min(seen.counted.first_tokens, seen.counted.requests) < _LEAST:
        return Finding(None, f"fewer than {_LEAST} requests")
    if seen.queue_s > _QUEUED * (seen.queue_s + seen.ttft_s):
        return Finding(None, "requests waited for a place in the batch")
    if seen.in_prefill > _PREFILLING * configuration.data:
        return Finding(None, "prompts were computed together")
    planned = max(1, estimator.workload.input_tokens)
    if not planned / _SIZE <= seen.computed_tokens <= planned * _SIZE:
        return Finding(
            None, f"prompts of {seen.computed_tokens:.0f} tokens, and the plan is for {planned}"
        )
    others = seen.met / configuration.data / configuration.pipeline
    keys = seen.prompt_tokens + seen.generated_tokens / 2
    cached = max(0.0, seen.prompt_tokens - seen.computed_tokens)
    pace = estimator.pace(configuration)
    estimated = pace.prefill_s(seen.computed_tokens, cached, others, keys)
    told = (
        f"first token after {words.seconds(seen.ttft_s)}, {words.seconds(estimated)} estimated for "
        f"prompts of {seen.computed_tokens:.0f} tokens"
    )
    return bounded(seen.ttft_s, estimated, TIME_BOUNDS, told)


def bounded(observed: float, estimated: float, bounds: tuple[float, float], told: str) -> Finding:
    """A factor within bounds, and in words where it was not."""
    if not (math.isfinite(observed) and math.isfinite(estimated)) or min(observed, estimated) <= 0:
        return Finding(None, f"{told}: that is no ratio")
    factor = observed / estimated
    kept = round(min(bounds[1], max(bounds[0], factor)), 3)
    if not bounds[0] <= factor <= bounds[1]:
        told += f"; {factor:.3g} times is beyond reason and counts as {kept:g}"
    return Finding(kept, told)


def _other_work(configuration: Configuration, seen: Seen) -> str:
    if configuration.cpu_offload_gib:
        return "weights are read from the host's memory"
    if seen.counted.preemptions > _PUT_OFF * seen.counted.requests:
        return "requests were put off and computed again"
    return ""


def _bare(estimator: Estimator) -> Estimator:
    calibration = replace(estimator.calibration, residual=Residual(), residuals={})
    return replace(estimator, calibration=calibration)
